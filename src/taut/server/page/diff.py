"""Differences of a plan as lines, unified or side by side: what changes, in its place; noise is folded and counted. Pure."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from taut.documents.yaml import dump
from taut.model.errors import BadInput
from taut.model.plan import Action
from taut.model.visible import clean
from taut.server.page.sentences import plural
from taut.server.views import HIDDEN, ChangeView, FieldView

_CONTEXT = 3
_MOST_LINES = 600
_PART = re.compile(r"\[[^\]]*\]|[^.\[]+")
_NOISE = (
    (
        re.compile(r"^metadata\.(managedFields|generation|resourceVersion|uid|creationTimestamp)\b"),
        "written by the cluster",
    ),
    (re.compile(r"^status\b"), "of status"),
    (
        re.compile(
            r"metadata\.labels.*(helm\.sh/chart|app\.kubernetes\.io/(managed-by|version))|metadata\.annotations.*checksum/"
        ),
        "labels and checksums of charts",
    ),
    (
        re.compile(r"metadata\.annotations.*(last-applied-configuration|deployment\.kubernetes\.io/revision)"),
        "bookkeeping of other tools",
    ),
)


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a line; `marked` is what differs from the other side."""

    text: str
    marked: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """`kind` is add, del, ctx (as it is on both sides) or gap (what is left out)."""

    kind: str
    pieces: tuple[Piece, ...]

    @property
    def sign(self) -> str:
        """As a diff has it."""
        return {"add": "+", "del": "−"}.get(self.kind, "")


type Pair = tuple[Line | None, Line | None]


@dataclass(frozen=True, slots=True)
class Fold:
    """Noise of one kind, and the fields that it is in."""

    why: str
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ObjectDiff:
    """One object's part of a plan."""

    change: ChangeView
    lines: Sequence[Line]
    added: int
    removed: int
    folds: Sequence[Fold]

    @property
    def folded(self) -> str:
        """`3 fields folded: 2 of status, 1 bookkeeping of other tools`; empty without any."""
        count = sum(len(fold.fields) for fold in self.folds)
        parts = ", ".join(f"{len(fold.fields)} {fold.why}" for fold in self.folds)
        return f"{plural(count, 'field')} folded: {parts}" if count else ""

    @property
    def pairs(self) -> Sequence[Pair]:
        """The same lines side by side, live at the left, Git at the right."""
        return list(_side_by_side(self.lines))


def object_diff(change: ChangeView) -> ObjectDiff:
    """A change as lines. The reader's order is the plan's."""
    lines: list[Line] = []
    noise: dict[str, list[str]] = {}
    place: tuple[str, ...] = ()
    for field in change.fields:
        why = noise_of(field)
        if why:
            noise.setdefault(why, []).append(clean(field.path))
            continue
        parent, name = split_path(field.path)
        if parent != place and parent:
            lines.append(Line("ctx", (Piece(_place(parent)),)))
        place = parent
        lines += _field(field, name, "  " if parent else "")
    counts = Counter(line.kind for line in lines)
    if len(lines) > _MOST_LINES:
        left = len(lines) - _MOST_LINES
        lines = [*lines[:_MOST_LINES], Line("gap", (Piece(f"… {plural(left, 'line')} more"),))]
    folds = [Fold(why, tuple(fields)) for why, fields in noise.items()]
    return ObjectDiff(change, lines, counts["add"], counts["del"], folds)


def noise_of(field: FieldView) -> str:
    """Why a field is nothing to read; empty when it is. What only changes its owner is noise as well."""
    if not field.secret and field.before_set and field.after_set and field.before == field.after:
        return "taken over without a change"
    return next((why for pattern, why in _NOISE if pattern.search(field.path)), "")


def split_path(path: str) -> tuple[tuple[str, ...], str]:
    """A field's place and its name: `spec.containers[name=web].image` is `image` in `spec`, `containers`, `[name=web]`."""
    parts = _PART.findall(path)
    return (tuple(parts[:-1]), parts[-1]) if parts else ((), path)


def _place(parts: tuple[str, ...]) -> str:
    return clean("".join(part if part.startswith("[") or not n else f".{part}" for n, part in enumerate(parts)))


def _field(field: FieldView, name: str, indent: str) -> Iterator[Line]:
    if field.secret:
        yield from (Line("del", (Piece(f"{indent}{clean(name)}: ••••••"),)) for _ in range(field.before_set))
        yield from (Line("add", (Piece(f"{indent}{clean(name)}: {HIDDEN}"),)) for _ in range(field.after_set))
        return
    before = _yaml(name, field.before, indent) if field.before_set else []
    after = _yaml(name, field.after, indent) if field.after_set else []
    if len(before) == len(after) == 1:
        yield from _marked(before[0], after[0])
    else:
        yield from _blocks(before, after)


