"""The options that many commands share, and the completion of names."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from taut.model.errors import TautError

type Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

_COMPLETION_SECONDS = 1.0


def server_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which taut to talk to, passed as `server` and `token_file`."""
    server = click.option(
        "--server",
        envvar="TAUT_SERVER",
        metavar="URL",
        help="The taut to talk to.  [env: TAUT_SERVER; default: the one that runs]",
    )
    token = click.option(
        "--token-file",
        envvar="TAUT_TOKEN_FILE",
        type=click.Path(dir_okay=False, path_type=Path),
        help="The file with its token.  [env: TAUT_TOKEN_FILE]",
    )
    return server(token(command))


def decrypting(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say with which keys SOPS files in a working copy are opened, passed as `decrypt` and `keys`."""
    switch = click.option(
        "--decrypt/--no-decrypt",
        default=True,
        show_default=True,
        help="Open SOPS files in what is rendered, with the keys that taut decrypt finds. No value is printed.",
    )
    keys = click.option(
        "--key",
        "keys",
        multiple=True,
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        metavar="FILE",
        help="A file with a private key of age or PGP, for SOPS files.",
    )
    return switch(keys(command))


def connected(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say which taut to talk to, and a `client` as its first argument."""

    @server_options
    @wraps(command)
    def with_client(*args: Any, server: str | None, token_file: Path | None, **kwargs: Any) -> Any:
        from taut.cli.client import Client
        from taut.cli.discovery import find

        url, token = find(server, token_file)
        return command(Client(url, token), *args, **kwargs)

    return with_client


def output(command: Callable[..., Any]) -> Callable[..., Any]:
    """The option `-o`, passed as `output`."""
    choice = click.Choice(["table", "json", "yaml"])
    return click.option(
        "-o", "--output", type=choice, default="table", show_default=True, help="How the result is printed."
    )(command)


def application(*, required: bool = True, metavar: str | None = None) -> Decorator:
    """The argument NAME, passed as `name`, completed with what the running taut knows."""
    return click.argument("name", required=required, metavar=metavar, shell_complete=complete_names)


def limit(default: int) -> Decorator:
    """The option `--limit`."""
    return click.option(
        "--limit", type=click.IntRange(1, 10_000), default=default, show_default=True, help="So many at most."
    )


def complete_names(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """The applications whose short name or key begins with what is typed. Silent when no taut answers within a second."""
    import msgspec

    from taut.cli.client import Client
    from taut.cli.discovery import find
    from taut.cli.words import short_names

    class Named(msgspec.Struct):
        key: str

    try:
        url, token = find(ctx.params.get("server"), ctx.params.get("token_file"))
        keys = [a.key for a in Client(url, token, timeout=_COMPLETION_SECONDS).get("/v1/applications", list[Named])]
    except TautError:
        return []
    short = short_names(keys)
    by_short = [name for name in short.values() if name.startswith(incomplete)]
    return sorted(by_short) if by_short else sorted(key for key in keys if key.startswith(incomplete))
