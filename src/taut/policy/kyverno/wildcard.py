"""Kyverno's wildcards: `*` is any text, `?` one character."""

from __future__ import annotations


def has_wildcard(text: str) -> bool:
    """Whether a text is a pattern."""
    return "*" in text or "?" in text


def matches(pattern: str, text: str) -> bool:
    """Whether `text` is what `pattern` says."""
    if pattern in {text, "*"}:
        return True
    return has_wildcard(pattern) and _fits(pattern, text)


def _fits(pattern: str, text: str) -> bool:
    """Greedy with one place to go back to: linear in practice, and never exponential, whatever the pattern."""
    at = in_text = 0
    star, mark = -1, 0
    while in_text < len(text):
        if at < len(pattern) and (pattern[at] == "?" or (pattern[at] == text[in_text] and pattern[at] != "*")):
            at, in_text = at + 1, in_text + 1
        elif at < len(pattern) and pattern[at] == "*":
            star, mark = at, in_text
            at += 1
        elif star >= 0:
            at, mark = star + 1, mark + 1
            in_text = mark
        else:
            return False
    return all(c == "*" for c in pattern[at:])
