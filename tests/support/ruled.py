"""A gate with rules of the test's own, for applications that are asked without a socket."""

from __future__ import annotations

from typing import Any, cast

from taut.server.access.accounts import Accounts
from taut.server.access.gate import FileRights, Gate
from taut.server.access.rules import RuleBook, read_rules
from taut.server.serve import InMemory


class Ruled:
    """Rights that are these, and never change."""

    def __init__(self, rights: Any) -> None:
        self.current = rights
        self.book = rights if isinstance(rights, RuleBook) else read_rules("")


def gate_with(rights: Any, token: str) -> Gate:
    """A gate that these rights hold behind; sessions and tokens live in memory."""
    return Gate(token, cast("FileRights", Ruled(rights)), Accounts(InMemory(), idle=3600, longest=3600), {})
