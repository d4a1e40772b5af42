"""Templates to HTML: everything is escaped, and a name that a template does not know is an error."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse, Response

from taut.model.errors import TautError
from taut.server.page.addresses import (
    app_address,
    commit_address,
    repository_address,
    repository_name,
    short_commit,
    web_link,
    with_query,
)
from taut.server.page.sentences import plural
from taut.server.page.static_files import static_address
from taut.server.problems import status_code
from taut.server.views import ErrorView

_FUNCTIONS = (
    app_address,
    commit_address,
    repository_address,
    repository_name,
    short_commit,
    web_link,
    with_query,
    plural,
)
"""What templates may call."""
_TEMPLATES = Path(__file__).parent / "templates"


def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    known: dict[str, Any] = made.globals
    known["static"] = static_address
    for function in _FUNCTIONS:
        known[function.__name__] = function
    return made


_ENVIRONMENT = _environment()


def render(template: str, **values: Any) -> str:
    """A template as text. Raises jinja2's UndefinedError for a name that is not given."""
    return _ENVIRONMENT.get_template(template).render(**values)


def page(
    template: str, values: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """A template as an answer."""
    return HTMLResponse(render(template, **values), status, dict(headers or {}))


def error_page(error: TautError) -> Response:
    """An error that says itself what is wrong, for people."""
    view = ErrorView(what=error.what, where=str(error.where), advice=error.advice.removesuffix("."), code=error.code)
    return show_error(view, status_code(error))


def show_error(error: ErrorView, status: int) -> Response:
    """An error for people."""
    return page("error.html", {"error": error, "title": f"Error {status}"}, status)
