"""The command line's reference, made from the commands themselves: `python -m taut.cli.reference > docs/cli.md`."""

from __future__ import annotations

from collections.abc import Iterator

import click

from taut.cli.main import EPILOG, cli

_INTRO = f"""# The command line

`taut` talks to the taut that runs on this machine; `--server` and `--token-file` name another one. `render`, `diff`, `health`, `check`,
`schema` and `localplane` need none. Every command that prints data takes `-o json` and `-o yaml`, works in a pipe, and obeys `NO_COLOR`.

{EPILOG}

Names may be short: `web`, `shop/web` or `prod/shop/web`, as long as they mean one application.
"""


def reference() -> str:
    """The whole page, as Markdown."""
    context = click.Context(cli, info_name="taut", **cli.context_settings)
    rows = [f"| [`taut {name}`](#taut-{name}) | {summary} |" for name, (_, summary) in cli.lazy.items()]
    table = "\n".join(["| command | what it does |", "| --- | --- |", *rows])
    parts = [_INTRO, table + "\n"]
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        if command is not None:
            parts += _sections(command, click.Context(command, info_name=name, parent=context), 2)
    return "\n".join(parts)


def _sections(command: click.Command, context: click.Context, level: int) -> Iterator[str]:
    yield f"{'#' * level} {context.command_path}\n"
    if command.help:
        yield _paragraphs(command.help)
    usage = " ".join(piece for piece in command.collect_usage_pieces(context) if piece)
    yield f"```\n{context.command_path} {usage}\n```\n"
    records = [p.get_help_record(context) for p in command.get_params(context) if isinstance(p, click.Option)]
    rows = [
        f"| `{_cell(names)}` | {_cell(text)} |" for names, text in (r for r in records if r) if "--help" not in names
    ]
    if rows:
        yield "\n".join(["| option | what it does |", "| --- | --- |", *rows]) + "\n"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            if child is not None:
                yield from _sections(child, click.Context(child, info_name=name, parent=context), level + 1)


def _paragraphs(text: str) -> str:
    import inspect

    return inspect.cleandoc(text).replace("\b\n", "") + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    click.echo(reference(), nl=False)
