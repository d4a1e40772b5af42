"""Waivers: documents in Git that say who lets an object pass a policy, why, until when, and for which content.

`taut.dev/v1` `PolicyWaiver`, kept beside the policies: whoever may change those may waive them.
"""

from __future__ import annotations

import datetime
import fnmatch
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from taut.model.manifests import Body, content_hash
from taut.model.verdict import Outcome, Subject, Verdict
from taut.policy.review import Given, Trouble

API_VERSION, KIND = "taut.dev/v1", "PolicyWaiver"
_OURS = "taut.dev/"


class WaivedObject(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Objects, by globs."""

    kind: str
    name: str
    namespace: str = ""


class _Spec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    policy: str
    objects: list[WaivedObject]
    who: str
    why: str
    until: str
    rule: str = "*"
    hash: str = ""


@dataclass(frozen=True, slots=True)
class Waiver:
    """One waiver. `until` is the last moment in which it holds, in Unix seconds; `hash` is an object's content hash, empty for any content."""

    name: str
    policy: str
    rule: str
    objects: tuple[WaivedObject, ...]
    hash: str
    until: float
    about: frozenset[str] | None = None
    """The names of the policies that it may touch; None: all."""

    def covers(self, verdict: Verdict, content: str, now: float) -> bool:
        """Whether it lets this pass. `content` is the object's content hash (hex)."""
        return (
            now <= self.until
            and (self.about is None or verdict.policy in self.about)
            and fnmatch.fnmatchcase(verdict.policy, self.policy)
            and fnmatch.fnmatchcase(verdict.rule, self.rule)
            and (not self.hash or self.hash.removeprefix("sha256:") == content)
            and any(_is(o, verdict.subject) for o in self.objects)
        )


def content_of(body: Body) -> str:
    """The hash (hex) of an object as its author wrote it, by which a waiver is bound to a content: taut's own annotations do not count, and
    of a Secret only which entries it has. The hash is told to people, and a plain hash of a value is as good as a short value itself.
    """
    if body.get("kind") == "Secret":
        body = {**body, **{part: _names(body[part]) for part in ("data", "stringData") if part in body}}
    metadata = body.get("metadata")
    if not isinstance(metadata, dict):
        return content_hash(body)
    annotations = metadata.get("annotations")
    theirs = {k: v for k, v in annotations.items() if not k.startswith(_OURS)} if isinstance(annotations, dict) else {}
    rest = {k: v for k, v in metadata.items() if k != "annotations"}
    return content_hash({**body, "metadata": {**rest, "annotations": theirs} if theirs else rest})


def _names(entries: Any) -> Any:
    return sorted(entries) if isinstance(entries, dict) else ""


def is_waiver(given: Given) -> bool:
    """Whether a document is one."""
    return given.body.get("apiVersion") == API_VERSION and given.body.get("kind") == KIND


def read_waivers(documents: Iterable[Given]) -> tuple[tuple[Waiver, ...], tuple[Trouble, ...]]:
    """The waivers among documents, and what is wrong with those that cannot be used."""
    found: list[Waiver] = []
    troubles: list[Trouble] = []
    for given in documents:
        if not is_waiver(given):
            continue
        metadata = given.body.get("metadata")
        name = str(metadata.get("name") or "") if isinstance(metadata, dict) else ""
        try:
            found.append(_read(name, given.body.get("spec")))
        except ValueError as error:
            advice = "a waiver says policy, objects (kind, namespace, name), who, why and until"
            troubles.append(Trouble(given.origin, f"PolicyWaiver {name}", str(error), advice))
    return tuple(found), tuple(troubles)


def waived(verdicts: Sequence[Verdict], waivers: Sequence[Waiver], content: str, now: float) -> tuple[Verdict, ...]:
    """The verdicts; a failure that a waiver covers is a skip that names it."""
    return tuple(_waived(v, waivers, content, now) if v.denies else v for v in verdicts)


def _waived(verdict: Verdict, waivers: Sequence[Waiver], content: str, now: float) -> Verdict:
    for waiver in waivers:
        if waiver.covers(verdict, content, now):
            return replace(verdict, result=Outcome.SKIP, exception=f"PolicyWaiver {waiver.name}")
    return verdict


def _is(pattern: WaivedObject, subject: Subject) -> bool:
    return (
        fnmatch.fnmatchcase(subject.kind, pattern.kind)
        and fnmatch.fnmatchcase(subject.name, pattern.name)
        and fnmatch.fnmatchcase(subject.namespace, pattern.namespace)
    )


def _read(name: str, spec: Any) -> Waiver:
    """Raises ValueError (msgspec's is one) with what is wrong."""
    found = msgspec.convert(spec, _Spec)
    for field in ("policy", "who", "why"):
        if not getattr(found, field).strip():
            raise ValueError(f"spec.{field} is empty")
    if not found.objects:
        raise ValueError("spec.objects is empty")
    return Waiver(name, found.policy, found.rule, tuple(found.objects), found.hash, _moment(found.until))


def _moment(text: str) -> float:
    """A date is its last moment, in UTC."""
    try:
        if len(text) == len("2026-01-31"):
            day = datetime.date.fromisoformat(text) + datetime.timedelta(days=1)
            return datetime.datetime(day.year, day.month, day.day, tzinfo=datetime.UTC).timestamp()
        found = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"spec.until is {text!r}: write a date such as 2026-12-31, or a time") from None
    return (found if found.tzinfo else found.replace(tzinfo=datetime.UTC)).timestamp()
