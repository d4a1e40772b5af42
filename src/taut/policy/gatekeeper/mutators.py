"""Gatekeeper's mutators: Assign, AssignMetadata, ModifySet, AssignImage; in the order of their names until nothing changes."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import orjson

from taut.model.manifests import Body
from taut.model.verdict import Enforcement, Outcome, Verdict
from taut.policy import subresources
from taut.policy.gatekeeper.errors import GatekeeperError
from taut.policy.gatekeeper.images import assigned
from taut.policy.gatekeeper.location import Step, parse
from taut.policy.gatekeeper.matching import matches
from taut.policy.review import Lookup, NotKnown, Operation, Review

KINDS = frozenset({"Assign", "AssignMetadata", "ModifySet", "AssignImage"})
_ROUNDS = 25


def mutator_fault(body: Body) -> str:
    """What is wrong with a mutator; empty when nothing is."""
    spec = body.get("spec")
    if not isinstance(spec, dict):
        return "spec has to be a mapping"
    try:
        steps = parse(str(spec.get("location") or ""))
    except GatekeeperError as error:
        return str(error)
    parameters: dict[str, Any] = spec.get("parameters") or {}
    if body["kind"] == "AssignMetadata":
        if len(steps) != 3 or steps[0].name != "metadata" or steps[1].name not in {"labels", "annotations"}:
            return "AssignMetadata sets a label or an annotation: metadata.labels.name"
        if not isinstance((parameters.get("assign") or {}).get("value"), str):
            return "AssignMetadata assigns a text"
    elif not spec.get("applyTo"):
        return "spec.applyTo has to name the kinds"
    if body["kind"] != "AssignMetadata" and steps[0].name == "metadata":
        return "metadata is for AssignMetadata"
    return ""


@dataclass(frozen=True)
class Mutators:
    """All mutators together: each object is worked on until none of them changes it."""

    documents: tuple[Body, ...]
    engine: str = field(default="gatekeeper", init=False)
    name: str = field(default="mutators", init=False)

    @property
    def hash(self) -> str:
        """Of all of them."""
        return self._hash

    @cached_property
    def _hash(self) -> str:
        return hashlib.sha256(orjson.dumps(self.documents, option=orjson.OPT_SORT_KEYS)).hexdigest()

    @cached_property
    def _ordered(self) -> list[Body]:
        return sorted(self.documents, key=lambda d: (str(d.get("kind")), str((d.get("metadata") or {}).get("name"))))

    @property
    def mutates(self) -> bool:
        """All of them."""
        return True

    @property
    def fails_open(self) -> bool | None:
        """Gatekeeper has this in its own webhook, and not in documents."""
        return None

    def concerns(self, api_version: str, kind: str, resource: str = "") -> bool:
        """Any kind may be, but those that only requests for subresources hold."""
        return kind not in subresources.KINDS

    def validate(self, review: Review, lookup: Lookup) -> list[Verdict]:
        """Mutators judge nothing."""
        return []

    def mutate(self, review: Review, lookup: Lookup) -> tuple[Body, list[Verdict]]:
        """The object as it is when no mutator changes it any more."""
        if review.operation is Operation.DELETE or review.object is None:
            return review.body, []
        body = review.object
        try:
            mine = [d for d in self._ordered if self._is_about(d, review, lookup)]
            for _ in range(_ROUNDS):
                made = body
                for document in mine:
                    made = _mutated(document, made)
                if made == body:
                    return body, []
                body = made
        except (GatekeeperError, NotKnown) as error:
            return review.object, [self._verdict(review, str(error))]
        names = ", ".join(str((d.get("metadata") or {}).get("name")) for d in mine)
        return review.object, [self._verdict(review, f"the mutators {names} never come to an end on this object")]

    @staticmethod
    def _is_about(document: Body, review: Review, lookup: Lookup) -> bool:
        spec = document["spec"]
        if document["kind"] != "AssignMetadata" and not _applies(spec.get("applyTo"), review.body):
            return False
        return matches(spec.get("match"), review, lookup)

    def _verdict(self, review: Review, message: str) -> Verdict:
        return Verdict(self.name, "", self.engine, review.subject, Outcome.ERROR, message, Enforcement.DENY)


def _applies(entries: Any, body: Body) -> bool:
    group, _, version = str(body.get("apiVersion") or "").rpartition("/")
    return any(
        group in (e.get("groups") or ())
        and version in (e.get("versions") or ())
        and body.get("kind") in (e.get("kinds") or ())
        for e in entries or ()
        if isinstance(e, dict)
    )


def _mutated(document: Body, body: Body) -> Body:
    spec = document["spec"]
    steps = parse(str(spec["location"]))
    tests = [
        (parse(str(t["subPath"])), str(t["condition"])) for t in (spec.get("parameters") or {}).get("pathTests") or ()
    ]
    for path, condition in tests:
        present = _present(body, path)
        if present != (condition == "MustExist"):
            return body
    result = copy.deepcopy(body)
    _walk(result, steps, _change_of(document, body))
    return result


def _present(value: Any, steps: tuple[Step, ...]) -> bool:
    if not steps:
        return True
    step = steps[0]
    if not isinstance(value, dict) or step.name not in value:
        return False
    if not step.in_list:
        return _present(value[step.name], steps[1:])
    return any(_present(e, steps[1:]) for e in _elements(value[step.name], step))


def _elements(value: Any, step: Step) -> list[Any]:
    listed = value if isinstance(value, list) else []
    return [
        e
        for e in listed
        if isinstance(e, dict) and step.key in e and (step.value is None or str(e[step.key]) == step.value)
    ]


type _Change = Callable[[Any], Any]
"""From the value at a place (None: there is none) to the new one."""


def _walk(value: Any, steps: tuple[Step, ...], change: _Change) -> None:
    step, rest = steps[0], steps[1:]
    if not isinstance(value, dict):
        return
    if not step.in_list:
        if rest:
            if value.get(step.name) is None:
                value[step.name] = {}
            _walk(value[step.name], rest, change)
            return
        made = change(value.get(step.name))
        if made is not None:
            value[step.name] = made
        return
    found = _elements(value.get(step.name), step)
    if not found and step.value is not None and (rest or change(None) is not None):
        found = [{step.key: step.value}]
        value.setdefault(step.name, []).append(found[0])
    for element in found:
        if rest:
            _walk(element, rest, change)
        else:
            made = change(element)
            if isinstance(made, dict):
                element.update(made)


def _change_of(document: Body, body: Body) -> _Change:
    parameters: dict[str, Any] = document["spec"].get("parameters") or {}
    match document["kind"]:
        case "AssignMetadata":
            return lambda old: _value(parameters, body) if old is None else old
        case "Assign":
            allowed = ((parameters.get("assignIf") or {}).get("in"), (parameters.get("assignIf") or {}).get("notIn"))
            return lambda old: _value(parameters, body) if _permitted(old, *allowed) else old
        case "ModifySet":
            return lambda old: _set(old, parameters)
        case _:
            return lambda old: assigned(old, parameters)


def _permitted(old: Any, within: Any, outside: Any) -> bool:
    if isinstance(within, list) and old not in within:
        return False
    return not (isinstance(outside, list) and old in outside)


def _value(parameters: dict[str, Any], body: Body) -> Any:
    assign: dict[str, Any] = parameters.get("assign") or {}
    if "value" in assign:
        return copy.deepcopy(assign["value"])
    source = (assign.get("fromMetadata") or {}).get("field")
    if source in {"namespace", "name"}:
        return (body.get("metadata") or {}).get(source)
    raise GatekeeperError(
        "only values and fields of the metadata are assigned; external data is for Gatekeeper in the cluster"
    )


def _set(old: Any, parameters: dict[str, Any]) -> Any:
    values = (parameters.get("values") or {}).get("fromList") or []
    listed = old if isinstance(old, list) else []
    if parameters.get("operation") == "prune":
        kept = [v for v in listed if v not in values]
        return kept if isinstance(old, list) else None
    return [*listed, *(v for v in values if v not in listed)]
