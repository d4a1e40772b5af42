"""`taut auth`: who you are to a running taut, what you may do, and tokens for machines."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

import click

from taut.cli.client import Client
from taut.cli.data import say, show_data
from taut.cli.ending import Exit
from taut.cli.options import connected, output
from taut.cli.printing import Column, show_rows
from taut.model.errors import BadInput, Where
from taut.server.access.principal import Action, Resource
from taut.server.access.views import CanView, MeView, SessionView, TokenRequest, TokenView
from taut.server.views import Said


@click.group()
def auth() -> None:
    """See who you are to a running taut and what you may do; make and revoke tokens for machines."""


@auth.command()
@connected
@output
def whoami(client: Client, output: str) -> None:
    """Show as whom taut knows you, and what its rules may call you."""
    found = client.get("/v1/me", MeView)
    if output != "table":
        show_data(found, output)
        return
    say(f"{found.name} (by {found.how or 'nothing: you are not signed in'})")
    for subject in found.subjects:
        say(f"  {subject}")


@auth.command("can-i")
@connected
@click.argument("action", type=click.Choice([a.value for a in Action]))
@click.argument("resource", type=click.Choice([r.value for r in Resource]))
@click.argument("object", default="*")
@output
def can_i(client: Client, action: str, resource: str, object: str, output: str) -> int:
    """Tell whether you may do ACTION to RESOURCE (its OBJECT as rules write it, such as shop/web).

    Exit codes: 0 you may, 1 you may not.
    """
    found = client.get("/v1/can-i", CanView, action=action, resource=resource, object=object)
    if output == "table":
        because = f" ({found.rule})" if found.rule else ""
        say(f"{'yes' if found.allowed else 'no'}{because}")
    else:
        show_data(found, output)
    return Exit.DONE if found.allowed else Exit.FAILED


@auth.group()
def token() -> None:
    """Tokens for machines: what they may do is what their roles allow."""


@token.command("create")
@connected
@click.argument("name")
@click.option(
    "--role", "roles", multiple=True, required=True, help="What it may do, such as role:readonly. Several add up."
)
@click.option("--expires", default="2160h", show_default=True, help="How long it counts; 0 for ever.")
@click.option(
    "--file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write it to this file (mode 0600), not to the terminal.",
)
@output
def create(client: Client, name: str, roles: tuple[str, ...], expires: str, file: Path | None, output: str) -> None:
    """Make a token called NAME. It is told this once, and taut keeps no more than a hash of it."""
    if file is not None and file.exists():
        raise BadInput("there is such a file already", where=Where(file=str(file)), advice="name another one")
    wish = TokenRequest(name=name, roles=roles, expires="" if expires in ("0", "0s") else expires)
    made = client.post("/v1/tokens", TokenView, wish)
    if file is not None:
        _write(file, made.token)
        say(f"The token {made.name} is in {file}; {_until(made)}.")
    elif output == "table":
        click.echo(made.token)
        click.echo(f"The token {made.name} is told this once; {_until(made)}.", err=True)
    else:
        show_data(made, output)


@token.command("list")
@connected
@output
def listed(client: Client, output: str) -> None:
    """Show the tokens that count, the newest first."""
    found = client.get("/v1/tokens", list[TokenView])
    columns = (
        Column("NAME"),
        Column("ROLES", least=16),
        Column("BY"),
        Column("CREATED"),
        Column("EXPIRES"),
        Column("USED"),
    )
    rows = [[t.name, ", ".join(t.roles), t.by, t.created, t.expires or "never", t.used or "never"] for t in found]
    show_rows(found, output, columns, rows, "There is no token but the administrator's.")


@token.command()
@connected
@click.argument("name")
def revoke(client: Client, name: str) -> None:
    """Let the token NAME (or its id) count no more."""
    say(client.delete(f"/v1/tokens/{quote(name, safe='')}", Said).message)


@auth.group()
def sessions() -> None:
    """Browsers that are signed in."""


@sessions.command("list")
@connected
@output
def open_sessions(client: Client, output: str) -> None:
    """Show who is signed in, the newest first."""
    found = client.get("/v1/sessions", list[SessionView])
    columns = (
        Column("NAME"),
        Column("WITH"),
        Column("GROUPS", least=16),
        Column("SINCE"),
        Column("SEEN"),
        Column("ENDS"),
    )
    rows = [[s.name, s.provider or "token", ", ".join(s.groups), s.started, s.seen, s.ends] for s in found]
    show_rows(found, output, columns, rows, "Nobody is signed in.")


@sessions.command("end")
@connected
@click.argument("name")
def end(client: Client, name: str) -> None:
    """Sign NAME out of every browser."""
    say(client.delete(f"/v1/sessions/{quote(name, safe='')}", Said).message)


def _until(made: TokenView) -> str:
    return f"it counts until {made.expires}" if made.expires else "it does not run out"


def _write(file: Path, token: str) -> None:
    try:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as out:
            out.write(token + "\n")
    except OSError as error:
        raise BadInput(f"the file cannot be made: {error.strerror}", where=Where(file=str(file))) from None