def _yaml(name: str, value: Any, indent: str) -> list[str]:
    """A field as lines of YAML; what is none (a text that was put in a value's place) is shown as it is."""
    key = name.removeprefix("[").removesuffix("]")
    # In brackets stand keys of lists (`[name=web]`, `[0]`, `[value]`), and names of maps that are no plain words (`[helm.sh/chart]`).
    item = key != name and (key.isdigit() or (isinstance(value, dict) and "=" in key) or value == key)
    try:
        text = dump([value] if item else {key: value})
    except BadInput:
        text = f"{key}: {value}"
    return [indent + clean(line) for line in text.rstrip("\n").split("\n")]


def _marked(before: str, after: str) -> tuple[Line, Line]:
    """Two versions of one line, with what differs marked; nothing is marked where nearly everything does."""
    start = 0
    while start < min(len(before), len(after)) and before[start] == after[start]:
        start += 1
    end = 0
    while end < min(len(before), len(after)) - start and before[-1 - end] == after[-1 - end]:
        end += 1
    return Line("del", _pieces(before, start, end)), Line("add", _pieces(after, start, end))


def _pieces(text: str, start: int, end: int) -> tuple[Piece, ...]:
    middle = text[start : len(text) - end]
    found = (Piece(text[:start]), Piece(middle, marked=True), Piece(text[len(text) - end :]))
    return tuple(piece for piece in found if piece.text)


def _blocks(before: list[str], after: list[str]) -> Iterator[Line]:
    """Several lines: those that are the same are left out but for a few around a change."""
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=len(before) + len(after) > 4000)
    for tag, i1, i2, j1, j2 in matcher.get_opcodes():
        if tag == "equal":
            same = before[i1:i2]
            head = same[:_CONTEXT] if i1 else []
            tail = same[len(head) :][-_CONTEXT:] if i2 < len(before) or j2 < len(after) else []
            left = len(same) - len(head) - len(tail)
            yield from (Line("ctx", (Piece(text),)) for text in head)
            if left:
                yield Line("gap", (Piece(f"… {plural(left, 'line')} as before"),))
            yield from (Line("ctx", (Piece(text),)) for text in tail)
            continue
        if i2 - i1 == j2 - j1:
            pairs = [_marked(a, b) for a, b in zip(before[i1:i2], after[j1:j2], strict=True)]
            yield from (old for old, _ in pairs)
            yield from (new for _, new in pairs)
            continue
        yield from (Line("del", (Piece(text),)) for text in before[i1:i2])
        yield from (Line("add", (Piece(text),)) for text in after[j1:j2])


def _side_by_side(lines: Sequence[Line]) -> Iterator[Pair]:
    removed: list[Line] = []
    added: list[Line] = []
    for line in lines:
        if line.kind == "del" and not added:
            removed.append(line)
        elif line.kind == "add":
            added.append(line)
        else:
            yield from zip_longest(removed, added)
            removed, added = ([line], []) if line.kind == "del" else ([], [])
            if line.kind != "del":
                yield line, line
    yield from zip_longest(removed, added)


@dataclass(frozen=True, slots=True)
class Verb:
    """What a change does, as people say it."""

    word: str
    icon: str
    tone: str


VERBS = {
    Action.CREATE: Verb("Create", "i-plus", "good"),
    Action.UPDATE: Verb("Change", "i-tilde", "run"),
    Action.ADOPT: Verb("Adopt", "i-tilde", "run"),
    Action.RECREATE: Verb("Recreate", "i-minus", "bad"),
    Action.DELETE: Verb("Delete", "i-minus", "bad"),
    Action.RELEASE: Verb("Let go", "i-minus", "mute"),
    Action.UNCHANGED: Verb("Unchanged", "i-tilde", "mute"),
}


def plan_counts(changes: Sequence[ChangeView]) -> list[tuple[str, str]]:
    """`14 deletions`, `1 change`: tone and words, what is lost first."""
    counts = Counter(change.action for change in changes)
    words = (
        (Action.DELETE, "deletion", "bad"),
        (Action.RECREATE, "recreation", "bad"),
        (Action.CREATE, "creation", "soft"),
        (Action.UPDATE, "change", "soft"),
        (Action.ADOPT, "adoption", "soft"),
        (Action.RELEASE, "release", "soft"),
    )
    return [(tone, plural(counts[action], word)) for action, word, tone in words if counts[action]]


def change_sentence(change: ChangeView) -> str:
    """What stands beside a change in a list: its reason, or the fields that differ."""
    if change.reason:
        return clean(change.reason)
    real = [f for f in change.fields if not noise_of(f)]
    if len(real) == 1 and not real[0].secret:
        return f"{clean(split_path(real[0].path)[1])} {_short(real[0], before=True)} → {_short(real[0], before=False)}"
    return plural(len(real), "field") if real else ""


def _short(field: FieldView, *, before: bool) -> str:
    value, there = (field.before, field.before_set) if before else (field.after, field.after_set)
    if not there:
        return "not set"
    text = clean(str(value)).replace("\n", " ")
    return text if len(text) <= 24 else f"{text[:11]}…{text[-11:]}"
