"""What happened: `taut history`, `drift`, `events`, `audit`, and what nobody declares: `orphans`."""

from __future__ import annotations

from typing import Any

import click
import msgspec
from rich.text import Text

from taut.cli.client import Client, app_path
from taut.cli.options import application, connected, limit, output
from taut.cli.printing import Cell, Column, show_rows
from taut.cli.words import age, clock, short_revision
from taut.model.visible import one_line
from taut.server.views import HIDDEN, AuditView, DriftView, EventView, HistoryView, Orphan

_RESULTS = {"Succeeded": "", "Failed": "bold red", "Aborted": "yellow", "Superseded": "dim"}
_OUTCOMES = {"open": "yellow", "contested": "bold red"}


@click.command()
@connected
@application()
@output
@limit(50)
def history(client: Client, name: str, output: str, limit: int) -> None:
    """Show what was done to an application, the newest first."""
    found = client.get(app_path(name, "history"), list[HistoryView], limit=limit)
    columns = (
        Column("NUMBER", drop=3),
        Column("WHEN"),
        Column("KIND", drop=2),
        Column("RESULT"),
        Column("REVISION", least=13),
        Column("BY", drop=1, least=8),
        Column("TOOK", drop=4),
        Column("CHANGES"),
        Column("WHAT", least=32),
    )
    show_rows(
        found,
        output,
        columns,
        [_history_row(e) for e in found],
        f"Nothing was done to {name} yet. Its first sync appears here.",
    )


@click.command()
@connected
@application(required=False)
@output
@limit(200)
@click.option("--open", "open_only", is_flag=True, help="Only what is not healed.")
def drift(client: Client, name: str | None, output: str, limit: int, open_only: bool) -> None:
    """Show what was changed by hand: which field, by whom, when, and what became of it."""
    path = app_path(name, "drift") if name else "/v1/drift"
    found = client.get(path, list[DriftView], limit=limit, open="1" if open_only else "")
    columns = (
        Column("WHEN"),
        Column("APPLICATION", drop=2, least=12),
        Column("OBJECT", least=24),
        Column("FIELD", least=24),
        Column("GIT → FOUND", least=16),
        Column("WHO", drop=1, least=16),
        Column("OUTCOME"),
        Column("WHY", drop=3, least=10),
    )
    show_rows(
        found,
        output,
        columns,
        [_drift_row(d) for d in found],
        "Nobody changed anything by hand, as far as taut looked.",
    )


@click.command()
@connected
@application(required=False)
@output
@limit(200)
def events(client: Client, name: str | None, output: str, limit: int) -> None:
    """Show what happened lately, of one application or of all; the newest last."""
    path = app_path(name, "events") if name else "/v1/events"
    found = client.get(path, list[EventView], limit=limit)
    columns = (
        Column("WHEN"),
        Column("APPLICATION", least=12),
        Column("KIND", drop=1),
        Column("OBJECT", drop=2, least=16),
        Column("WHAT", least=32),
    )
    now = clock()
    rows = [[age(e.at, now), e.app, e.kind, e.object, e.message] for e in reversed(found)]
    show_rows(found, output, columns, rows, "Nothing happened yet. Syncs, drift and holds appear here.")


@click.command()
@connected
@output
@limit(200)
def audit(client: Client, output: str, limit: int) -> None:
    """Show who asked taut for what, the newest first."""
    found = client.get("/v1/audit", list[AuditView], limit=limit)
    columns = (
        Column("NUMBER", drop=1),
        Column("WHEN"),
        Column("WHO", least=12),
        Column("DID"),
        Column("TO", least=16),
        Column("DETAIL", least=16),
        Column("FROM", drop=2),
    )
    now = clock()
    rows = [[str(e.number), age(e.at, now), e.actor, e.action, e.subject, e.detail, e.source] for e in found]
    show_rows(found, output, columns, rows, "Nobody asked taut for anything yet.")


@click.command()
@connected
@output
@click.option("--cluster", help="Only in this cluster.")
@click.option("-n", "--namespace", help="Only in this namespace.")
def orphans(client: Client, output: str, cluster: str | None, namespace: str | None) -> None:
    """Show objects in managed namespaces that nobody declares. taut leaves them alone."""
    found = client.get("/v1/orphans", list[Orphan], cluster=cluster, namespace=namespace)
    columns = (Column("CLUSTER", drop=1), Column("NAMESPACE"), Column("KIND"), Column("NAME"), Column("AGE"))
    now = clock()
    rows = [[o.cluster, o.namespace, o.kind, o.name, age(o.created, now)] for o in found]
    show_rows(
        found,
        output,
        columns,
        rows,
        "Every object in the managed namespaces is declared in Git or made by one that is.",
    )


def _history_row(entry: HistoryView) -> list[Cell]:
    subject = entry.commit_message.strip().partition("\n")[0]
    return [
        str(entry.id),
        age(entry.started, clock()),
        entry.kind,
        Text(one_line(entry.result), style=_RESULTS.get(entry.result, "")),
        short_revision(entry.revision),
        entry.initiated_by,
        f"{entry.duration:.1f}s",
        str(len(entry.changes)),
        entry.message if entry.result == "Failed" and entry.message else subject,
    ]


def _drift_row(record: DriftView) -> list[Cell]:
    who = " ".join(
        word for word in (record.user, record.who, f"({record.operation})" if record.operation else "") if word
    )
    change = "deleted" if record.missing else f"{_value(record.desired)} → {_value(record.found)}"
    return [
        age(record.changed or record.noticed, clock()),
        record.app,
        record.object.text,
        record.path,
        Text(HIDDEN, style="magenta") if record.secret else change,
        who or "unknown",
        Text(one_line(record.outcome), style=_OUTCOMES.get(record.outcome, "dim")),
        record.reason,
    ]


def _value(value: Any) -> str:
    if value is None:
        return "nothing"
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
