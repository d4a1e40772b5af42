"""`python -m taut.server.reference DOCS`: the API's description, as a page of the reference."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec

from taut.server.access.api import AccessApi
from taut.server.api import Api
from taut.server.openapi import describe

FILE = "reference/openapi.json"


def content() -> str:
    """The file's content. The handlers are not called: nothing is behind them."""
    nothing: Any = None
    endpoints = [*AccessApi(nothing, nothing).endpoints(), *Api(nothing, nothing, None).endpoints()]
    return msgspec.json.format(msgspec.json.encode(describe(endpoints)), indent=1).decode() + "\n"


if __name__ == "__main__":
    (Path(sys.argv[1]) / FILE).write_text(content())
