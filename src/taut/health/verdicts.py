"""What rules are made of: verdicts, and makers of rules for the two shapes that most kinds have (conditions, and a word)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from taut.health.observed import Condition, Observed
from taut.model.health import Health, HealthStatus

type Rule = Callable[[Observed], Health]
"""Assesses an object of the kinds it is listed for. Never raises."""

type Rules = Mapping[str, Mapping[str, Rule]]
"""API group → kind → rule. A group may start with `*.` (any group with that ending), a kind may be `*`."""

HEALTHY = HealthStatus.HEALTHY
SUSPENDED = HealthStatus.SUSPENDED
PROGRESSING = HealthStatus.PROGRESSING
MISSING = HealthStatus.MISSING
DEGRADED = HealthStatus.DEGRADED
UNKNOWN = HealthStatus.UNKNOWN


def healthy(message: str = "") -> Health:
    """Healthy, with a message."""
    return Health(HEALTHY, message)


def suspended(message: str = "") -> Health:
    """Suspended, with a message."""
    return Health(SUSPENDED, message)


def progressing(message: str = "") -> Health:
    """Progressing, with a message."""
    return Health(PROGRESSING, message)


def degraded(message: str = "") -> Health:
    """Degraded, with a message."""
    return Health(DEGRADED, message)


def unknown(message: str = "") -> Health:
    """Unknown, with a message."""
    return Health(UNKNOWN, message)


def pending_deletion() -> Health:
    """What an object is that is marked for deletion and still there."""
    return progressing("Pending deletion")


class When(NamedTuple):
    """A row: a condition of this type with this status means that health.

    `message` is a template (`{message}`, `{reason}`, `{kind}`); an empty status matches every status. `fallback` stands in for a missing
    message of the condition. With a `reason` the condition's reason must be that one too.
    """

    type: str
    status: str
    health: HealthStatus
    message: str = "{message}"
    reason: str = ""
    fallback: str = ""

    def matches(self, condition: Condition) -> bool:
        """Whether the row speaks about `condition`."""
        return (
            condition.type == self.type
            and (not self.status or condition.status == self.status)
            and (not self.reason or condition.reason == self.reason)
        )

    def verdict(self, obj: Observed, condition: Condition) -> Health:
        """The health of `obj`, whose `condition` matched."""
        return Health(self.health, fill(self.message, obj, condition, self.fallback))


def fill(template: str, obj: Observed, condition: Condition | None = None, fallback: str = "") -> str:
    """Put the object's kind and the condition's texts into a template; the texts themselves are not templates."""
    values = {"kind": obj.kind, "message": "", "reason": ""}
    if condition is not None:
        values |= {"message": condition.message or fill(fallback, obj), "reason": condition.reason}
    return template.format_map(values)


def by_conditions(*rows: When, waiting: str, otherwise: HealthStatus = PROGRESSING, observed: str = "") -> Rule:
    """A rule that goes through the conditions in their order and takes the first one that a row speaks about.

    No match is `otherwise` with the message `waiting`. With `observed`, a status of another generation is Progressing with that message.
    """

    def rule(obj: Observed) -> Health:
        if observed and obj.stale:
            return progressing(fill(observed, obj))
        return match(obj, *rows) or Health(otherwise, fill(waiting, obj))

    return rule


def in_order(*rows: When, waiting: str, observed: str = "") -> Rule:
    """Like `by_conditions`, but the rows have precedence by their own order, not by that of the conditions."""

    def rule(obj: Observed) -> Health:
        if observed and obj.stale:
            return progressing(fill(observed, obj))
        for row in rows:
            found = match(obj, row)
            if found is not None:
                return found
        return progressing(fill(waiting, obj))

    return rule


def match(obj: Observed, *rows: When) -> Health | None:
    """The verdict of the first condition that a row speaks about; None when there is none."""
    for condition in obj.conditions:
        for row in rows:
            if row.matches(condition):
                return row.verdict(obj, condition)
    return None


def ready(waiting: str, *, type: str = "Ready", good: str = "{message}", bad: str = "{message}") -> Rule:
    """The plainest rule: `type` True is Healthy, False is Degraded, anything else Progressing with the message `waiting`."""
    return by_conditions(When(type, "True", HEALTHY, good), When(type, "False", DEGRADED, bad), waiting=waiting)


class Word(NamedTuple):
    """What a word means; `message` is a template (`{word}`, `{kind}`, `{said}`: the text at `said`, else the word)."""

    health: HealthStatus
    message: str = "{word}"


def by_word(
    path: tuple[str, ...],
    words: Mapping[str, Word],
    *,
    absent: Word,
    other: Word,
    said: tuple[str, ...] = (),
) -> Rule:
    """A rule that reads one word (a phase, a state) at `path`; `absent` when there is none, `other` when it is not listed."""

    def rule(obj: Observed) -> Health:
        word = obj.text(*path)
        meaning = words.get(word, other) if word else absent
        spoken = (obj.text(*said) if said else "") or word
        return Health(meaning.health, meaning.message.format_map({"word": word, "kind": obj.kind, "said": spoken}))

    return rule


def words(meaning: Word, *names: str) -> dict[str, Word]:
    """Several words of one meaning."""
    return dict.fromkeys(names, meaning)
