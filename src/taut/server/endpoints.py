"""Addresses as data: what the router serves, and the API's description is made of."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from taut.model.errors import BadInput

type Handler = Callable[[Request], Awaitable[Response]]

_MOST = 10_000
_CONVERTER = re.compile(r":path\}")


@dataclass(frozen=True, slots=True)
class Parameter:
    """One of a query. `kind` is a type of JSON Schema; `words` are all that it takes, where that is known."""

    name: str
    about: str
    kind: str = "string"
    default: Any = None
    words: tuple[str, ...] = ()
    required: bool = False


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address and method. `answers` is the type of the answer (a text for a media type of its own), `right` what one has to be allowed."""

    method: str
    path: str
    handler: Handler
    answers: Any
    right: str = ""
    body: Any = None
    query: tuple[Parameter, ...] = ()
    status: int = 200
    tag: str = field(default="applications")

    @property
    def about(self) -> str:
        """One sentence, from the handler."""
        return (self.handler.__doc__ or "").strip().partition("\n\n")[0]

    @property
    def described_path(self) -> str:
        """The path as OpenAPI writes it."""
        return _CONVERTER.sub("}", self.path)

    def route(self) -> Route:
        """For the router."""
        return Route(self.path, self.handler, methods=[self.method])


def limit(default: int) -> Parameter:
    """How many at most."""
    return Parameter("limit", f"So many at most (1 to {_MOST}).", "integer", default)


def limit_of(request: Request, default: int) -> int:
    """The limit that a request names. Raises BadInput."""
    text = request.query_params.get("limit", str(default))
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text[:9]) <= _MOST:
        raise BadInput(f"limit={text[:40]} is no number between 1 and {_MOST}")
    return int(text)


def word_of(request: Request, name: str, words: Iterable[str], default: str) -> str:
    """A word of a query that takes only some. Raises BadInput."""
    listed = list(words)
    text = request.query_params.get(name) or default
    if text not in listed:
        raise BadInput(f"{name}={text[:40]} is not known", advice=f"there are {', '.join(listed)}")
    return text
