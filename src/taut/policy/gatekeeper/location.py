"""Places in objects that mutators change: `spec.containers[name: *].image`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from taut.policy.gatekeeper.errors import GatekeeperError

_STEP = re.compile(
    r"""\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|'(?P<single>(?:[^'\\]|\\.)*)'|(?P<name>[A-Za-z0-9_*/-]+))\s*"""
)
_LIST = re.compile(
    r"""\s*\[\s*(?:"(?P<qkey>[^"]*)"|(?P<key>[\w-]+))\s*:\s*(?:"(?P<quoted>[^"]*)"|'(?P<single>[^']*)'|(?P<value>\*|[^\]\s]+))\s*\]"""
)


@dataclass(frozen=True, slots=True)
class Step:
    """A field, or with `key` the elements of a list whose `key` is `value` (None: all)."""

    name: str
    key: str = ""
    value: str | None = None

    @property
    def in_list(self) -> bool:
        """Whether the field holds a list of keyed elements."""
        return bool(self.key)


def parse(text: str) -> tuple[Step, ...]:
    """The steps of a location. Raises GatekeeperError for other text."""
    steps: list[Step] = []
    at = 0
    while at < len(text):
        found = _STEP.match(text, at)
        if not found or found.end() == at:
            raise GatekeeperError(f"the location {text!r} cannot be read at {text[at:][:20]!r}")
        name = found["quoted"] or found["single"] or found["name"] or ""
        at = found.end()
        listed = _LIST.match(text, at)
        if listed:
            at = listed.end()
            value = listed["quoted"] or listed["single"] or listed["value"]
            star = listed["value"] == "*"
            steps.append(Step(name, listed["qkey"] or listed["key"], None if star else value))
        else:
            steps.append(Step(name))
        if at < len(text):
            if text[at] != ".":
                raise GatekeeperError(f"the location {text!r} cannot be read at {text[at:][:20]!r}")
            at += 1
    if not steps:
        raise GatekeeperError("a location is empty")
    return tuple(steps)
