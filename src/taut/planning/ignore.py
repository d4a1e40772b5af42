"""Fields that are not compared and, once the object exists, not applied.

Rules come from the application (JSON pointers, jq path expressions, field managers) and from autoscalers: the replicas of
what a HorizontalPodAutoscaler scales are the autoscaler's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from itertools import islice
from typing import Any, Final

import jq
import msgspec

from taut.model.application import IgnoreRule
from taut.model.errors import BadInput, Where
from taut.model.manifests import Body, content_hash
from taut.planning.fields import Path, fields_of_managers, managed_fields
from taut.planning.lists import ListKeys
from taut.planning.locate import keyed

REPLICAS: Final = "taut.dev/replicas"
"""Annotation: `git` says that replicas come from Git although an autoscaler exists."""
_REPLICAS_POINTER: Final = "/spec/replicas"


@dataclass(frozen=True)
class ResolvedIgnore:
    """The ignored paths of one object."""

    paths: frozenset[Path] = frozenset()

    def covers(self, path: Path) -> bool:
        """Whether `path` is ignored or lies inside something ignored."""
        return bool(self.paths) and any(path[:n] in self.paths for n in range(len(path) + 1))

    def __bool__(self) -> bool:
        return bool(self.paths)


NOTHING: Final = ResolvedIgnore()


def matches(rule: IgnoreRule, body: Body) -> bool:
    """Whether the rule's selectors (globs; empty matches all) fit an object."""
    group, slash, _ = str(body.get("apiVersion", "")).partition("/")
    metadata = body.get("metadata") or {}
    pairs = (
        (rule.group, group if slash else ""),
        (rule.kind, str(body.get("kind", ""))),
        (rule.name, str(metadata.get("name") or "")),
        (rule.namespace, str(metadata.get("namespace") or "")),
    )
    return all(pattern in ("", "*") or fnmatchcase(value, pattern) for pattern, value in pairs)


def rules_for(rules: Iterable[IgnoreRule], body: Body) -> tuple[IgnoreRule, ...]:
    """The rules that fit an object."""
    return tuple(rule for rule in rules if matches(rule, body))


def rules_hash(rules: Sequence[IgnoreRule]) -> str:
    """A hash of rules; "" for none. It is part of what is wanted: another rule is another desired state."""
    return content_hash([msgspec.to_builtins(rule) for rule in rules]) if rules else ""


def resolve(rules: Sequence[IgnoreRule], desired: Body | None, live: Body | None) -> ResolvedIgnore:
    """The paths that the rules ignore in one object; `rules` are already those that fit it (`rules_for`).

    Pointers and expressions are looked up in both bodies: a list's positions may differ between the two.
    Raises BadInput for a pointer or an expression that cannot be meant.
    """
    if not rules:
        return NOTHING
    entries = managed_fields(live or {})
    found: set[Path] = set()
    for body in (desired, live):
        if body is None:
            continue
        keys = ListKeys.of(body, entries)
        for rule in rules:
            found |= {keyed(body, steps, keys) for steps in _steps(rule, body)}
    for rule in rules:
        found |= fields_of_managers(entries, rule.managers).leaves
    return ResolvedIgnore(frozenset(found))


def _steps(rule: IgnoreRule, body: Body) -> Iterator[list[str | int]]:
    for pointer in rule.pointers:
        yield list(parse_pointer(pointer))
    for expression in rule.jq:
        yield from jq_paths(expression, body)


def parse_pointer(pointer: str) -> tuple[str, ...]:
    """The steps of a JSON pointer (RFC 6901). Raises BadInput."""
    if pointer and not pointer.startswith("/"):
        raise BadInput(
            f"{pointer!r} is no JSON pointer",
            where=Where(field="spec.ignore.pointers"),
            advice="a pointer begins with /, like /spec/replicas; ~1 stands for / and ~0 for ~ inside a name",
        )
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:])


# A path expression runs in this process, so it must end by itself: what could loop, grow without bound or look outside of
# its input is refused. Lengths and counts bound the rest (each comma doubles the work, each `..` multiplies it by the size).
_TOKEN = re.compile(
    r"""\s+ | "(?:[^"\\]|\\["\\/bfnrtu])*" | \.\.(?!\.) | \.[A-Za-z_][A-Za-z0-9_]* | [A-Za-z_][A-Za-z0-9_]* |
        [0-9]+(?:\.[0-9]+)? | ==|!=|<=|>=|//|[.\[\]|(),:;?<>-]""",
    re.VERBOSE,
)
_WORDS = frozenset(
    {"all", "and", "any", "ascii_downcase", "ascii_upcase", "contains", "elif", "else", "empty", "end", "endswith"}
    | {"false", "first", "getpath", "has", "if", "in", "index", "inside", "keys", "last", "length", "ltrimstr", "map"}
    | {"not", "null", "or", "rtrimstr", "select", "startswith", "test", "then", "to_entries", "true", "type", "values"}
)
_MAX_LENGTH, _MAX_RESULTS, _MAX_COMMAS, _MAX_RECURSIONS = 500, 10_000, 6, 1


