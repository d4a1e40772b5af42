"""`taut get`: one application, what is wrong with it, and its objects."""

from __future__ import annotations

import click
from rich.text import Text

from taut.cli.client import Client, app_path
from taut.cli.data import show_data
from taut.cli.options import application, connected, output
from taut.cli.printing import Cell, Column, console, show_table
from taut.cli.words import State, age, clock, health_state, state_of, sync_word
from taut.model.status import AppStatus, ObjectStatus, SyncStatus
from taut.model.visible import one_line
from taut.server.views import Details

COLUMNS = (
    Column("OBJECT", least=24),
    Column("SYNC"),
    Column("HEALTH"),
    Column("WAVE", drop=2),
    Column("HOOK", drop=1),
    Column("MESSAGE", least=40),
)


@click.command()
@connected
@application()
@output
def get(client: Client, name: str, output: str) -> None:
    """Show one application and its objects."""
    found = client.get(app_path(name), Details)
    if output != "table":
        show_data(found, output)
        return
    out = console()
    for line in describe(found.status):
        out.print(line, crop=False)
    if found.objects:
        out.print()
        show_table(COLUMNS, [_row(o) for o in sorted(found.objects, key=_order)])


def describe(status: AppStatus) -> list[Text]:
    """What is wrong as sentences, then the facts."""
    state = state_of(status)
    head = Text.assemble((f"{state.mark} {one_line(status.key)}", "bold"), "  ", (state.word, state.style))
    lines = [head]
    if status.message:
        lines.append(Text(one_line(status.message)))
    lines += _trouble(status)
    lines.append(Text())
    lines += [Text.assemble((f"{title:<12}", "dim"), one_line(value)) for title, value in _facts(status) if value]
    return lines


def _trouble(status: AppStatus) -> list[Text]:
    lines: list[Text] = []
    for problem in status.problems:
        place = f"{problem.where}: " if problem.where else ""
        lines.append(Text(f"  {one_line(place + problem.what)}", style="red"))
        if problem.advice:
            lines.append(Text(f"    {one_line(problem.advice)}"))
    for hold in status.held_for:
        lines.append(Text(f"  held: {one_line(hold.message)}", style="magenta"))
        lines += [Text(f"    {one_line(o)}") for o in hold.objects]
    lines += [Text(f"  warning: {one_line(w)}", style="yellow") for w in status.warnings]
    return lines


def _facts(status: AppStatus) -> list[tuple[str, str]]:
    health = status.health.value + (f": {status.health_message}" if status.health_message else "")
    behind = status.sync is not SyncStatus.SYNCED and status.desired_revision != status.revision
    wanted = status.desired_revision if behind else ""
    operation = status.operation + (f": {status.operation_message}" if status.operation_message else "")
    when = age(status.last_sync, clock())
    differ = f", {status.out_of_sync} differ" if status.out_of_sync else ""
    return [
        ("sync", sync_word(status.sync)),
        ("health", health),
        ("operation", operation),
        ("revision", status.revision),
        ("Git wants", wanted),
        ("last sync", when if when == "never" else f"{when} ago ({status.last_sync})"),
        ("objects", f"{status.objects}{differ}"),
        ("drift", f"{status.drift} open" if status.drift else ""),
        ("policies", _failures(status.policy_failures)),
        ("plan", status.plan_hash[:8]),
        ("source", f"{status.source_url} {status.source_path}".strip()),
        ("target", f"{status.cluster} {status.target_namespace}".strip()),
        ("mode", status.mode + (", suspended" if status.suspended else "")),
        ("project", status.project),
        *((one_line(name), one_line(value)) for name, value in status.info.items()),
    ]


def _failures(count: int) -> str:
    return f"{count} {'object fails' if count == 1 else 'objects fail'}" if count else ""


def _order(status: ObjectStatus) -> tuple[int, bool, str, str]:
    return (_state(status).rank, status.sync is SyncStatus.SYNCED, status.kind, status.name)


def _state(status: ObjectStatus) -> State:
    return health_state(status.health)


def _row(status: ObjectStatus) -> list[Cell]:
    state = _state(status)
    name = f"{status.namespace}/{status.name}" if status.namespace else status.name
    quiet = "dim" if state.word == "Healthy" and status.sync is SyncStatus.SYNCED else ""
    return [
        Text.assemble((state.mark, state.style), " ", (one_line(f"{status.kind} {name}"), quiet)),
        Text(sync_word(status.sync), style=quiet),
        Text(status.health.value if status.health else "", style=state.style),
        Text(str(status.wave) if status.wave else "", style=quiet),
        Text(one_line(status.hook), style=quiet),
        Text(one_line(status.message), style=quiet),
    ]
