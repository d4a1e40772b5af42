"""One error type for people: what failed, where, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass

from taut.model.visible import clean

_LONGEST = 4000


@dataclass(frozen=True)
class Where:
    """The place an error is about; empty parts are left out when printed.

    `file` is relative to its repository, `line` counts from 1, `field` is a dotted path such as `spec.sync.mode`,
    `object` is the printed form of an object (`Deployment shop/web`).
    """

    repository: str = ""
    file: str = ""
    line: int = 0
    object: str = ""
    field: str = ""

    def __str__(self) -> str:
        place = self.file + (f":{self.line}" if self.line else "")
        parts = [self.repository, place, self.object, self.field]
        return clean(", ".join(p for p in parts if p))


class TautError(Exception):
    """Something failed in a way a person can act on.

    `what` is one sentence about the failure, `where` the place, `advice` what to do. `code` is the exit code the
    command line uses (1 failed, 2 bad input). Never put a secret's value in any of them. What a repository, a server or a cluster
    says may be in them as it is: control characters become visible here, and a text without end is cut.
    """

    code = 1

    def __init__(self, what: str, *, where: Where | None = None, advice: str = "") -> None:
        self.what = _shown(what)
        self.where = where or Where()
        self.advice = _shown(advice)
        super().__init__(str(self))

    def __str__(self) -> str:
        place = str(self.where)
        text = f"{place}: {self.what}" if place else self.what
        return f"{text} ({self.advice})" if self.advice else text


class BadInput(TautError):
    """A document, an option or a file says something that cannot be meant."""

    code = 2


class SourceError(TautError):
    """A repository, registry or revision could not be read."""


class RenderError(TautError):
    """A source was read, and no manifests came out of it."""


class PolicyError(TautError):
    """Policies could not be asked: their worker was stopped, or did not start."""


class TargetError(TautError):
    """The target refused, or could not be reached. `status` is the HTTP status, 0 when there was no answer."""

    def __init__(
        self,
        what: str,
        *,
        where: Where | None = None,
        advice: str = "",
        status: int = 0,
        reason: str = "",
        causes: tuple[tuple[str, str, str], ...] = (),
        retry_after: float = 0.0,
    ) -> None:
        super().__init__(what, where=where, advice=advice)
        self.status = status
        self.reason = reason
        self.causes = causes
        """The API server's causes as (reason, field, message): immutable fields are recognised by these."""
        self.retry_after = retry_after


class StoreError(TautError):
    """taut's own store could not be read or written."""


def _shown(text: str) -> str:
    return clean(text if len(text) <= _LONGEST else text[:_LONGEST] + "…")
