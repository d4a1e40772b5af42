"""`taut status`: all applications, what is wrong first."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime

import click
from rich.text import Text

from taut.cli.client import Client
from taut.cli.data import show_data
from taut.cli.options import connected, output
from taut.cli.printing import Cell, Column, console, show_table
from taut.cli.words import FAILED, HEALTHY, age, clock, health_state, short_names, short_revision, state_of, sync_word
from taut.model.status import AppStatus
from taut.model.visible import one_line
from taut.server.views import RootView

COLUMNS = (
    Column("NAME", least=20),
    Column("SYNC", drop=1),
    Column("HEALTH"),
    Column("OPERATION", drop=4),
    Column("HELD FOR", drop=5),
    Column("REVISION", drop=2, least=13),
    Column("LAST SYNC", drop=3),
    Column("MESSAGE", least=48),
)


@click.command()
@connected
@output
@click.option("--root", help="Only the applications of this root.")
@click.option("-l", "--selector", help="Only those whose labels match, as with kubectl (`team=web,tier!=db`).")
@click.option("-w", "--watch", is_flag=True, help="Stay, and show every change; ends with Ctrl-C.")
def status(client: Client, output: str, root: str | None, selector: str | None, watch: bool) -> None:
    """Show all applications, what is wrong first."""
    if watch:
        from taut.cli.watch import watch as follow

        follow(client, root, selector, output=output, terminal=sys.stdout.isatty())
        return
    found = client.get("/v1/applications", list[AppStatus], root=root, selector=selector)
    if output != "table":
        show_data(found, output)
        return
    out = console()
    trouble = root_lines(client.get("/v1/roots", list[RootView]), root)
    for line in trouble:
        out.print(line, crop=False)
    if found:
        show_table(COLUMNS, status_rows(found, clock()))
    elif not trouble:
        click.echo(why_empty(root, selector))


def why_empty(root: str | None, selector: str | None) -> str:
    """Why nothing is shown, what would be, and one next step."""
    if root or selector:
        return "No application matches. `taut status` without a filter shows all of them."
    return (
        "There is no application yet: no root declares one. Applications appear here as soon as a root's repository holds "
        "an Application document; `taut init` makes one to start from."
    )


def root_lines(roots: Sequence[RootView], root: str | None) -> list[Text]:
    """What is wrong with roots and with documents in them: no application can say it."""
    lines: list[Text] = []
    for each in roots:
        for problem in each.problems if root in (None, each.name) else ():
            place = f"{problem.where}: " if problem.where else ""
            lines.append(
                Text(f"{FAILED.mark} root {one_line(f'{each.name}: {place}{problem.what}')}", style=FAILED.style)
            )
            if problem.advice:
                lines.append(Text(f"  {one_line(problem.advice)}"))
    return [*lines, Text()] if lines else []


def ordered(statuses: Sequence[AppStatus]) -> list[AppStatus]:
    """What needs someone first, then by key."""
    return sorted(statuses, key=lambda s: (state_of(s).rank, s.key))


def status_rows(statuses: Sequence[AppStatus], now: datetime) -> list[list[Cell]]:
    """One row for each application, in the order of `ordered`; healthy ones recede."""
    names = short_names(s.key for s in statuses)
    return [_row(s, names[s.key], now) for s in ordered(statuses)]


def _row(status: AppStatus, name: str, now: datetime) -> list[Cell]:
    state = state_of(status)
    quiet = "dim" if state is HEALTHY else ""
    health = health_state(status.health)
    held = ", ".join(h.kind for h in status.held_for)
    return [
        Text.assemble((state.mark, state.style), " ", (one_line(name), quiet or "bold")),
        Text(sync_word(status.sync), style=quiet),
        Text(status.health.value, style=health.style),
        Text(status.operation, style="bold red" if status.operation == "Failed" else quiet),
        Text(one_line(held), style="magenta"),
        Text(one_line(short_revision(status.revision)), style=quiet),
        Text(age(status.last_sync, now), style=quiet),
        Text(one_line(status.message), style=quiet),
    ]
