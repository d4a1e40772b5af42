"""What somebody sees of a running taut: what they may not see has no name for them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request

from taut.model.refs import AppKey, parse_app_key
from taut.model.status import AppStatus
from taut.server.access.asking import demand, may, principal_of
from taut.server.access.principal import Action, Principal, Resource, Target
from taut.server.backend import Backend
from taut.server.names import resolve
from taut.server.views import RootView

_PEOPLE = 64
"""For so many people is remembered what they see."""
_ANSWERS = 50_000
"""So many applications of each; those that are no more are forgotten with all others then."""


class Sight:
    """Asks the rights once for each application and person, and again when its project is another one."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._known: OrderedDict[tuple[int, Principal], tuple[Any, dict[str, tuple[str, bool]]]] = OrderedDict()

    def app(self, request: Request, action: Action = Action.GET) -> tuple[AppKey, str]:
        """The application that the address means, and the name of who asks; they may do this. Raises UnknownName also for what they may not see."""
        key = self.key(request, request.path_params["name"])
        return key, demand(request, action, self.target(key)).name

    def key(self, request: Request, name: str) -> AppKey:
        """The application that a name means among those that are seen. Raises UnknownName, AmbiguousName."""
        keys = self._backend.keys()
        exact = parse_app_key(name)
        if exact is not None and exact in keys and may(request, Action.GET, self.target(exact)):
            return exact
        return resolve(name, [key for key in keys if may(request, Action.GET, self.target(key))])

    def target(self, key: AppKey, resource: Resource = Resource.APPLICATIONS) -> Target:
        """An application in the words of rights."""
        status = self._backend.status(key)
        return Target.app(key, status.project if status is not None else "", resource)

    def sees(self, request: Request, status: AppStatus) -> bool:
        """Whether who asks may see an application."""
        return self._sees(request, self._answers(request), status)

    def statuses(self, request: Request) -> list[AppStatus]:
        """Every application that who asks may see, in the order of their keys."""
        answers = self._answers(request)
        return [s for s in self._backend.statuses() if self._sees(request, answers, s)]

    def sees_key(self, request: Request, text: str) -> bool:
        """Whether who asks may see what is told of an application; of one that is gone, or of none, only who may see them all."""
        key = parse_app_key(text)
        known = key is not None and self._backend.status(key) is not None
        everything = Target(Resource.APPLICATIONS, ("*/*",))
        return may(request, Action.GET, self.target(key) if key is not None and known else everything)

    def roots(self, request: Request) -> Sequence[RootView]:
        """The roots that who asks may see."""
        found = self._backend.roots()
        return [r for r in found if may(request, Action.GET, Target.named(Resource.REPOSITORIES, r.git))]

    def _sees(self, request: Request, answers: dict[str, tuple[str, bool]], status: AppStatus) -> bool:
        known = answers.get(status.key)
        if known is not None and known[0] == status.project:
            return known[1]
        key = AppKey(status.root, status.namespace, status.name)
        sees = may(request, Action.GET, Target.app(key, status.project))
        if len(answers) >= _ANSWERS:
            answers.clear()
        answers[status.key] = (status.project, sees)
        return sees

    def _answers(self, request: Request) -> dict[str, tuple[str, bool]]:
        """What the rights said before to whoever asks. Other rights are another object, which is kept beside its answers: its number is not used again."""
        rights = request.scope.get("state", {}).get("rights")
        place = (id(rights), principal_of(request))
        if place not in self._known:
            self._known[place] = (rights, {})
            while len(self._known) > _PEOPLE:
                self._known.popitem(last=False)
        self._known.move_to_end(place)
        return self._known[place][1]
