"""Text from repositories and clusters, made safe to show: it must not move the cursor, recolour, or reorder what people read."""

from __future__ import annotations

import unicodedata

_KEPT = "\n\t"
_REORDERING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c")
"""Bidirectional controls: with them a text can show another order than it has (CVE-2021-42574)."""


def clean(text: str) -> str:
    """`text` with control characters (but newline and tab) and bidirectional controls written as visible escapes."""
    if text.isprintable():
        # Bidirectional controls are of category Cf, which isprintable() excludes: nothing to look for here.
        return text
    return "".join(_visible(c) for c in text)


def one_line(text: str) -> str:
    """`clean`, on one line: newlines and tabs become spaces."""
    return clean(" ".join(text.split()))


def _visible(c: str) -> str:
    if c in _KEPT:
        return c
    if c in _REORDERING or unicodedata.category(c) in ("Cc", "Cs", "Co"):
        return c.encode("unicode_escape", "backslashreplace").decode("ascii")
    return c
