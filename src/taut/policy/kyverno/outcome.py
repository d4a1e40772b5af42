"""What one rule says of one object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from taut.model.verdict import Outcome
from taut.policy.kyverno.patterns import Mismatch


@dataclass(frozen=True, slots=True)
class Result:
    """`path` is where a pattern did not fit; `body` is the object as a mutation left it."""

    outcome: Outcome
    message: str = ""
    path: str = ""
    found: Any = None
    wanted: Any = None
    body: dict[str, Any] | None = None
    exception: str = ""


PASSED = Result(Outcome.PASS)


def skipped(message: str) -> Result:
    """The rule is not about this object."""
    return Result(Outcome.SKIP, message)


def failed(message: str) -> Result:
    """The object is not as the rule wants it."""
    return Result(Outcome.FAIL, message)


def broken(message: str) -> Result:
    """The rule could not be judged."""
    return Result(Outcome.ERROR, message)


def mismatched(message: str, rule: str, mismatch: Mismatch) -> Result:
    """A pattern that did not fit, in the words of Kyverno."""
    said = message.strip()
    if said and not said.endswith("."):
        said += "."
    text = f"validation error: {said + ' ' if said else ''}rule {rule} failed at path {mismatch.path}"
    return Result(Outcome.FAIL, text, mismatch.path, mismatch.found, mismatch.wanted)
