"""CEL's source text as tokens, and what is written differently for the engine: composed variables, typed constructions, optional results."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from taut.policy.cel.errors import CelError

_TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n]*)
    |(?P<string>(?:[rR][bB]?|[bB][rR]?)?(?:\"{3}(?:[^\\]|\\.)*?\"{3}|'{3}(?:[^\\]|\\.)*?'{3}|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'))
    |(?P<number>0x[0-9a-fA-F]+[uU]?|(?:\d+\.\d+|\.\d+|\d+)(?:[eE][+-]?\d+)?[uU]?)
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*|`[^`\n]*`)
    |(?P<sign>&&|\|\||[=!<>]=|\[\?|\.\?|\{\?|.)""",
    re.VERBOSE | re.DOTALL,
)
_LONGEST = 100_000
_OPEN, _CLOSE = frozenset({"(", "[", "[?", "{", "{?"}), frozenset({")", "]", "}"})
VARIABLE = "_variable_"
"""Ahead of a composed variable's name where it is bound."""


@dataclass(frozen=True, slots=True)
class Token:
    """One token. Space and comments keep their place, so that messages of the engine name the right lines."""

    kind: str
    text: str


def tokens(source: str) -> list[Token]:
    """All tokens of an expression. Raises CelError when it is longer than any expression may be."""
    if len(source) > _LONGEST:
        raise CelError(f"the expression is longer than {_LONGEST} characters")
    return [Token(str(m.lastgroup), m.group()) for m in _TOKEN.finditer(source)]


def variables_of(source: str) -> frozenset[str]:
    """The composed variables (`variables.name`) that an expression names."""
    return frozenset(name for name, _ in _mentions([t for t in tokens(source) if t.kind != "space"]))


def _mentions(found: Sequence[Token]) -> list[tuple[str, int]]:
    return [
        (found[i + 2].text.strip("`"), i)
        for i in range(len(found) - 2)
        if found[i].text == "variables"
        and found[i].kind == "name"
        and found[i + 1].text in {".", ".?"}
        and found[i + 2].kind == "name"
        and (i == 0 or found[i - 1].text not in {".", ".?"})
    ]


def rewrite(source: str, *, optional: Collection[str], renamed: Callable[[str], str]) -> str:
    """The expression as the engine takes it.

    `variables.x` becomes a bound name; `Object.spec{a: 1}` and `JSONPatch{op: "add"}` become maps; a call of a function in `optional` (full
    name, or `.name` for a member) gives an optional, which no function of ours can return: a list of at most one is asked for its first.
    `renamed` gives another name to members that the engine's own library has for other types.
    """
    found = tokens(source)
    out = [t.text for t in found]
    solid = [i for i, t in enumerate(found) if t.kind != "space"]
    _rewrite_variables(found, solid, out)
    _rewrite_types(found, solid, out)
    for at, index in enumerate(solid):
        token = found[index]
        if token.kind != "name" or at + 1 >= len(solid) or found[solid[at + 1]].text != "(":
            continue
        member = at > 0 and found[solid[at - 1]].text == "."
        if member and token.text == "orValue" and not _may_be_optional(found, solid, at - 1, optional):
            for i in solid[at - 1 : _closing(found, solid, at + 1) + 1]:
                out[i] = ""
            continue
        if member:
            out[index] = renamed(token.text)
        if _full_name(found, solid, at) in optional or (member and f".{token.text}" in optional):
            end = _closing(found, solid, at + 1)
            out[solid[end]] += ".first()"
    return "".join(out)


def _rewrite_variables(found: list[Token], solid: list[int], out: list[str]) -> None:
    for name, at in _mentions([found[i] for i in solid]):
        head, dot, tail = solid[at], solid[at + 1], solid[at + 2]
        if _is_test(found, solid, at):
            # A variable that is declared is there; whether it can be evaluated is another question.
            out[solid[at - 2]], out[head], out[dot], out[tail] = "", "true", "", ""
            continue
        out[head] = ""
        maybe = found[dot].text == ".?"
        out[dot] = "optional.of(" if maybe else ""
        out[tail] = VARIABLE + name + (")" if maybe else "")


