"""Rego's source as the engine takes it, where that differs from OPA. Lines stay where they are.

- An expression that begins a line with a bracket is one of its own: OPA calls nothing across a line's end.
- `sprintf` has Go's marks for what is missing; `re_match`, which OPA has given up, is `regex.match`.
- What a negated call asks for is looked up before the negation: `not f(x.y)` is undefined, not true, where there is no `x.y` (OPA's compiler
  moves such references in front of the expression; equality is no call).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

SPRINTF = "taut_sprintf"
_RENAMED = {"sprintf": SPRINTF, "re_match": "regex.match"}
_TOKEN = re.compile(
    r'(?P<text>"(?:[^"\\\n]|\\.)*"|`[^`]*`)|(?P<comment>#[^\n]*)|(?P<newline>\n)|(?P<space>[ \t\r]+)'
    r"|(?P<name>[A-Za-z_]\w*)|(?P<number>\d[\w.]*)|(?P<sign>:=|==|!=|<=|>=|.)",
    re.DOTALL,
)
_GOES_ON = frozenset(
    ["not", "in", "some", "every", "default", "with", "as", "if", "contains", "else", "import", "package"]
)
_ENDS = frozenset(")]}")
_OPEN, _CLOSE = frozenset("([{"), frozenset(")]}")
_COMPARISONS = frozenset(["!=", "<=", ">=", "<", ">"])
_SILENT = frozenset(["space", "newline", "comment"])


@dataclass(slots=True)
class _Token:
    kind: str
    text: str


def adapted(source: str) -> str:
    """The source for the engine."""
    found = [_Token(str(m.lastgroup), m.group()) for m in _TOKEN.finditer(source)]
    solid = [i for i, t in enumerate(found) if t.kind not in _SILENT]
    _separate(found)
    _rename(found, solid)
    _hoist(found, solid)
    return "".join(t.text for t in found)


def _separate(found: list[_Token]) -> None:
    last, fresh = _Token("", ""), False
    for token in found:
        if token.kind == "newline":
            fresh = True
        if token.kind in _SILENT:
            continue
        ended = (
            last.text in _ENDS or last.kind in {"text", "number"} or (last.kind == "name" and last.text not in _GOES_ON)
        )
        previous = last
        last = _Token(token.kind, token.text)
        if fresh and token.text == "(" and ended and previous.kind:
            token.text = ";("
        fresh = False


def _rename(found: list[_Token], solid: Sequence[int]) -> None:
    for at, index in enumerate(solid[:-1]):
        token = found[index]
        before = found[solid[at - 1]].text if at else ""
        if token.kind == "name" and token.text in _RENAMED and before != "." and found[solid[at + 1]].text == "(":
            token.text = _RENAMED[token.text]


def _hoist(found: list[_Token], solid: Sequence[int]) -> None:
    number = 0
    for at, index in enumerate(solid[:-1]):
        if found[index].kind != "name" or found[index].text != "not" or (at and found[solid[at - 1]].text == "."):
            continue
        for start, end in _operands(found, solid, at + 1):
            text = "".join(found[i].text for i in range(solid[start], solid[end - 1] + 1))
            number += 1
            name = f"taut_operand_{number}"
            found[index].text = f"{name} := {text}; {found[index].text}"
            for i in range(solid[start], solid[end - 1] + 1):
                found[i].text = name if i == solid[start] else ""


def _operands(found: list[_Token], solid: Sequence[int], at: int) -> list[tuple[int, int]]:
    """The references that a negated call or comparison has as its operands, as ranges of tokens, the last one first."""
    end = _reference(found, solid, at)
    if end is None or end >= len(solid):
        return []
    following = found[solid[end]].text
    if following == "(":
        return list(reversed([r for r in _arguments(found, solid, end) if _is_path(found, solid, *r)]))
    if following in _COMPARISONS:
        right = _reference(found, solid, end + 1)
        pairs = [(at, end)] + ([(end + 1, right)] if right is not None else [])
        if right is not None and right < len(solid) and found[solid[right]].text == "(":
            return []
        return [r for r in reversed(pairs) if _is_path(found, solid, *r)]
    return []


def _reference(found: list[_Token], solid: Sequence[int], at: int) -> int | None:
    """Where the reference that begins at a token ends; None when none begins there."""
    if at >= len(solid) or found[solid[at]].kind != "name":
        return None
    end = at + 1
    while end < len(solid):
        text = found[solid[end]].text
        if text == "." and end + 1 < len(solid) and found[solid[end + 1]].kind == "name":
            end += 2
        elif text == "[" and solid[end] == solid[end - 1] + 1:
            end = _closing(found, solid, end) + 1
        else:
            break
    return end


def _arguments(found: list[_Token], solid: Sequence[int], opening: int) -> list[tuple[int, int]]:
    close, depth, start = _closing(found, solid, opening), 0, opening + 1
    ranges: list[tuple[int, int]] = []
    for at in range(opening + 1, close + 1):
        text = found[solid[at]].text
        if depth == 0 and (text == "," or at == close):
            if at > start:
                ranges.append((start, at))
            start = at + 1
        depth += (text in _OPEN) - (text in _CLOSE)
    return ranges


def _is_path(found: list[_Token], solid: Sequence[int], start: int, end: int) -> bool:
    """Whether these tokens are one reference with at least one step, and nothing in it is open."""
    if _reference(found, solid, start) != end or end - start < 2:
        return False
    return all(
        found[solid[i]].text != "_" and not found[solid[i]].text.startswith("taut_operand_") for i in range(start, end)
    )


def _closing(found: list[_Token], solid: Sequence[int], opening: int) -> int:
    depth = 0
    for at in range(opening, len(solid)):
        text = found[solid[at]].text
        depth += (text in _OPEN) - (text in _CLOSE)
        if depth == 0:
            return at
    return len(solid) - 1
