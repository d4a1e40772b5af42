"""`taut run`: keep what runs to what Git says, until it is told to stop."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import click

from taut.cli.ending import Exit
from taut.model.visible import one_line


@click.command()
@click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("taut.yaml"),
    show_default=True,
    help="The file that names the store, the clusters and the roots.",
)
def run(config: Path) -> int:
    """Keep what runs to what Git says, until Ctrl-C or SIGTERM.

    What is under way is stored before it is done: taut may be stopped, or killed, at any time, and the next start continues.
    """
    return asyncio.run(_run(config))


async def _run(config: Path) -> int:
    from taut.controller.run import run as keep_running
    from taut.server.controlled import serve_controller

    loop = asyncio.get_running_loop()
    work = asyncio.ensure_future(keep_running(config, serve=serve_controller, say=_say))
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, work.cancel)
    try:
        await work
    except asyncio.CancelledError:
        _say("Stopped. What was under way continues with the next start.")
    return Exit.DONE


def _say(sentence: str) -> None:
    """One fact a line; a reader of a pipe sees it at once. A reader that went away does not stop taut."""
    try:
        sys.stdout.write(one_line(sentence) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        sys.stdout = open("/dev/null", "w", encoding="utf-8")  # noqa: SIM115 (it stays open as long as the process)
