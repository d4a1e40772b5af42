"""`taut alerts`: who is told of what, what waits to be told, and how a message reads."""

from __future__ import annotations

import time
from pathlib import Path

import click

from taut.cli.client import Client
from taut.cli.data import say, show_data
from taut.cli.ending import Exit
from taut.cli.options import complete_names, connected, limit, output, server_options
from taut.model.errors import BadInput, Where
from taut.model.visible import clean
from taut.server.alert_views import AlertsView, AlertTestAnswer, PreviewView


@click.group()
def alerts() -> None:
    """Show who is told of what, what waits to be told, and how a message reads."""


@alerts.command("list")
@connected
@output
@limit(200)
@click.option("--rules", is_flag=True, help="The rules and receivers instead.")
@click.option("--waiting", is_flag=True, help="What waits for receivers instead.")
def list_command(client: Client, output: str, limit: int, rules: bool, waiting: bool) -> None:
    """Show the alerts that are open: told, and not over."""
    found = client.get("/v1/alerts", AlertsView, limit=limit)
    if output != "table":
        show_data(found, output)
    elif rules:
        _rules(found)
    elif waiting:
        _waiting(found)
    else:
        _open(found)


@alerts.command("test")
@server_options
@output
@click.argument("name")
@click.option(
    "--app",
    "app",
    metavar="APPLICATION",
    shell_complete=complete_names,
    help="An application as it is, instead of examples.",
)
@click.option("--send", is_flag=True, help="Deliver it.")
@click.option(
    "--file",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file with the AlertRule; no taut need run. Nothing can be sent then.",
)
def test_command(
    server: str | None, token_file: Path | None, output: str, name: str, app: str | None, send: bool, file: Path | None
) -> int:
    """Show how a message of the rule or receiver NAME reads, and with --send deliver it.

    The text is that of examples, one for each trigger of the rule, or with --app that of an application as it is.
    """
    if file is not None:
        if send or app:
            raise BadInput(
                "--file takes neither --send nor --app", advice="a running taut knows receivers and applications"
            )
        answer = _of_file(file, name)
    else:
        from taut.cli.discovery import find

        client = Client(*find(server, token_file))
        answer = client.post("/v1/alerts:test", AlertTestAnswer, {"name": name, "application": app or "", "send": send})
    if output != "table":
        show_data(answer, output)
        return Exit.DONE
    for message in answer.messages:
        _print(message)
    for message in answer.messages if answer.sent else ():
        say(f"{message.receiver} was told.")
    return Exit.DONE


def _of_file(file: Path, name: str) -> AlertTestAnswer:
    from taut.dialects.taut import parse
    from taut.documents.yaml import load_documents
    from taut.notify.preview import words_of

    data = file.read_bytes()
    parsed = parse(load_documents(data, file=str(file)), root="", file=str(file), data=data)
    if parsed.problems:
        raise parsed.problems[0].as_error()
    rule = next((r for r in parsed.alert_rules if r.name == name), None)
    if rule is None:
        names = ", ".join(r.name for r in parsed.alert_rules) or "none"
        raise BadInput(f"there is no AlertRule {name!r}", where=Where(file=str(file)), advice=f"there are: {names}")
    title, text = words_of(rule, time.time())
    messages = (PreviewView(receiver=each, way="", title=title, text=text) for each in rule.spec.receivers[:1])
    return AlertTestAnswer(sent=False, messages=tuple(messages))


def _print(message: PreviewView) -> None:
    way = f" ({message.way})" if message.way else ""
    click.echo(clean(f"To: {message.receiver}{way}\nTitle: {message.title}\n\n{message.text}\n"))


def _open(found: AlertsView) -> None:
    from taut.cli.printing import Column, show_table
    from taut.cli.words import age, clock

    if not found.open:
        say("No alert is open." if found.rules else "There are no alert rules. docs/alerts.md tells how to write one.")
        return
    columns = (
        Column("SINCE"),
        Column("APPLICATION", least=12),
        Column("TRIGGER"),
        Column("SEVERITY", drop=2),
        Column("WHAT", least=32),
        Column("RULE", drop=1, least=8),
        Column("TOLD", drop=3),
    )
    now = clock()
    rows = [
        (
            age(a.since, now),
            a.application,
            a.trigger.value,
            a.severity.value,
            _what(a.what, a.why),
            a.rule,
            age(a.told, now),
        )
        for a in found.open
    ]
    show_table(columns, rows)


def _what(what: str, why: str) -> str:
    return f"{what}: {why}" if why else what


def _rules(found: AlertsView) -> None:
    from taut.cli.printing import Column, show_table

    if not found.rules:
        say("There are no alert rules. docs/alerts.md tells how to write one.")
        return
    ways = {r.id: r.way for r in found.receivers}
    columns = (
        Column("RULE", least=8),
        Column("SEVERITY", drop=1),
        Column("TRIGGERS", least=24),
        Column("RECEIVERS", least=16),
    )
    rows = [
        (
            r.id + (" (suspended)" if r.suspended else ""),
            r.severity.value,
            ", ".join(t.value for t in r.triggers),
            ", ".join(f"{name} ({ways.get(name, '?')})" for name in r.receivers) or "nobody",
        )
        for r in found.rules
    ]
    show_table(columns, rows)


def _waiting(found: AlertsView) -> None:
    from taut.cli.printing import Column, show_table
    from taut.cli.words import age, clock

    if not found.waiting:
        say("Nothing waits to be told.")
        return
    columns = (
        Column("SINCE"),
        Column("STAGE"),
        Column("RECEIVER", least=8),
        Column("TRIES"),
        Column("SAID", least=24),
        Column("ID", drop=1),
    )
    now = clock()
    show_table(columns, [(age(w.at, now), w.stage, w.receiver, str(w.tries), w.said, w.id) for w in found.waiting])
