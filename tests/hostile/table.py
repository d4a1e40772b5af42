"""The table of attacks in the documentation: `python tests/hostile/table.py` writes it from the corpus that is tested."""

from __future__ import annotations

import sys
from pathlib import Path

TESTS = Path(__file__).parent.parent
PAGE = TESTS.parent / "docs" / "attacks.md"
HEAD = """# Attacks and answers

A repository is hostile input. Each attack below is a small repository in taut's tests (`tests/hostile`): all of them run as applications of one root, beside
healthy ones, against a real cluster. Each tells what is wrong, the healthy ones stay in sync, nothing of the machine is read or written, and a server that
counts connections counts none. `make faults` runs them all, `make test` some. What taut says is what it said there: the place and an advice come with it.
Policies that attack are judged by `taut check` beside an honest one, which is judged all the same.
"""


def text() -> str:
    """The page."""
    from hostile import policies
    from hostile.corpus import GROUPS

    parts = [HEAD]
    for title, attacks in {**GROUPS, "Policies": policies.ATTACKS}.items():
        rows = dict.fromkeys(f"| {a.what} | {a.stops} | {_answer(a.says)} |" for a in attacks)
        parts.append(
            "\n".join([f"## {title}", "", "| attack | what stops it | taut says |", "| --- | --- | --- |", *rows, ""])
        )
    return "\n".join(parts)


def _answer(says: str) -> str:
    shown = says.replace("|", "\\|")
    return f"`{shown}`" if says else "nothing: it has no effect"


if __name__ == "__main__":
    sys.path.insert(0, str(TESTS))
    PAGE.write_text(text())
