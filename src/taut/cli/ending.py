"""How a command ends: one clear sentence on stderr where something is wrong, and the exit code that scripts rely on."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from enum import IntEnum

import click

from taut.model.errors import TautError
from taut.model.visible import clean


class Exit(IntEnum):
    """The exit codes (a contract with scripts)."""

    DONE = 0
    FAILED = 1
    BAD_INPUT = 2
    DIFFERENT = 3
    HELD = 4
    INTERRUPTED = 130


def run_command(command: click.Command, args: Sequence[str] | None = None) -> int:
    """Run `command` with `args` (default: the process's); its exit code comes out. Errors are told on stderr."""
    try:
        result = command.main(args=args, prog_name="taut", standalone_mode=False)
    except click.UsageError as error:
        return _usage(error)
    except click.Abort:
        click.echo("Stopped.", err=True)
        return Exit.INTERRUPTED
    except click.ClickException as error:
        return _tell(error.format_message(), "", int(error.exit_code))
    except TautError as error:
        place = str(error.where)
        return _tell(f"{place}: {error.what}" if place else error.what, error.advice, error.code)
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # The reader (`| head`) has enough. Nothing more may be written, also not by the interpreter's own last flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.DONE
    return int(result) if isinstance(result, int) else Exit.DONE


def _usage(error: click.UsageError) -> int:
    where = error.ctx.command_path if error.ctx is not None else "taut"
    return _tell(error.format_message(), f"`{where} --help` explains the usage", Exit.BAD_INPUT)


def _tell(what: str, advice: str, code: int) -> int:
    click.echo(f"Error: {clean(what)}", err=True)
    if advice:
        click.echo(f"  {clean(advice)}", err=True)
    return code
