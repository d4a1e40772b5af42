"""The authorizer: what a user may do is known to the API server alone, so every question to it is an error here, never a yes."""

from __future__ import annotations

from typing import Any

from taut.policy.cel.errors import CelError
from taut.policy.cel.functions import Function, of_kind, tagged

VALUE = tagged("authorizer")
"""The variables `authorizer` and `authorizer.requestResource`."""


def _same(value: Any, *_: Any) -> Any:
    return of_kind(value, "authorizer")


def _asked(value: Any, *_: Any) -> Any:
    of_kind(value, "authorizer")
    raise CelError("what a user may do is known only to the API server (authorizer)")


_STEPS = ("path", "group", "serviceAccount", "resource", "subresource", "namespace", "name", "fieldSelector", "labelSelector")  # fmt: skip
FUNCTIONS = (
    *(Function(name, ("m", "s"), _same, member=True) for name in _STEPS if name != "serviceAccount"),
    Function("serviceAccount", ("m", "s", "s"), _same, member=True),
    Function("check", ("m", "s"), _asked, member=True),
    *(Function(name, ("m",), _asked, member=True) for name in ("allowed", "reason", "errored", "error")),
)
