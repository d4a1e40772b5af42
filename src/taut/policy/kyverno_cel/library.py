"""Kyverno's functions in CEL: looking up objects, images, users, time. What needs a network is refused."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from taut.documents.yaml import load_one
from taut.model.errors import TautError
from taut.policy.cel import CelError, Environment, Function
from taut.policy.cel.functions import of_kind, tagged
from taut.policy.kyverno.errors import PolicyError
from taut.policy.kyverno.images import parse_image
from taut.policy.plurals import kind_of
from taut.policy.review import Lookup, Nothing, NotKnown

NAMES = ("object", "oldObject", "request", "params", "namespaceObject", "authorizer", "images", "exceptions", "element")


@dataclass(frozen=True)
class Asked:
    """Where lookups of this evaluation go. `images` are the metadata that a test declares for images, by reference."""

    lookup: Lookup = field(default_factory=Nothing)
    images: Mapping[str, Any] = field(default_factory=dict[str, Any])


_asked: ContextVar[Asked] = ContextVar("asked")


@contextmanager
def asking(asked: Asked) -> Generator[None]:
    """Evaluations within look up there."""
    token = _asked.set(asked)
    try:
        yield
    finally:
        _asked.reset(token)


def _lookup() -> Asked:
    return _asked.get(Asked())


def _get(api_version: str, resource: str, namespace: str, name: str) -> Any:
    try:
        found = _lookup().lookup.get(api_version, kind_of(api_version, resource), namespace, name)
    except NotKnown as unknown:
        raise CelError(str(unknown)) from None
    if found is None:
        raise CelError(f'{resource} "{name}" not found')
    return found


def _list(api_version: str, resource: str, namespace: str, labels: Mapping[str, Any] | None = None) -> Any:
    try:
        found = _lookup().lookup.list(api_version, kind_of(api_version, resource), namespace)
    except NotKnown as unknown:
        raise CelError(str(unknown)) from None
    wanted = labels or {}
    items = [o for o in found if wanted.items() <= ((o.get("metadata") or {}).get("labels") or {}).items()]
    return {"apiVersion": api_version, "kind": kind_of(api_version, resource) + "List", "items": items}


def _refused(what: str) -> Any:
    def refuse(*_: Any) -> Any:
        raise CelError(f"{what} is not asked here: policies have no network")

    return refuse


def _metadata(image: str) -> Any:
    declared = _lookup().images
    names = [image]
    try:
        parsed = parse_image(image)
        names += [parsed.reference, parsed.reference_with_tag]
    except PolicyError:
        pass
    for name, value in declared.items():
        if name in names or _same_image(name, image):
            return value
    raise CelError(f"the registry is not asked for {image}")


def _same_image(a: str, b: str) -> bool:
    try:
        return parse_image(a).reference == parse_image(b).reference
    except PolicyError:
        return False


def _image(text: str) -> Any:
    try:
        found = parse_image(text)
    except PolicyError as error:
        raise CelError(str(error)) from None
    return tagged("image", registry=found.registry, repository=found.path, tag=found.tag, digest=found.digest)


def _is_image(text: str) -> bool:
    try:
        parse_image(text)
    except PolicyError:
        return False
    return True


def _part(name: str, read: Any) -> Function:
    return Function(name, ("m",), lambda v: read(of_kind(v, "image")), member=True)


def _json(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        raise CelError("the text is no JSON") from None


def _yaml(text: str) -> Any:
    try:
        return load_one(text.encode())
    except TautError:
        raise CelError("the text is no YAML") from None


def _account(text: str) -> dict[str, str]:
    parts = text.split(":")
    known = text.startswith("system:serviceaccount:") and len(parts) == 4
    return {"Namespace": parts[2] if known else "", "Name": parts[3] if known else ""}


def _by_key(values: list[Any], others: list[Any], key: str, value: str) -> dict[str, Any]:
    pairs = zip(values, others, strict=False)
    return {str(a.get(key)): b.get(value) for a, b in pairs if isinstance(a, dict) and isinstance(b, dict)}


def _digest(algorithm: str) -> Any:
    return lambda text: hashlib.new(algorithm, text.encode(), usedforsecurity=False).hexdigest()


def _random(_: str = "") -> str:
    return secrets.token_hex(4)


FUNCTIONS = (
    Function("resource.Get", ("s", "s", "s", "s"), _get),
    Function("resource.List", ("s", "s", "s"), _list),
    Function("resource.List", ("s", "s", "s", "m"), _list),
    Function("resource.Post", ("s", "s", "m"), _refused("a POST to the API")),
    Function("resource.Post", ("s", "s", "s", "m"), _refused("a POST to the API")),
    Function("http.Get", ("s",), _refused("HTTP")),
    Function("http.Get", ("s", "m"), _refused("HTTP")),
    Function("http.Post", ("s", "mls"), _refused("HTTP")),
    Function("http.Post", ("s", "mls", "m"), _refused("HTTP")),
    Function("globalContext.Get", ("s",), _refused("Kyverno's global context")),
    Function("globalContext.Get", ("s", "s"), _refused("Kyverno's global context")),
    Function("generator.Apply", ("s", "l"), _refused("a generator")),
    Function("image.GetMetadata", ("s",), _metadata),
    Function("image", ("s",), _image),
    Function("isImage", ("s",), _is_image, result="b"),
    _part("registry", lambda v: v["registry"]),
    _part("repository", lambda v: v["repository"]),
    _part("tag", lambda v: v["tag"]),
    _part("digest", lambda v: v["digest"]),
    _part("identifier", lambda v: v["digest"] or v["tag"]),
    _part("containsDigest", lambda v: bool(v["digest"])),
    Function("parseServiceAccount", ("s",), _account),
    Function("user.ParseServiceAccount", ("s",), _account),
    Function("json.Unmarshal", ("s",), _json),
    Function("yaml.Parse", ("s",), _yaml),
    Function("listObjToMap", ("l", "l", "s", "s"), _by_key),
    Function("time.now", (), lambda: datetime.now(UTC), result="t"),
    Function(
        "time.toCron", ("t",), lambda t: f"{t.minute} {t.hour} {t.day} {t.month} {t.isoweekday() % 7}", result="s"
    ),
    Function("random", (), _random, result="s"),
    Function("random", ("s",), _random, result="s"),
    *(Function(name, ("s",), _digest(name), result="s") for name in ("md5", "sha1", "sha256")),
)

ENVIRONMENT = Environment(NAMES, FUNCTIONS)
