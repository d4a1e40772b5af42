"""The addresses about rights, tokens and sessions."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.requests import Request
from starlette.responses import Response

from taut.model.durations import seconds
from taut.model.errors import BadInput
from taut.server.access.asking import ForbiddenError, demand, principal_of
from taut.server.access.gate import Gate
from taut.server.access.principal import Action, Principal, Resource, Target
from taut.server.access.routes import Audit
from taut.server.access.rules import ADMIN
from taut.server.access.views import CanView, MeView, SessionView, TokenRequest, TokenView
from taut.server.answers import json_answer, read_body
from taut.server.endpoints import Endpoint, Parameter
from taut.server.views import Said

_TAG = "access"


class AccessApi:
    """The handlers."""

    def __init__(self, gate: Gate, audit: Audit) -> None:
        self._gate = gate
        self._audit = audit

    def endpoints(self) -> list[Endpoint]:
        """All addresses."""
        asked = (
            Parameter("action", "What is to be done.", words=tuple(Action), required=True),
            Parameter("resource", "To what.", words=tuple(Resource), required=True),
            Parameter("object", "To which, as rules write it.", default="*"),
        )
        return [
            Endpoint("GET", "/v1/me", self.me, MeView, "come in", tag=_TAG),
            Endpoint("GET", "/v1/can-i", self.can_i, CanView, "come in", query=asked, tag=_TAG),
            Endpoint("GET", "/v1/tokens", self.tokens, list[TokenView], "get accounts", tag=_TAG),
            Endpoint("POST", "/v1/tokens", self.make, TokenView, "create accounts", TokenRequest, status=201, tag=_TAG),
            Endpoint("DELETE", "/v1/tokens/{name}", self.revoke, Said, "delete accounts", tag=_TAG),
            Endpoint("GET", "/v1/sessions", self.sessions, list[SessionView], "get accounts", tag=_TAG),
            Endpoint("DELETE", "/v1/sessions/{name:path}", self.end, Said, "delete accounts", tag=_TAG),
        ]

    async def me(self, request: Request) -> Response:
        """Who asks."""
        who = principal_of(request)
        return json_answer(
            MeView(name=who.name, how=who.how, subjects=tuple(sorted(self._gate.rights.book.subjects(who))))
        )

    async def can_i(self, request: Request) -> Response:
        """Whether who asks may do something: `action`, `resource`, `object` (as rules write it; default `*`)."""
        query = request.query_params
        action, resource = _word(Action, query.get("action", "")), _word(Resource, query.get("resource", ""))
        target = Target(resource, (query.get("object") or "*",))
        allowed, rule = self._gate.rights.book.why(principal_of(request), action, target)
        said = (
            (rule.subject, rule.resource, rule.action, rule.object, "allow" if rule.allow else "deny") if rule else ()
        )
        return json_answer(CanView(allowed=allowed, rule=", ".join(("p", *said)) if said else ""))

    async def tokens(self, request: Request) -> Response:
        """The tokens that there are."""
        demand(request, Action.GET, Target(Resource.ACCOUNTS))
        return json_answer([TokenView.of(t) for t in self._gate.accounts.tokens()])

    async def make(self, request: Request) -> Response:
        """A new token, which is told once. It may be no more than who asks for it."""
        wish = await read_body(request, TokenRequest)
        who = demand(request, Action.CREATE, Target.named(Resource.ACCOUNTS, wish.name))
        _check(wish)
        self._no_more_than(who, wish.roles)
        ends = self._gate.now + _seconds(wish.expires) if wish.expires else 0.0
        secret, token = await self._gate.accounts.make_token(wish.name, wish.roles, who.name, ends)
        await self._audit(who.name, "token-create", wish.name, ", ".join(wish.roles))
        return json_answer(TokenView.of(token, secret), 201)

    async def revoke(self, request: Request) -> Response:
        """A token that counts no more."""
        which = request.path_params["name"]
        who = demand(request, Action.DELETE, Target.named(Resource.ACCOUNTS, which))
        token = await self._gate.accounts.revoke(which)
        await self._audit(who.name, "token-revoke", token.name, token.id)
        return json_answer(Said(message=f"The token {token.name} counts no more."))

    async def sessions(self, request: Request) -> Response:
        """Who is signed in."""
        demand(request, Action.GET, Target(Resource.ACCOUNTS))
        return json_answer([SessionView.of(s) for s in self._gate.accounts.sessions()])

    async def end(self, request: Request) -> Response:
        """Sign somebody out, everywhere."""
        name = request.path_params["name"]
        who = demand(request, Action.DELETE, Target.named(Resource.ACCOUNTS, name))
        count = await self._gate.accounts.end_all(name)
        await self._audit(who.name, "sessions-end", name, str(count))
        return json_answer(Said(message=f"{name} is signed out ({count} {'session' if count == 1 else 'sessions'})."))

    def _no_more_than(self, who: Principal, roles: Iterable[str]) -> None:
        mine = self._gate.rights.book.subjects(who)
        if ADMIN not in mine and (foreign := [role for role in roles if role not in mine]):
            raise ForbiddenError(
                f"{who.name} does not have {foreign[0]}, and can give it to no token", advice="name roles of your own"
            )


def _check(wish: TokenRequest) -> None:
    if not wish.name.isprintable() or not 1 <= len(wish.name) <= 63 or "/" in wish.name:
        raise BadInput(f"{wish.name!r} is no name for a token", advice="take letters, digits and dashes")
    if not wish.roles or not all(role.startswith("role:") for role in wish.roles):
        raise BadInput("a token needs roles", advice="such as role:readonly, or one of the policy file")


def _seconds(text: str) -> float:
    try:
        found = seconds(text)
    except ValueError:
        found = 0.0
    if found <= 0:
        raise BadInput(f"{text!r} is no duration", advice="write it like 12h or 720h")
    return found


def _word[T: (Action, Resource)](kind: type[T], text: str) -> T:
    try:
        return kind(text)
    except ValueError:
        there = ", ".join(k.value for k in kind)
        raise BadInput(f"there is no {kind.__name__.lower()} {text!r}", advice=f"there are {there}") from None
