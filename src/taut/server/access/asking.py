"""What a request may do: the one question that every handler asks before it tells or does something."""

from __future__ import annotations

from starlette.requests import Request
from starlette.types import Scope

from taut.model.errors import TautError
from taut.server.access.principal import NOBODY, Action, Principal, Rights, Target


class ForbiddenError(TautError):
    """Who asks is known, and may not do this."""


def admit(scope_state: dict[str, object], who: Principal, rights: Rights) -> None:
    """Note in a request's state who asks; done once, by the door."""
    scope_state["principal"], scope_state["rights"] = who, rights


def principal_of(request: Request) -> Principal:
    """Who asks."""
    return principal_in(request.scope)


def principal_in(scope: Scope) -> Principal:
    """Who asks, for what works below requests."""
    found = scope.get("state", {}).get("principal", NOBODY)
    return found if isinstance(found, Principal) else NOBODY


def may(request: Request, action: Action, target: Target) -> bool:
    """Whether who asks may do this. Where no door was passed nobody may do anything."""
    rights: Rights | None = request.scope.get("state", {}).get("rights")
    return rights is not None and rights.allows(principal_of(request), action, target)


def demand(request: Request, action: Action, target: Target) -> Principal:
    """Who asks, if they may do this. Raises ForbiddenError."""
    who = principal_of(request)
    if not may(request, action, target):
        raise ForbiddenError(
            f"{who.name} may not {action} {target}",
            advice="ask who looks after taut for a role; `taut auth can-i` tells what you may do",
        )
    return who
