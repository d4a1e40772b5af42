"""The table of attacks in the documentation: `python tests/hostile/table.py` writes it from the corpus that is tested."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

TESTS = Path(__file__).parent.parent
PAGE = TESTS.parent / "docs" / "attacks.md"
HEAD = """# Attacks and answers

A repository is hostile input. Each attack below is a small repository in taut's tests (`tests/hostile`): all of them run as applications of one root, beside
healthy ones, against a real cluster. Each tells what is wrong, the healthy ones stay in sync, nothing of the machine is read or written, and a server that
counts connections counts none. `make faults` runs them all, `make test` some. What taut says is what it said there: the place and an advice come with it.
"""
POLICIES = """## Policies

A policy is as hostile. Each of these is given to `taut check` beside a good one, with twenty objects: the policy is named, the good one judges every object, no process is left, nothing
of the environment is told, and the server counts no connection.
"""


def text() -> str:
    """The page."""
    from hostile import policies
    from hostile.corpus import GROUPS

    parts = [HEAD]
    for title, attacks in GROUPS.items():
        parts += [f"## {title}\n", _table((a.what, a.stops, a.says) for a in attacks)]
    parts += [POLICIES, _table((a.what, a.stops, a.says) for a in policies.ATTACKS)]
    return "\n".join(parts)


def _table(attacks: Iterable[tuple[str, str, str]]) -> str:
    rows = dict.fromkeys(f"| {what} | {stops} | {_answer(says)} |" for what, stops, says in attacks)
    return "\n".join(["| attack | what stops it | taut says |", "| --- | --- | --- |", *rows, ""])


def _answer(says: str) -> str:
    shown = says.replace("|", "\\|")
    return f"`{shown}`" if says else "nothing: it has no effect"


if __name__ == "__main__":
    sys.path.insert(0, str(TESTS))
    PAGE.write_text(text())
