"""The small verbs: ask the running taut for something, print the sentence that comes back."""

from __future__ import annotations

import click

from taut.cli.client import Client, app_path
from taut.cli.data import say
from taut.cli.options import application, connected
from taut.model.errors import BadInput
from taut.server.views import Said


@click.command()
@connected
@application(required=False)
@click.option("--root", help="All sources of this root.")
def refresh(client: Client, name: str | None, root: str | None) -> None:
    """Look at the sources at once: of one application, of a root, or of all."""
    if name and root:
        raise BadInput("A name and --root cannot be given together", advice="leave one of them out")
    say(client.post("/v1/refresh", Said, {"name": name or "", "root": root or ""}).message)


@click.command()
@connected
@application()
def abort(client: Client, name: str) -> None:
    """Stop a running operation before its next step. What it changed stays, until the next sync."""
    say(client.post(app_path(name, "abort"), Said).message)


@click.command()
@connected
@application()
@click.option("--reason", default="", help="Why, for those who find it suspended.")
def suspend(client: Client, name: str, reason: str) -> None:
    """Leave an application alone: nothing of it is synced, healed, pruned or deleted until it is resumed."""
    say(client.post(app_path(name, "suspend"), Said, {"reason": reason}).message)


@click.command()
@connected
@application()
def resume(client: Client, name: str) -> None:
    """Look after a suspended application again."""
    say(client.post(app_path(name, "resume"), Said).message)


@click.command()
@connected
@application()
@click.argument("object", required=False, metavar="[KIND/NAME]")
def restart(client: Client, name: str, object: str | None) -> None:
    """Restart the Pods of a workload, or of all workloads of an application, by a rolling update."""
    say(client.post(app_path(name, "restart"), Said, {"object": object or ""}).message)
