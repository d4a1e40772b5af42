"""`taut sync`: sync an application now, and with `--wait` see how it ends."""

from __future__ import annotations

import time

import click
import msgspec

from taut.cli.client import Client, app_path
from taut.cli.data import say, show_data
from taut.cli.ending import Exit
from taut.cli.options import application, connected, output
from taut.model.durations import seconds
from taut.model.errors import TautError
from taut.model.status import AppStatus
from taut.model.visible import one_line
from taut.server.views import Details, Gone, PlanView, SyncAnswer, SyncRequest


@click.command()
@connected
@application()
@output
@click.option(
    "--object", "objects", multiple=True, metavar="KIND/NAME", help="Only this object; may be given several times."
)
@click.option("--wait", is_flag=True, help="Wait until it ended.")
@click.option(
    "--timeout",
    default="10m",
    show_default=True,
    callback=lambda _context, _option, text: _duration(text),
    help="How long --wait waits.",
)
@click.option("--dry-run", is_flag=True, help="Only show what it would change.")
@click.option(
    "--prune/--no-prune",
    default=None,
    help="Delete what Git no longer has, or nothing, this time; default: as its policy says.",
)
def sync(
    client: Client,
    *,
    name: str,
    output: str,
    objects: tuple[str, ...],
    wait: bool,
    timeout: float,
    dry_run: bool,
    prune: bool | None,
) -> int:
    """Sync an application now, whatever its mode says. Ends with 4 when the plan is held for approval."""
    request = SyncRequest(objects=objects, prune=prune, dry_run=dry_run)
    if dry_run:
        return _dry_run(client, name, request, output)
    if not wait:
        answer = client.post(app_path(name, "sync"), SyncAnswer, request)
        say(answer.message) if output == "table" else show_data(answer, output)
        return Exit.DONE
    ended = _sync_and_wait(client, name, request, timeout, quiet=output != "table")
    if output == "table":
        say(f"{ended.key}: {_outcome(ended)}")
    else:
        show_data(ended, output)
    return exit_code(ended)


def exit_code(status: AppStatus) -> Exit:
    """How a sync ended, for scripts."""
    if status.held_for:
        return Exit.HELD
    if status.problems or status.operation in ("Failed", "Aborted"):
        return Exit.FAILED
    return Exit.DONE


def _dry_run(client: Client, name: str, request: SyncRequest, output: str) -> int:
    answer = client.post(app_path(name, "sync"), SyncAnswer, request)
    plan = answer.plan or PlanView(app=name, hash="")
    if output == "table":
        from taut.cli.planview import show_plan

        show_plan(plan)
    else:
        show_data(plan, output)
    return Exit.HELD if plan.held_for else Exit.DONE


def _sync_and_wait(client: Client, name: str, request: SyncRequest, patience: float, *, quiet: bool) -> AppStatus:
    """Listen first, then ask: an operation that ends at once is not missed."""
    key = client.get(app_path(name), Details).status.key
    deadline = time.monotonic() + patience
    with client.watch(root=key.split("/")[0]) as events:
        answer = client.post(app_path(key, "sync"), SyncAnswer, request)
        if not quiet:
            say(answer.message)
        shown = ""
        for event, data in events:
            if time.monotonic() > deadline:
                raise TautError(
                    f"{key} was not synced within {patience:.0f} s",
                    advice=f"it goes on; `taut get {key}` says how far it is",
                )
            if event == "gone" and msgspec.json.decode(data, type=Gone).key == key:
                raise TautError(f"{key} was removed while it was waited for", advice="no root declares it any more")
            status = msgspec.json.decode(data, type=AppStatus) if event == "status" else None
            if status is None or status.key != key:
                continue
            if status.handled >= answer.request and status.operation != "Running":
                return status
            if status.message and status.message != shown and not status.held_for and not quiet:
                shown = status.message
                click.echo(f"  {one_line(shown)}", err=True)
    raise TautError("taut ended the connection", advice=f"`taut get {key}` says how far the sync is")


def _outcome(status: AppStatus) -> str:
    if status.held_for:
        return f"held. {status.message}"
    if exit_code(status) is Exit.FAILED:
        return status.message or status.operation_message or status.operation
    return f"in sync at {status.revision}" + (f", {status.message}" if status.message else "")


def _duration(text: str) -> float:
    try:
        return seconds(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
