"""What a command prints besides tables: data as JSON or YAML, and sentences. Without rich, so that it starts fast."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from taut.model.visible import one_line


def show_data(value: Any, output: str) -> None:
    """Print a value as JSON or YAML."""
    data = msgspec.json.encode(value)
    if output == "json":
        click.echo(msgspec.json.format(data, indent=2).decode())
        return
    from taut.documents.yaml import dump

    click.echo(dump(msgspec.json.decode(data)), nl=False)


def say(sentence: str) -> None:
    """Print one sentence of taut."""
    click.echo(one_line(sentence))
