"""`taut`: the commands, and how each of them ends."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from taut.cli.ending import run_command
from taut.cli.lazy import LazyGroup

COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("taut.cli.init:init", "Make a working repository with two environments."),
    "run": ("taut.cli.run:run", "Keep what runs to what Git says."),
    "status": ("taut.cli.status:status", "Show all applications, what is wrong first."),
    "get": ("taut.cli.get:get", "Show one application and its objects."),
    "tree": ("taut.cli.tree:tree", "Show an application's objects down to Pods."),
    "diff": ("taut.cli.diff:diff", "Show what a sync would change."),
    "sync": ("taut.cli.sync:sync", "Sync an application now."),
    "refresh": ("taut.cli.actions:refresh", "Look at the sources at once."),
    "abort": ("taut.cli.actions:abort", "Stop a running operation before its next step."),
    "approve": ("taut.cli.approve:approve", "Let a held plan pass, after looking at it."),
    "suspend": ("taut.cli.actions:suspend", "Leave an application alone."),
    "resume": ("taut.cli.actions:resume", "Look after a suspended application again."),
    "restart": ("taut.cli.actions:restart", "Restart the Pods of workloads by a rolling update."),
    "history": ("taut.cli.past:history", "Show what was done to an application."),
    "drift": ("taut.cli.past:drift", "Show what was changed by hand: who, which field, when."),
    "events": ("taut.cli.past:events", "Show what happened lately."),
    "audit": ("taut.cli.past:audit", "Show who asked taut for what."),
    "auth": ("taut.cli.auth:auth", "See who you are and what you may do; tokens for machines."),
    "alerts": ("taut.cli.alerts:alerts", "Show who is told of what, and how a message reads."),
    "orphans": ("taut.cli.past:orphans", "Show objects that nobody declares."),
    "render": ("taut.cli.render:render", "Render a folder to manifests, without a cluster."),
    "health": ("taut.cli.health:health", "Tell the health of objects in a file, without a cluster."),
    "check": ("taut.cli.check:check", "Check a working copy before it is pushed."),
    "decrypt": ("taut.cli.decrypt:decrypt", "Print the plain document of an encrypted file."),
    "secrets": ("taut.cli.secrets:secrets", "Encrypt, edit, rotate and verify encrypted files."),
    "schema": ("taut.cli.schema:schema", "Print the JSON Schemas of taut's documents."),
    "localplane": ("taut.cli.localplane:localplane", "Start and stop a real Kubernetes control plane on this machine."),
    "store": ("taut.cli.storage:store", "Look after taut's own store."),
    "completion": ("taut.cli.completion:completion", "Print the completion script for a shell."),
    "version": ("taut.cli.version:version", "Print taut's version."),
}
"""Name → (where the command is, its line in the help)."""

EPILOG = "Exit codes: 0 done, 1 failed, 2 wrong usage or bad input, 3 differences found, 4 held for approval."


@click.command(
    cls=LazyGroup,
    lazy=COMMANDS,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
def cli() -> None:
    """taut keeps what runs taut to Git."""


def main(args: Sequence[str] | None = None) -> None:
    """The entry point of the `taut` program: run a command and end the process with its exit code."""
    sys.exit(run_command(cli, args))


if __name__ == "__main__":
    main()
