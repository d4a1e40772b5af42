"""What can go wrong with an expression."""

from __future__ import annotations

import re

_NO_KEY = re.compile(r'Key not found in map : "?(?P<key>.*?)"?$')
_INDEX = re.compile(r"Index error: index=(?P<at>-?\d+)")
_CODE = re.compile(r"^[A-Z_]+: ")
_TAIL = re.compile(r" \[[A-Z_]+\]$")


class CelError(Exception):
    """An expression that cannot be compiled, or whose evaluation failed. The text is for people, in the words of the API server's own."""


def words(text: str) -> str:
    """The engine's message as the API server's users know it."""
    first = _TAIL.sub("", _CODE.sub("", text.strip().split("\n | ", 1)[0]))
    if found := _NO_KEY.search(first):
        return f"no such key: {found['key']}"
    if found := _INDEX.search(first):
        return f"index out of bounds: {found['at']}"
    if first.startswith(("No matching overloads found", "Applying SELECT to non-message type")):
        return "no such overload"
    if first == "divide by zero":
        return "division by zero"
    return first.removeprefix("ERROR: <input>:") if first.startswith("ERROR: <input>:") else first
