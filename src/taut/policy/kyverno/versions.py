"""Semantic versions against ranges (blang/semver's, which `semver_compare` uses): `>1.0.0 <2.0.0 || 3.x`, with `!`."""

from __future__ import annotations

import re

import semver

from taut.policy.kyverno.errors import PolicyError

_TERM = re.compile(r"^(?P<operator>>=|<=|==|!=|>|<|=|!)?v?(?P<version>[0-9xX*].*)$")


def _version(text: str) -> semver.Version:
    try:
        return semver.Version.parse(text.strip().removeprefix("v"))
    except ValueError:
        raise PolicyError(f"semver_compare: {text[:40]!r} is no version") from None


def in_range(version: str, wanted: str) -> bool:
    """Whether a version is in a range. Raises PolicyError for what is neither."""
    found = _version(version)
    options = [re.sub(r"(>=|<=|==|!=|>|<|=|!)\s+", r"\1", o).split() for o in wanted.split("||")]
    if not all(options):
        raise PolicyError(f"semver_compare: {wanted[:60]!r} is no range")
    return any(all(_holds(found, term) for term in option) for option in options)


def _holds(version: semver.Version, term: str) -> bool:
    found = _TERM.match(term)
    if not found:
        raise PolicyError(f"semver_compare: {term[:40]!r} is no part of a range")
    operator, text = found["operator"] or "=", found["version"]
    parts = re.split(r"[.]", text, maxsplit=2)
    if len(parts) < 3 or any(p in {"x", "X", "*"} for p in parts):
        return _wild(version, operator, parts)
    order = version.compare(_version(text))
    return {
        ">": order > 0, "<": order < 0, ">=": order >= 0, "<=": order <= 0,
        "=": order == 0, "==": order == 0, "!": order != 0, "!=": order != 0,
    }[operator]  # fmt: skip


def _wild(version: semver.Version, operator: str, parts: list[str]) -> bool:
    fixed = [int(p) for p in parts if p.isdigit()]
    own = [version.major, version.minor, version.patch][: len(fixed)]
    match operator:
        case "=" | "==":
            return own == fixed
        case "!" | "!=":
            return own != fixed
        case ">":
            return own > fixed
        case ">=":
            return own >= fixed
        case "<":
            return own < fixed
        case _:
            return own <= fixed
