"""Globs on paths, addresses and names, matched in time that grows with pattern and text only.

In all of them `?` is one character, `[a-z]` one of a class (`[!a]` none of it), `{a,b}` a choice, `\\` quotes. `*` is any run within a
segment; in paths and addresses segments end at `/`, and `**` is any number of segments. Names have no segments: `*` crosses everything.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable

_MOST_CHOICES = 256


class GlobError(ValueError):
    """A glob that is not well-formed; the text says why."""


def match_name(pattern: str, name: str) -> bool:
    """Whether the whole `name` matches. Raises GlobError."""
    return any(_segment(choice).fullmatch(name) is not None for choice in _choices(pattern))


def match_path(pattern: str, path: str) -> bool:
    """Whether the whole `path` matches; `**` alone stands for any number of its segments. Raises GlobError."""
    segments = path.split("/")
    return any(_match_segments(choice.split("/"), segments) for choice in _choices(pattern))


def match_any_path(patterns: Iterable[str], path: str) -> bool:
    """Whether one of `patterns` matches the whole path. Raises GlobError."""
    return any(match_path(pattern, path) for pattern in patterns)


def fault(pattern: str) -> str:
    """Why `pattern` is no glob; empty when it is one."""
    try:
        for choice in _choices(pattern):
            for part in choice.split("/"):
                _segment(part)
    except GlobError as error:
        return str(error)
    return "" if pattern else "it is empty"


def _match_segments(pattern: list[str], segments: list[str]) -> bool:
    """Which prefixes of `segments` the pattern so far can match, pattern segment by pattern segment."""
    reached = {0}
    for part in pattern:
        if part == "**":
            reached = set(range(min(reached), len(segments) + 1))
        else:
            regex = _segment(part)
            reached = {at + 1 for at in reached if at < len(segments) and regex.fullmatch(segments[at])}
        if not reached:
            return False
    return len(segments) in reached


@functools.lru_cache(maxsize=4096)
def _choices(pattern: str) -> tuple[str, ...]:
    """The patterns that `{a,b}` stands for."""
    done: list[str] = []
    todo = [pattern]
    while todo:
        text = todo.pop()
        span = _braces(text)
        if span is None:
            done.append(text)
        else:
            begin, end = span
            todo += [text[:begin] + option + text[end + 1 :] for option in text[begin + 1 : end].split(",")]
        if len(todo) + len(done) > _MOST_CHOICES:
            raise GlobError(f"it stands for more than {_MOST_CHOICES} patterns")
    return tuple(done)


def _braces(text: str) -> tuple[int, int] | None:
    """The innermost `{…}`."""
    begin, at = -1, 0
    while at < len(text):
        char = text[at]
        if char == "\\":
            at += 1
        elif char == "{":
            begin = at
        elif char == "}":
            if begin < 0:
                raise GlobError("a } has no {")
            return begin, at
        at += 1
    if begin >= 0:
        raise GlobError("a { has no }")
    return None


@functools.lru_cache(maxsize=4096)
def _segment(pattern: str) -> re.Pattern[str]:
    """A segment as a regex. Runs up to the next star are atomic: the first place that fits is right, so nothing is tried twice."""
    runs: list[str] = [""]
    at = 0
    while at < len(pattern):
        char = pattern[at]
        if char == "*":
            if runs[-1] or len(runs) == 1:
                runs.append("")
        elif char == "?":
            runs[-1] += "."
        elif char == "[":
            end = _class_end(pattern, at)
            runs[-1] += _class(pattern[at + 1 : end])
            at = end
        elif char == "\\" and at + 1 < len(pattern):
            at += 1
            runs[-1] += re.escape(pattern[at])
        else:
            runs[-1] += re.escape(char)
        at += 1
    first, *middle = runs
    if not middle:
        return re.compile(first, re.DOTALL)
    *inner, last = middle
    return re.compile(first + "".join(f"(?>.*?{run})" for run in inner) + f".*{last}", re.DOTALL)


def _class_end(pattern: str, at: int) -> int:
    skip = at + 2 if pattern[at + 1 : at + 2] in {"!", "^"} else at + 1
    end = pattern.find("]", skip + 1)
    if end < 0:
        raise GlobError("a [ has no ]")
    return end


def _class(text: str) -> str:
    negated = text[:1] in {"!", "^"}
    body = re.sub(r"([\\\[\]^&~|])", r"\\\1", text[1:] if negated else text)
    try:
        re.compile(f"[{body}]")
    except re.error:
        raise GlobError(f"[{text}] is no class of characters") from None
    return f"[{'^' if negated else ''}{body}]"
