"""The page's own files and htmx, which comes in a package. Each has its content's hash in its address, and is kept by browsers for good."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

_OWN = Path(__file__).parent / "static"
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


@dataclass(frozen=True, slots=True)
class File:
    """One file as it is sent."""

    data: bytes
    type: str
    hash: str


@cache
def files() -> Mapping[str, File]:
    """By name."""
    return {path.name: _file(path) for path in sorted(_OWN.iterdir())} | {"htmx.js": _file(_htmx())}


def static_address(name: str) -> str:
    """Where a file is found. Raises KeyError for one that is not there."""
    return f"/static/{name}?v={files()[name].hash}"


async def static(request: Request) -> Response:
    """One file; 404 when there is none of that name."""
    found = files().get(request.path_params["name"])
    if found is None:
        return Response("There is no such file.\n", 404, media_type="text/plain")
    etag = f'"{found.hash}"'
    current = request.query_params.get("v") == found.hash
    kept = "public, max-age=31536000, immutable" if current else "no-cache"
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers={"ETag": etag, "Cache-Control": kept})
    return Response(found.data, media_type=found.type, headers={"ETag": etag, "Cache-Control": kept})


def _htmx() -> Path:
    """The package is not imported: only its files are of use here."""
    spec = find_spec("django_htmx")
    places = list(spec.submodule_search_locations or ()) if spec is not None else []
    return Path(places[0]) / "static" / "django_htmx" / "htmx-2.min.js"


def _file(path: Path) -> File:
    data = path.read_bytes()
    return File(data, _TYPES[path.suffix], hashlib.sha256(data).hexdigest()[:12])
