"""What the page knows of an application besides its status: worked out once, for as long as the status is the same. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from taut.model.shown import Shown, shown_of
from taut.model.status import AppStatus
from taut.model.times import unix_seconds

_ENVIRONMENT = ("environment", "env", "app.kubernetes.io/environment")
"""The labels that may name an application's environment, the first wins."""

_MOST = 50_000
"""So many are remembered; applications that are no more are forgotten with all others then."""


@dataclass(frozen=True, slots=True)
class Facts:
    """An application, ready to be searched, sorted and counted. Times are Unix seconds, 0 when it never happened."""

    status: AppStatus
    shown: Shown
    environment: str
    words: str
    """Everything that a word of a query is looked for in, in lower case."""
    synced_at: float
    drift_since: float


def environment_of(status: AppStatus) -> str:
    """The environment that a label names, else the cluster."""
    return next((found for label in _ENVIRONMENT if (found := status.labels.get(label))), status.cluster)


def facts_of(status: AppStatus) -> Facts:
    """Work them out."""
    environment = environment_of(status)
    words = (
        status.key,
        status.project,
        status.cluster,
        environment,
        status.message,
        status.health_message,
        status.desired_revision,
        status.commit_message,
        status.author,
    )
    return Facts(
        status=status,
        shown=shown_of(status),
        environment=environment,
        words="\n".join(words).lower(),
        synced_at=unix_seconds(status.last_sync),
        drift_since=unix_seconds(status.drift_since),
    )


class Remembered:
    """The facts of a fleet. A status that is the same object as before is not looked at again."""

    def __init__(self) -> None:
        self._known: dict[str, Facts] = {}

    def of(self, statuses: Iterable[AppStatus]) -> Iterator[Facts]:
        """The facts of each, in their order."""
        for status in statuses:
            yield self.one(status)

    def one(self, status: AppStatus) -> Facts:
        """The facts of one."""
        known = self._known.get(status.key)
        if known is None or known.status is not status:
            if len(self._known) >= _MOST:
                self._known.clear()
            known = self._known[status.key] = facts_of(status)
        return known

    def forget(self, keys: Iterable[str]) -> None:
        """These applications are no more."""
        for key in keys:
            self._known.pop(key, None)
