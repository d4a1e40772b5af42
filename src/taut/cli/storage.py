"""`taut store`: look after taut's own store while no taut uses it."""

from __future__ import annotations

import asyncio
import getpass
from pathlib import Path

import click

from taut.cli.data import say
from taut.cli.ending import Exit
from taut.model.errors import BadInput, TautError, Where

_PATH = click.argument("path", type=click.Path(dir_okay=False, path_type=Path))


@click.group()
def store() -> None:
    """Look after taut's own store. It must not be in use."""


@store.command("set-aside")
@_PATH
@click.option("--key", "key_too", is_flag=True, help="The key file as well.")
def set_aside_command(path: Path, key_too: bool) -> None:
    """Rename a damaged store, so that the next start makes a new one.

    Inventories are then rebuilt from the objects in the clusters, and the first prune asks. History, drift and audit stay in the renamed file.
    """
    from taut.store.files import set_aside

    for moved in set_aside(path, key_too=key_too):
        say(f"{moved.name}")
    say("The store is set aside. The next `taut run` makes a new one and rebuilds its inventories.")


@store.command("rotate-key")
@_PATH
def rotate_key_command(path: Path) -> None:
    """Give the store a new key file: what is sealed is sealed anew, and the old key is removed.

    taut must not run on the store. Nothing is written to a cluster, neither now nor at the next start. When it was interrupted, run it again: a store
    that is half done opens all the same.
    """
    from taut.store.rotation import rotate_key

    if rotate_key(path, by=f"{_user()} (taut store rotate-key)"):
        say(
            "The store has a new key, and the old one is removed. Copies of the store from before open with the old key alone."
        )
    else:
        say(
            "An exchange of the key that was interrupted is finished: the store has a new key, and the old one is removed."
        )


@store.command("verify")
@_PATH
def verify(path: Path) -> int:
    """Check the store's file and the hash chain of its audit. Ends with 1 when either is broken."""
    if not path.exists():
        raise BadInput("There is no store", where=Where(file=str(path)), advice="check the path")
    broken = asyncio.run(_verify(path))
    if broken is not None:
        raise TautError(
            f"The audit is broken at entry {broken}: it was changed or removed",
            where=Where(file=str(path)),
            advice="compare it with a backup; entries before it are as they were written",
        )
    say("The store is whole, and so is its audit.")
    return Exit.DONE


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "somebody"


async def _verify(path: Path) -> int | None:
    from taut.store.store import Store

    store = Store.open(path)
    try:
        return await store.verify_audit()
    finally:
        await store.close()
