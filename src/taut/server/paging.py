"""Lists of applications in pages: sorted, from where the page before ended, with only the fields that are wanted."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlencode

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from taut.model.errors import BadInput
from taut.model.status import AppStatus
from taut.server.answers import json_answer
from taut.server.endpoints import Parameter, limit_of, word_of

_SORTS: dict[str, Callable[[AppStatus], str]] = {
    "key": lambda s: s.key,
    "name": lambda s: s.name,
    "health": lambda s: s.health.value,
    "sync": lambda s: s.sync.value,
    "project": lambda s: s.project,
    "cluster": lambda s: s.cluster,
    "lastSync": lambda s: s.last_sync,
}
_FIELDS = {f.encode_name: f.name for f in msgspec.structs.fields(AppStatus)}
PAGING = (
    Parameter("sort", "By what they are ordered; `-` ahead of it turns the order round.", words=(*_SORTS, *(f"-{s}" for s in _SORTS)), default="key"),
    Parameter("limit", "So many on a page; without it all of them come at once.", "integer"),
    Parameter("after", "Where the page before ended: from its Link."),
    Parameter("fields", "Only these fields, with commas between them; the key is always there."),
)  # fmt: skip


def paged(request: Request, found: Sequence[AppStatus]) -> Response:
    """A page of statuses, which come in the order of their keys. How many there are is in `X-Total-Count`, the next page in `Link` (RFC 8288).

    Raises BadInput for what the query does not mean.
    """
    query = request.query_params
    sort = word_of(request, "sort", PAGING[0].words, "key")
    key = _SORTS[sort.removeprefix("-")]
    listed = sorted(found, key=lambda s: (key(s), s.key), reverse=sort.startswith("-"))
    if after := query.get("after"):
        last = _mark(after)
        place = [(key(s), s.key) for s in listed]
        ahead = (lambda p: p < last) if sort.startswith("-") else (lambda p: p > last)
        listed = [s for s, p in zip(listed, place, strict=True) if ahead(p)]
    size = limit_of(request, 1) if "limit" in query else len(listed)
    page = listed[:size]
    response = json_answer([_with_fields(s, query.get("fields", "")) for s in page])
    response.headers["X-Total-Count"] = str(len(found))
    if len(listed) > size and page:
        mark = base64.urlsafe_b64encode(msgspec.json.encode((key(page[-1]), page[-1].key))).decode()
        others = [(k, v) for k, v in query.multi_items() if k != "after"]
        response.headers["Link"] = f'<{request.url.path}?{urlencode([*others, ("after", mark)])}>; rel="next"'
    return response


def _mark(text: str) -> tuple[str, str]:
    try:
        return msgspec.json.decode(base64.b64decode(text, altchars=b"-_", validate=True), type=tuple[str, str])
    except (binascii.Error, msgspec.DecodeError, ValueError):
        raise BadInput("after is none that taut gave", advice="take it from the Link of the page before") from None


def _with_fields(status: AppStatus, fields: str) -> Any:
    if not fields:
        return status
    wanted = ["key", *(f.strip() for f in fields.split(",") if f.strip())]
    if unknown := [f for f in wanted if f not in _FIELDS]:
        raise BadInput(f"there is no field {unknown[0][:40]!r}", advice=f"there are {', '.join(_FIELDS)}")
    return {f: getattr(status, _FIELDS[f]) for f in wanted}
