"""The API's description (OpenAPI 3.1), made of its addresses and the types of what they take and say."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from taut import __version__
from taut.server.endpoints import Endpoint, Parameter
from taut.server.views import ErrorView

_REF = "#/components/schemas/{name}"
_IN_PATH = re.compile(r"\{(\w+)\}")
_ERRORS = {
    "400": "What was asked for cannot be read, or means nothing.",
    "401": "Nobody is signed in.",
    "403": "Who asks may not do this.",
    "404": "There is no such thing, or who asks may not see it.",
    "409": "It cannot be done as things are now; or a name means several things.",
    "422": "The Idempotency-Key was used for another request.",
    "429": "Too many failures came from this address.",
    "500": "A fault of taut.",
    "502": "A cluster or a repository did not answer.",
    "503": "taut's store cannot be used.",
}


def describe(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """The description."""
    types = [t for e in endpoints for t in (e.answers, e.body) if t is not None and not isinstance(t, str)]
    (*schemas, _), components = msgspec.json.schema_components([*types, ErrorView], ref_template=_REF)
    of = {_key(t): schema for t, schema in zip(types, schemas, strict=True)}
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.described_path, {})[endpoint.method.lower()] = _operation(endpoint, of)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "taut",
            "version": __version__,
            "description": "Everything that a running taut knows and does. Errors are problems (RFC 9457). `ETag` and `If-None-Match` spare an answer that is known; an `Idempotency-Key` lets a write be sent again.",
        },
        "security": [{"token": []}, {"session": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": "taut"},
            },
            "responses": {name: _problem(about) for name, about in _ERRORS.items()},
        },
    }


def _key(kind: Any) -> str:
    return repr(kind)


def _operation(endpoint: Endpoint, of: dict[str, Any]) -> dict[str, Any]:
    media = endpoint.answers if isinstance(endpoint.answers, str) else "application/json"
    schema = {"type": "string"} if isinstance(endpoint.answers, str) else of[_key(endpoint.answers)]
    found: dict[str, Any] = {
        "operationId": endpoint.handler.__qualname__.rpartition(".")[2]
        + ("_" + _slug(endpoint) if endpoint.tag else ""),
        "summary": endpoint.about,
        "tags": [endpoint.tag],
        "parameters": [*_in_path(endpoint.described_path), *map(_in_query, endpoint.query)],
        "responses": {
            str(endpoint.status): {"description": "Done.", "content": {media: {"schema": schema}}},
            **{n: {"$ref": f"#/components/responses/{n}"} for n in _ERRORS if n != "422" or endpoint.method != "GET"},
        },
    }
    if endpoint.right:
        found["description"] = f"Asks for the right to `{endpoint.right}`."
    else:
        found["security"] = []
    if endpoint.body is not None:
        found["requestBody"] = {"required": True, "content": {"application/json": {"schema": of[_key(endpoint.body)]}}}
    if endpoint.method != "GET":
        found["parameters"].append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "description": "A text of the caller's: a write with the same key is carried out once, and answered as then, for a day.",
                "schema": {"type": "string", "maxLength": 200},
            }
        )
    return found


def _slug(endpoint: Endpoint) -> str:
    return re.sub(r"\W+", "_", f"{endpoint.method} {endpoint.described_path}").strip("_").lower()


def _in_path(path: str) -> Iterable[dict[str, Any]]:
    for name in _IN_PATH.findall(path):
        yield {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}


def _in_query(parameter: Parameter) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": parameter.kind}
    if parameter.words:
        schema["enum"] = list(parameter.words)
    if parameter.kind == "integer":
        schema |= {"minimum": 1, "maximum": 10_000}
    if parameter.default is not None:
        schema["default"] = parameter.default
    return {
        "name": parameter.name,
        "in": "query",
        "description": parameter.about,
        "required": parameter.required,
        "schema": schema,
    }


def _problem(about: str) -> dict[str, Any]:
    return {
        "description": about,
        "content": {"application/problem+json": {"schema": {"$ref": _REF.format(name="ErrorView")}}},
    }