def check_jq(expression: str) -> None:
    """Raise BadInput unless `expression` is a jq path expression that is safe to run."""
    if len(expression) > _MAX_LENGTH:
        raise _bad_jq(expression[:40] + "…", f"it is longer than {_MAX_LENGTH} characters")
    at, tokens = 0, list[str]()
    while at < len(expression):
        match = _TOKEN.match(expression, at)
        if match is None:
            raise _bad_jq(expression, f"{expression[at : at + 10]!r} is not allowed here")
        tokens.append(match[0])
        at = match.end()
    for token in tokens:
        if token[:1].isalpha() and token not in _WORDS:
            raise _bad_jq(expression, f"{token!r} is not allowed: only paths, select and tests are")
    if tokens.count(",") > _MAX_COMMAS:
        raise _bad_jq(expression, f"it has more than {_MAX_COMMAS} commas")
    if tokens.count("..") > _MAX_RECURSIONS:
        raise _bad_jq(expression, "it goes through everything more than once")


def _bad_jq(expression: str, why: str) -> BadInput:
    return BadInput(
        f"the jq expression {expression!r} cannot be used: {why}",
        where=Where(field="spec.ignore.jq"),
        advice='write a path, such as .spec.containers[] | select(.name == "x") | .image; several rules instead of commas',
    )


@lru_cache(maxsize=512)
def _compiled(expression: str) -> Any:
    check_jq(expression)
    try:
        return jq.compile(f"path({expression})")
    except ValueError as error:
        raise _bad_jq(expression, str(error).splitlines()[0]) from None


def jq_paths(expression: str, body: Body) -> list[list[str | int]]:
    """The paths in `body` that a jq path expression yields, as lists of names and positions.

    An expression that does not fit this body (iterating over what is not there) yields nothing, as in Argo CD: rules are
    written for many objects. Raises BadInput for one that fits no body.
    """
    program = _compiled(expression)
    try:
        found = list(islice(iter(program.input_value(body)), _MAX_RESULTS + 1))
    except ValueError as error:
        if "Invalid path expression" in str(error):
            raise _bad_jq(expression, "it computes a value instead of naming a path") from None
        return []
    if len(found) > _MAX_RESULTS:
        raise _bad_jq(expression, f"it names more than {_MAX_RESULTS} paths")
    return found


def autoscaled(bodies: Iterable[Body]) -> tuple[IgnoreRule, ...]:
    """Rules for the replicas of everything that the HorizontalPodAutoscalers among `bodies` (desired and live) scale."""
    rules: set[tuple[str, str, str, str]] = set()
    for body in bodies:
        if body.get("kind") != "HorizontalPodAutoscaler" or not str(body.get("apiVersion", "")).startswith(
            "autoscaling/"
        ):
            continue
        spec, metadata = body.get("spec") or {}, body.get("metadata") or {}
        target = spec.get("scaleTargetRef") if isinstance(spec, dict) else None
        if isinstance(target, dict) and target.get("name") and target.get("kind"):
            group, slash, _ = str(target.get("apiVersion") or "").partition("/")
            rules.add(
                (
                    group if slash else "*",
                    str(target["kind"]),
                    str(target["name"]),
                    str(metadata.get("namespace") or ""),
                )
            )
    return tuple(
        IgnoreRule(group=g, kind=_literal(k), name=_literal(n), namespace=_literal(ns), pointers=(_REPLICAS_POINTER,))
        for g, k, n, ns in sorted(rules)
    )


def _literal(text: str) -> str:
    """A glob that matches only `text`."""
    return re.sub(r"([*?\[])", r"[\1]", text)


def wants_own_replicas(body: Body) -> bool:
    """Whether the object says that its replicas come from Git, autoscaler or not."""
    annotations = (body.get("metadata") or {}).get("annotations")
    return isinstance(annotations, dict) and annotations.get(REPLICAS) == "git"


def object_rules(rules: Iterable[IgnoreRule], autoscalers: Iterable[IgnoreRule], body: Body) -> tuple[IgnoreRule, ...]:
    """The rules of the application and of the autoscalers (`autoscaled`) that fit a desired object."""
    scaled = () if wants_own_replicas(body) else rules_for(autoscalers, body)
    return rules_for(rules, body) + scaled
