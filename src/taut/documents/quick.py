"""The quick reader: yamlrocks, for all documents in which it is known to read what kubectl reads.

`needs_exact` recognises by the bytes what yamlrocks reads differently (measured against kubectl, and held by tests): it may say yes
too often, which costs time, never too seldom.
"""

from __future__ import annotations

import re
from typing import Any

import orjson
import yamlrocks

from taut.documents.limits import Limits

_CONTROL = bytes(c for c in range(32) if c not in b"\t\n\r") + b"\x7f"
_NOT_FINITE = (b".inf", b".Inf", b".INF", b".nan", b".NaN", b".NAN")
_BREAKS = re.compile(rb"\xc2[\x80-\x9f]|\xe2\x80[\xa8\xa9]|\xef\xbb\xbf|\xef\xbf[\xbe\xbf]")
"""Further ends of lines, and characters that YAML 1.1 does not have in a file."""
_INDICATOR = re.compile(rb"[&*!<](?<=[\s,\[{:\-?][&*!<])")
_NUMBER = re.compile(
    rb"""[0-9_](?:(?<=[\s,\[{][0-9_])|(?<=[\s,\[{][+\-.][0-9_])|(?<=[\s,\[{][+\-]\.[0-9])
      | (?<=["']:[0-9_])|(?<=["']:[+\-.][0-9_])|(?<=["']:[+\-]\.[0-9]))
    (?:(?<=0)[xXoObB][0-9a-fA-F]
    | (?<=0)[0-9_]*[89]
    | (?<=[+\-]0)[0-9]
    | [0-9]{17}
    | (?<=_)[0-9_.:eE+\-]*[0-9]
    | [0-9.:eE+\-]*_
    | [0-9]*:[0-9]
    | [0-9]*\.?[0-9]*[eE][-+]?[0-9]
    | [0-9]*\.0*(?:[\s,\]}:]|$)
    | (?<=\.[0-9])[0-9]*(?:[\s,\]}:]|$)
    )""",
    re.VERBOSE,
)


def needs_exact(data: bytes) -> bool:
    """Whether `data` (one document) holds something that only the exact reader reads as kubectl does."""
    if len(data) != len(data.translate(None, _CONTROL)) or any(word in data for word in _NOT_FINITE):
        return True
    if not data.isascii() and _BREAKS.search(data):
        return True
    data = b"\n" + data
    return bool(_NUMBER.search(data)) or _has_indicator(data)


def _has_indicator(data: bytes) -> bool:
    """An anchor, alias, tag or merge key where a value may start: after an indicator or at the start of a line."""
    if not any(c in data for c in (b"&", b"*", b"!", b"<<")):
        return False
    for found in _INDICATOR.finditer(data):
        at = found.start()
        if data[at : at + 1] == b"<" and data[at + 1 : at + 2] != b"<":
            continue
        before = data[max(0, at - 512) : at].rstrip(b" \t")
        if not before or before[-1:] in b"\n\r:-?,[{":
            return True
    return False


def read(data: bytes, limits: Limits) -> Any:
    """The value of one document, or `Unsure` raised when the exact reader has to decide (malformed, deep, large, odd keys)."""
    try:
        documents = yamlrocks.loads_all(data, option=yamlrocks.OPT_YAML_1_1)
    except (yamlrocks.YAMLRocksError, ValueError, RecursionError):
        raise UnsureError from None
    if len(documents) != 1 or not isinstance(documents[0], dict | list):
        raise UnsureError
    check_shape(documents[0], limits)
    return documents[0]


def check_shape(value: Any, limits: Limits) -> None:
    """Raise `UnsureError` when a tree is deeper or larger than the limits, or is not JSON (keys that are no text, large integers)."""
    depth, nodes, level = 0, 1, [value] if isinstance(value, dict | list) else []
    while level:
        depth += 1
        nodes += sum(map(len, level))
        if depth > limits.depth or nodes > limits.nodes:
            raise UnsureError
        level = [
            child
            for parent in level
            for child in (parent.values() if type(parent) is dict else parent)
            if type(child) is dict or type(child) is list
        ]
    try:
        orjson.dumps(value)
    except TypeError:
        raise UnsureError from None


class UnsureError(Exception):
    """The quick reader cannot say; the exact one can."""
