"""What the API says of rights, tokens and sessions. The command line reads it too: nothing of a server is imported here."""

from __future__ import annotations

from taut.model.times import rfc3339
from taut.server.access.accounts import ApiToken, Session
from taut.server.views import View


class MeView(View, frozen=True):
    """Who asks, and what rules may call them."""

    name: str
    how: str
    subjects: tuple[str, ...]


class CanView(View, frozen=True):
    """Whether something is allowed; `rule` is the line that says so, empty where none does."""

    allowed: bool
    rule: str = ""


class TokenRequest(View, frozen=True, forbid_unknown_fields=True):
    """A token that is wanted. `expires` is a duration; empty: it does not run out."""

    name: str
    roles: tuple[str, ...]
    expires: str = "2160h"


class TokenView(View, frozen=True):
    """A token; `token` itself only in the answer that made it. Times are RFC 3339, empty for never."""

    id: str
    name: str
    roles: tuple[str, ...]
    by: str
    created: str
    expires: str
    used: str
    token: str = ""

    @classmethod
    def of(cls, found: ApiToken, secret: str = "") -> TokenView:
        """From the record."""
        return cls(
            id=found.id,
            name=found.name,
            roles=found.roles,
            by=found.by,
            created=rfc3339(found.created),
            expires=rfc3339(found.ends) if found.ends else "",
            used=rfc3339(found.used) if found.used else "",
            token=secret,
        )


class SessionView(View, frozen=True):
    """A browser that is signed in."""

    name: str
    provider: str
    groups: tuple[str, ...]
    started: str
    seen: str
    ends: str

    @classmethod
    def of(cls, found: Session) -> SessionView:
        """From the record."""
        return cls(
            name=found.name,
            provider=found.provider,
            groups=found.groups,
            started=rfc3339(found.started),
            seen=rfc3339(found.seen),
            ends=rfc3339(found.ends),
        )
