"""Policy documents, held against the shapes that their engines publish: a slip of the pen must not loosen a policy without a word.

An API server drops a field that it does not know, and an engine takes a word that it does not know for its default. Either way less is enforced than its author
wrote. The shapes are those of the projects' own CustomResourceDefinitions (`make schemas`); of several versions a document may have the fields of each.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from taut.model.manifests import Body
from taut.policy.builtin.schemas import Misfit, Schemas, kept, read_kept
from taut.policy.review import Given, Trouble

KEPT = "shapes.json"
CONSTRAINT = "a constraint"
"""The type of every kind of `constraints.gatekeeper.sh`: its own fields are in `parameters`."""
_CONSTRAINTS = "constraints.gatekeeper.sh/"
_KYVERNO = "kyverno.io/"
_VARIABLE = re.compile(r"\{\{(?:\{[^{}]*\}|[^{}])*\}\}")
_MOST_NESTED = 20
_MOST_TOLD = 5
_NEAR = 0.8
_JUDGED = ("match", "exclude", "preconditions", "validate", "mutate", "context", "celPreconditions")


def troubles(documents: Sequence[Given]) -> Iterator[Trouble]:
    """What in these documents is not as their kinds have it, and kinds that they name and that nobody has."""
    for given in documents:
        yield from _misfits(given)
        if str(given.body.get("apiVersion")).startswith(_KYVERNO):
            yield from _open_variables(given)
    yield from _unknown_kinds(documents)


@cache
def _published() -> Schemas:
    return read_kept(Path(__file__).with_name(KEPT))


def _misfits(given: Given) -> Iterator[Trouble]:
    version, kind = str(given.body.get("apiVersion")), str(given.body.get("kind"))
    found = _published()
    if version.startswith(_CONSTRAINTS):
        found = Schemas({(version, kind): CONSTRAINT}, found.types)
    elif version.startswith("admissionregistration.k8s.io/"):
        found = kept()
    misfits = [m for m in found.misfits(given.body) if not m.path.startswith(("metadata.", "status"))]
    for misfit in misfits[:_MOST_TOLD]:
        yield Trouble(given.origin, _name(given.body), _said(misfit, kind), _advice(misfit))


def _said(misfit: Misfit, kind: str) -> str:
    if not misfit.known:
        return f"{kind} has no field {misfit.path}"
    if misfit.words:
        return f"{misfit.path} takes one of {', '.join(misfit.words)}, not {misfit.found!r}"
    return f"{misfit.path} takes a {misfit.wanted}, not a {misfit.found}"


def _advice(misfit: Misfit) -> str:
    return f"did you mean {misfit.wanted}?" if misfit.wanted and (misfit.words or not misfit.known) else ""


def _open_variables(given: Given) -> Iterator[Trouble]:
    """Texts with `{{` that nothing closes: they would be compared as they are."""
    spec = given.body.get("spec")
    rules = spec.get("rules") if isinstance(spec, dict) else None
    for rule in rules if isinstance(rules, list) else ():
        if not isinstance(rule, dict):
            continue
        for part in _JUDGED:
            for path, text in _texts(rule.get(part), part):
                if "{{" in text and _is_open(text):
                    what = f"rule {rule.get('name')!r}: {path} has {{{{ without }}}}"
                    yield Trouble(
                        given.origin, _name(given.body), what, "close the variable, or write \\{{ for the two signs"
                    )


def _is_open(text: str) -> bool:
    for _ in range(_MOST_NESTED):
        shorter = _VARIABLE.sub("", text)
        if shorter == text:
            break
        text = shorter
    return "{{" in text.replace("\\{{", "")


def _texts(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _texts(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _texts(inner, f"{path}[{number}]")
    elif isinstance(value, str):
        yield path, value


def _unknown_kinds(documents: Sequence[Given]) -> Iterator[Trouble]:
    """Kinds that are nearly called like one of Kubernetes, and are none that is known: a definition may come with another repository, so it is only told."""
    known = {kind for _, kind in kept().kinds}
    defined = {str(names.get("kind")) for g in documents if isinstance(names := _names(g.body), dict)}
    for given in documents:
        for kind in dict.fromkeys(_kinds(given.body.get("spec"))):
            near = difflib.get_close_matches(kind, known, 1, _NEAR) if kind not in known | defined else []
            if near:
                what = f"it is about {kind}, a kind that is not known"
                yield Trouble(given.origin, _name(given.body), what, f"did you mean {near[0]}?", doubt=True)


def _kinds(value: Any) -> Iterator[str]:
    """The kinds that a policy names in lists called `kinds`, without globs, groups and subresources."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "kinds" and isinstance(inner, list):
                yield from (k for k in map(_kind, _flat(inner)) if k)
            else:
                yield from _kinds(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _kinds(inner)


def _flat(listed: Iterable[Any]) -> Iterator[str]:
    for item in listed:
        if isinstance(item, str):
            yield item
        elif isinstance(item, dict) and isinstance(item.get("kinds"), list):
            yield from (k for k in item["kinds"] if isinstance(k, str))


def _kind(text: str) -> str:
    """`Pod` of `Pod`, `v1/Pod`, `apps/v1/Deployment`, `Pod/exec` and `Pod.status`; empty for a glob."""
    parts = [p for p in text.split(".", maxsplit=1)[0].split("/") if p[:1].isupper()]
    return parts[0] if parts and not any(c in text for c in "*?") else ""


def _names(body: Body) -> Any:
    spec = body.get("spec")
    return spec.get("names") if body.get("kind") == "CustomResourceDefinition" and isinstance(spec, dict) else None


def _name(body: Body) -> str:
    metadata = body.get("metadata")
    return str(metadata.get("name") or "") if isinstance(metadata, dict) else ""
