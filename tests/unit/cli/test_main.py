"""The group: every command is where the table says, and is called what the help says."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from taut.cli.main import COMMANDS, cli
from taut.cli.reference import reference

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_there(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert isinstance(command, click.Command)
    assert command.help
    assert command.help[0].isupper()
    assert all(p.help for p in command.params if isinstance(p, click.Option)), "every option says what it does"


def test_the_reference_is_what_the_commands_say() -> None:
    """Made anew with `python -m taut.cli.reference > docs/cli.md`."""
    assert (ROOT / "docs" / "cli.md").read_text() == reference()


def test_every_command_of_the_issue_is_offered() -> None:
    needed = (
        "init run status get tree diff sync refresh abort history drift orphans events suspend resume approve restart"
    )
    needed += " render health check schema localplane version completion"
    assert set(needed.split()) <= COMMANDS.keys()
