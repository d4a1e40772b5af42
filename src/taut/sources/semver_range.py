"""Versions and ranges of versions, as Helm, Argo CD and Flux read them (the rules of Masterminds/semver). Pure.

A range is `||`-separated alternatives of comparators joined by spaces or commas: `1.x`, `~1.2`, `^1`, `>=1.2 <2`, `1.2.x || 2.x`,
`1.2 - 2.3`, `*`. A pre-release is only chosen when a comparator of the same alternative names one (`>=1.2.0-0`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

import semver

from taut.model.errors import BadInput

_TAIL = r"(?:-(?P<pre>[0-9A-Za-z.-]+))?(?:\+(?P<build>[0-9A-Za-z.-]+))?"
_VERSION = re.compile(r"[vV]?(?P<major>[0-9]{1,18})(?:\.(?P<minor>[0-9]{1,18}))?(?:\.(?P<patch>[0-9]{1,18}))?" + _TAIL)
_PARTIAL = r"[vV]?(?:[0-9]{1,18}|[xX*])(?:\.(?:[0-9]{1,18}|[xX*])){0,2}(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?"
_HYPHEN = re.compile(rf"\s*(?P<low>{_PARTIAL})\s+-\s+(?P<high>{_PARTIAL})\s*")
_COMPARATOR = re.compile(rf"\s*,?\s*(?P<op>=|!=|>=|=>|<=|=<|>|<|~>|~|\^|)\s*(?P<version>{_PARTIAL})(?=[\s,]|$)")
_PIECE = re.compile(r"[vV]?(?P<numbers>[0-9xX*.]+)(?:-(?P<pre>[0-9A-Za-z.-]+))?(?:\+.*)?")
_LONGEST = 500

type _Numbers = tuple[int, int, int]


@lru_cache(maxsize=65_536)
def parse_version(text: str) -> semver.Version | None:
    """Read `1.2.3`, `v1.2`, `1` (missing numbers are 0). None when `text` is no version."""
    found = _VERSION.fullmatch(text)
    if found is None:
        return None
    numbers = (found["major"], found["minor"] or "0", found["patch"] or "0")
    try:
        return semver.Version(*map(int, numbers), prerelease=found["pre"], build=found["build"])
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class _Comparator:
    """One test of a version; `pre` tells whether it names a pre-release."""

    test: Callable[[semver.Version], bool]
    pre: bool


@dataclass(frozen=True, slots=True)
class VersionRange:
    """A parsed range."""

    text: str
    alternatives: tuple[tuple[_Comparator, ...], ...]

    def matches(self, version: semver.Version) -> bool:
        """Whether `version` lies in the range."""
        return any(_group_matches(group, version) for group in self.alternatives)

    def __contains__(self, text: str) -> bool:
        version = parse_version(text)
        return version is not None and self.matches(version)


def _group_matches(group: tuple[_Comparator, ...], version: semver.Version) -> bool:
    if version.prerelease and not any(c.pre for c in group):
        return False
    return all(c.test(version) for c in group)


def parse_range(text: str) -> VersionRange:
    """Read a range. Raises BadInput when it is none."""
    parsed = _parse(text)
    if parsed is None:
        raise BadInput(
            f"{text[:80]!r} is no range of versions",
            advice="write it like 1.x, ~1.2, ^1, >=1.2 <2 or 1.2.x || 2.x",
        )
    return parsed


def is_range(text: str) -> bool:
    """Whether `text` can be read as a range (an exact version can)."""
    return _parse(text) is not None


def best_version(candidates: Iterable[str], wanted: VersionRange, *, prefix: str = "") -> str | None:
    """The candidate with the highest version in the range, None when there is none.

    Only candidates that start with `prefix` count; it is cut off before comparing. Of two spellings of one version (`v1.2.0`, `1.2.0`,
    build metadata apart) the one that sorts last is taken, so that the answer does not depend on the order.
    """
    ranked = [
        (version, candidate)
        for candidate in candidates
        if candidate.startswith(prefix)
        and (version := parse_version(candidate[len(prefix) :]))
        and wanted.matches(version)
    ]
    return max(ranked, default=(None, None))[1]


@lru_cache(maxsize=4096)
def _parse(text: str) -> VersionRange | None:
    if not text.strip() or len(text) > _LONGEST:
        return None
    groups = [_parse_group(part) for part in text.split("||")]
    if any(group is None for group in groups):
        return None
    return VersionRange(text, tuple(group for group in groups if group is not None))


def _parse_group(text: str) -> tuple[_Comparator, ...] | None:
    hyphen = _HYPHEN.fullmatch(text)
    if hyphen:
        return _comparators((">=", hyphen["low"]), ("<=", hyphen["high"]))
    pairs: list[tuple[str, str]] = []
    position = 0
    rest = text.strip()
    while position < len(rest):
        found = _COMPARATOR.match(rest, position)
        if found is None:
            return None
        pairs.append((found["op"], found["version"]))
        position = found.end()
    return _comparators(*pairs) if pairs else None


def _comparators(*pairs: tuple[str, str]) -> tuple[_Comparator, ...] | None:
    made = [_comparator(op, text) for op, text in pairs]
    return None if None in made else tuple(c for c in made if c is not None)


def _comparator(op: str, text: str) -> _Comparator | None:
    piece = _PIECE.fullmatch(text)
    if piece is None:
        return None
    known = _known_numbers(piece["numbers"])
    pre = piece["pre"] if len(known) == 3 else None
    padded = (*known, 0, 0, 0)
    low: _Numbers = (padded[0], padded[1], padded[2])
    try:
        floor = semver.Version(*low, prerelease=pre)
    except ValueError:
        return None
    return _Comparator(_test(op, known, low, floor), pre is not None)


def _known_numbers(text: str) -> tuple[int, ...]:
    """The numbers before the first wildcard: `1.x` is (1,), `*` is ()."""
    known: list[int] = []
    for part in text.split("."):
        if not part.isdigit():
            break
        known.append(int(part))
    return tuple(known)


def _numbers(version: semver.Version) -> _Numbers:
    return (version.major, version.minor, version.patch)


def _above(known: tuple[int, ...]) -> _Numbers | None:
    """The first version above everything that a partial version covers: 1.2 → 1.3.0, 1 → 2.0.0; None for `*`."""
    if not known:
        return None
    raised = (*known[:-1], known[-1] + 1, 0, 0)
    return (raised[0], raised[1], raised[2])


def _test(op: str, known: tuple[int, ...], low: _Numbers, floor: semver.Version) -> Callable[[semver.Version], bool]:
    partial = len(known) < 3
    ceiling = _above(known)

    def covered(version: semver.Version) -> bool:
        return version >= floor and _below(version, ceiling)

    match op:
        case ">":
            if partial:
                return lambda v: ceiling is not None and _numbers(v) >= ceiling
            return lambda v: v > floor
        case ">=" | "=>":
            return lambda v: v >= floor
        case "<":
            return lambda v: v < floor
        case "<=" | "=<":
            return (lambda v: _below(v, ceiling)) if partial else (lambda v: v <= floor)
        case "^":
            return lambda v: v >= floor and _below(v, _caret(known, low))
        case "~" | "~>":
            return lambda v: v >= floor and _below(v, _above(known[:2]))
        case "!=":
            return (lambda v: not covered(v)) if partial else (lambda v: v != floor)
        case _:
            return covered if partial else (lambda v: v == floor)


def _below(version: semver.Version, ceiling: _Numbers | None) -> bool:
    """Compared by numbers alone: 2.0.0-alpha is not below 2.0.0 here, for `^1` must not reach it."""
    return ceiling is None or _numbers(version) < ceiling


def _caret(known: tuple[int, ...], low: _Numbers) -> _Numbers | None:
    """The first number that is not 0 stays: ^1.2.3 → 2.0.0, ^0.2.3 → 0.3.0, ^0.0.3 → 0.0.4, ^0.0 → 0.1.0, ^0 → 1.0.0."""
    for index, number in enumerate(known):
        if number:
            return _above(low[: index + 1])
    return _above(known)