def _is_test(found: list[Token], solid: list[int], at: int) -> bool:
    """Whether a mention is all that a `has(…)` asks for."""
    around = [found[solid[i]].text for i in (at - 2, at - 1, at + 3)] if at >= 2 and at + 3 < len(solid) else []
    return around == ["has", "(", ")"]


def _rewrite_types(found: list[Token], solid: list[int], out: list[str]) -> None:
    """`Object{…}`, `Object.spec.template{…}`, `JSONPatch{…}`: the type's name goes, field names become keys."""
    for at, index in enumerate(solid):
        if found[index].text not in {"Object", "JSONPatch"} or (at and found[solid[at - 1]].text in {".", ".?"}):
            continue
        end = at + 1
        while end + 1 < len(solid) and found[solid[end]].text == "." and found[solid[end + 1]].kind == "name":
            end += 2
        if end >= len(solid) or found[solid[end]].text not in {"{", "{?"}:
            continue
        for i in solid[at:end]:
            out[i] = ""
        # A map of our own has a type that only itself fits; what stands for an object of the API fits wherever one may be missing.
        out[solid[at]] = "dyn("
        _keys(found, solid, out, end)
        out[solid[_closing(found, solid, end)]] += ")"


def _keys(found: list[Token], solid: list[int], out: list[str], opening: int) -> None:
    depth = 0
    for at in range(opening, len(solid)):
        text = found[solid[at]].text
        if text in _OPEN:
            depth += 1
        elif text in _CLOSE:
            depth -= 1
            if depth == 0:
                return
        elif depth == 1 and found[solid[at]].kind == "name" and at + 1 < len(solid):
            before, after = found[solid[at - 1]].text, found[solid[at + 1]].text
            if before in {"{", "{?", ",", "?"} and after == ":":
                out[solid[at]] = '"' + unescape(text.strip("`")) + '"'


_ESCAPES = {"__dot__": ".", "__dash__": "-", "__slash__": "/", "__underscores__": "__"}
_RESERVED = frozenset(
    [
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    ]
)


def unescape(name: str) -> str:
    """A field's name as the document has it (Kubernetes' escapes: `__dash__`, `__namespace__`)."""
    if name.startswith("__") and name.endswith("__") and name[2:-2] in _RESERVED:
        return name[2:-2]
    return re.sub("|".join(_ESCAPES), lambda m: _ESCAPES[m.group()], name)


_OPTIONALS = frozenset(["optional", "optMap", "optFlatMap", "or", "first", "last", "variables"])


def _may_be_optional(found: list[Token], solid: list[int], dot: int, optional: Collection[str]) -> bool:
    """Whether the value before `.orValue(…)` can be an optional. Of any other value cel-go's `orValue` is that value; the engine refuses it."""
    at, depth = dot - 1, 0
    while at >= 0:
        text, kind = found[solid[at]].text, found[solid[at]].kind
        if text in _CLOSE:
            depth += 1
        elif text in _OPEN:
            if depth == 0:
                return False
            depth -= 1
            if depth == 0 and text in {"[?", "("} and (text == "[?" or at == 0 or found[solid[at - 1]].kind != "name"):
                return True
        elif depth == 0:
            if text == ".?" or text in _OPTIONALS or text in optional or f".{text}" in optional:
                return True
            before = found[solid[at - 1]].text if at else ""
            if text not in {"."} and (kind != "name" or before not in {".", ".?"}):
                return kind != "name"
        at -= 1
    return False


def _full_name(found: list[Token], solid: list[int], at: int) -> str:
    """The dotted name that ends at a token, as far as it is one from its start."""
    parts = [found[solid[at]].text]
    while at >= 2 and found[solid[at - 1]].text == "." and found[solid[at - 2]].kind == "name":
        at -= 2
        parts.append(found[solid[at]].text)
    return ".".join(reversed(parts))


def _closing(found: list[Token], solid: list[int], opening: int) -> int:
    depth = 0
    for at in range(opening, len(solid)):
        text = found[solid[at]].text
        depth += (text in _OPEN) - (text in _CLOSE)
        if depth == 0:
            return at
    raise CelError("a bracket is not closed")
