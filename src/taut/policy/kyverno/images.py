"""References of images, and the images of an object (Kyverno, `images` in the context)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from taut.policy.kyverno.errors import PolicyError

DEFAULT_REGISTRY = "docker.io"
LISTS = ("initContainers", "containers", "ephemeralContainers")
_TEMPLATES = {
    "Pod": ("spec",),
    "CronJob": ("spec", "jobTemplate", "spec", "template", "spec"),
    **dict.fromkeys(
        ("DaemonSet", "Deployment", "Job", "StatefulSet", "ReplicaSet", "ReplicationController"),
        ("spec", "template", "spec"),
    ),
}


@dataclass(frozen=True, slots=True)
class Image:
    """The parts of a reference. `tag` is `latest` where neither tag nor digest is given."""

    registry: str
    path: str
    tag: str
    digest: str

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]

    @property
    def reference(self) -> str:
        """The whole reference: by digest where there is one."""
        return f"{self.registry}/{self.path}" + (f"@{self.digest}" if self.digest else f":{self.tag}")

    @property
    def reference_with_tag(self) -> str:
        """The reference by its tag."""
        return f"{self.registry}/{self.path}:{self.tag}"

    def fields(self, pointer: str = "") -> dict[str, Any]:
        """As the context shows it."""
        found = {
            "registry": self.registry,
            "path": self.path,
            "name": self.name,
            "reference": self.reference,
            "referenceWithTag": self.reference_with_tag,
        }
        found |= {k: v for k, v in (("tag", self.tag), ("digest", self.digest)) if v}
        return found | ({"jsonPointer": pointer} if pointer else {})


def parse_image(text: str) -> Image:
    """A reference (distribution's grammar). Raises PolicyError when it is none."""
    rest, _, digest = text.strip().partition("@")
    head, slash, tail = rest.partition("/")
    if not rest or any(c.isspace() for c in rest):
        raise PolicyError(f"{text!r} is no reference of an image")
    if slash and ("." in head or ":" in head or head == "localhost"):
        registry, path = head, tail
    else:
        registry, path = DEFAULT_REGISTRY, rest
    path, _, tag = path.partition(":")
    if not path or path != path.lower():
        raise PolicyError(f"{text!r} is no reference of an image")
    return Image(registry, path, tag or ("" if digest else "latest"), digest)


def _inside(body: Any, steps: tuple[str, ...]) -> dict[str, Any] | None:
    for step in steps:
        body = body.get(step) if isinstance(body, dict) else None
    return body if isinstance(body, dict) else None


def containers(body: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """All containers of an object that runs Pods: list, JSON pointer, container."""
    steps = _TEMPLATES.get(str(body.get("kind")))
    spec = _inside(body, steps) if steps else None
    if not steps or spec is None:
        return
    for name in LISTS:
        found = spec.get(name)
        listed: list[Any] = found if isinstance(found, list) else []
        for index, container in enumerate(listed):
            if isinstance(container, dict):
                yield name, "/" + "/".join((*steps, name, str(index))), container


def images_of(body: Mapping[str, Any], extractors: Any = None) -> dict[str, dict[str, Any]]:
    """The images of an object by list and container; with `extractors` (kind → rules) those that they name."""
    found: dict[str, dict[str, Any]] = {}
    own = extractors.get(str(body.get("kind"))) if isinstance(extractors, dict) else None
    if isinstance(own, list):
        for rule in own:
            if isinstance(rule, dict):
                _extract(body, rule, found)
        return found
    for group, pointer, container in containers(body):
        image = container.get("image")
        if isinstance(image, str) and image:
            try:
                parsed = parse_image(image)
            except PolicyError:
                continue  # who asks for it is told that it is not there
            found.setdefault(group, {})[str(container.get("name"))] = parsed.fields(pointer + "/image")
    return found


def _extract(body: Mapping[str, Any], rule: dict[str, Any], found: dict[str, dict[str, Any]]) -> None:
    """Images at a path of the user's (`imageExtractors`)."""
    path = [p for p in str(rule.get("path", "")).split("/") if p]
    value_key, key = str(rule.get("value") or ""), str(rule.get("key") or "")
    group = str(rule.get("name") or "custom")
    for pointer, owner in _walk(body, path, ""):
        image = owner.get(value_key) if value_key and isinstance(owner, dict) else owner
        if not isinstance(image, str):
            continue
        name = str(owner.get(key)) if key and isinstance(owner, dict) else pointer
        try:
            found.setdefault(group, {})[name] = parse_image(image).fields(
                f"{pointer}/{value_key}" if value_key else pointer
            )
        except PolicyError:
            continue


def _walk(value: Any, path: list[str], pointer: str) -> Iterator[tuple[str, Any]]:
    if not path:
        yield pointer, value
        return
    step, rest = path[0], path[1:]
    if step == "*":
        pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, inner in pairs:
            yield from _walk(inner, rest, f"{pointer}/{key}")
    elif isinstance(value, dict) and step in value:
        yield from _walk(value[step], rest, f"{pointer}/{step}")


def pod_of(body: Mapping[str, Any]) -> dict[str, Any] | None:
    """The Pod that an object runs: its metadata and spec; None when it runs none."""
    steps = _TEMPLATES.get(str(body.get("kind")))
    if steps is None:
        return None
    owner = _inside(body, steps[:-1])
    if owner is None:
        return None
    return {"metadata": owner.get("metadata") or {}, "spec": owner.get("spec") or {}}
