"""What a policy says of an object."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """SKIP: the rule is not about this object (a precondition, an anchor, an exception). ERROR: it could not be judged, which is never a pass."""

    PASS = "pass"  # noqa: S105 (no password)
    FAIL = "fail"
    WARN = "warn"
    ERROR = "error"
    SKIP = "skip"


class Enforcement(StrEnum):
    """What follows from a failure: the write is refused, the author is warned, or it is only written down."""

    DENY = "deny"
    WARN = "warn"
    AUDIT = "audit"


@dataclass(frozen=True, slots=True)
class Subject:
    """The object that was judged."""

    api_version: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        place = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.kind} {place}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One rule's word on one object.

    `engine` is `kyverno`, `gatekeeper`, `admission` (Kubernetes' own) or `taut`. `path` is the field that was judged (dots and
    indexes, empty where the rule names none); `found` and `wanted` are short texts, and never hold a Secret's value. `exception` names the exception or waiver
    that turned a failure into a skip.
    """

    policy: str
    rule: str
    engine: str
    subject: Subject
    result: Outcome
    message: str = ""
    enforcement: Enforcement = Enforcement.DENY
    path: str = ""
    found: str = ""
    wanted: str = ""
    exception: str = ""

    @property
    def difference(self) -> str:
        """Where the fault is, what was found and what is wanted, as far as the rule says; for the end of a sentence."""
        parts = (("at", self.path), ("found", self.found), ("wanted", self.wanted))
        return ", ".join(f"{word} {text}" for word, text in parts if text)

    @property
    def denies(self) -> bool:
        """Whether the object must not be written: an enforced rule failed, or could not be judged."""
        return self.enforcement is Enforcement.DENY and self.result in (Outcome.FAIL, Outcome.ERROR)
