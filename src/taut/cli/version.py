"""`taut version`."""

from __future__ import annotations

import platform
from importlib.metadata import version as installed

import click

from taut.cli.data import say, show_data
from taut.cli.options import output


@click.command()
@output
def version(output: str) -> None:
    """Print taut's version."""
    facts = {"taut": installed("taut"), "python": platform.python_version(), "platform": platform.platform()}
    if output == "table":
        say(f"taut {facts['taut']} (Python {facts['python']}, {facts['platform']})")
    else:
        show_data(facts, output)
