"""Whom a write is made as."""

from __future__ import annotations

from typing import Any

import pytest

from taut.clients.kubernetes import Impersonation, service_account
from taut.model.errors import BadInput
from taut.targets.kubernetes.writes import impersonation

WHO = Impersonation("anna", ("shop",))
ROWS: list[Any] = [
    (None, "shop", None),
    (WHO, "shop", WHO),
    ("robot", "shop", service_account("shop", "robot")),
    ("ops:robot", "shop", service_account("ops", "robot")),
    ("ops:robot", "", service_account("ops", "robot")),
    ("system:serviceaccount:ops:robot", "", service_account("ops", "robot")),
    ("system:admin", "shop", Impersonation("system:admin")),
]


@pytest.mark.parametrize(("who", "namespace", "expected"), ROWS)
def test_impersonation(who: Any, namespace: str, expected: Impersonation | None) -> None:
    assert impersonation(who, namespace) == expected


@pytest.mark.parametrize("who", ["robot", ":robot", "ops:", "system:serviceaccount::robot"])
def test_a_service_account_has_a_namespace_and_a_name(who: str) -> None:
    with pytest.raises(BadInput, match="needs its namespace"):
        impersonation(who, "")
