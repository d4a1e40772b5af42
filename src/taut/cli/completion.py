"""`taut completion`: scripts for shells."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

_HOW = {
    "bash": '# Put this in ~/.bashrc:  eval "$(taut completion bash)"\n',
    "zsh": '# Put this in ~/.zshrc, after compinit:  eval "$(taut completion zsh)"\n',
    "fish": "# Put this in ~/.config/fish/completions/taut.fish:  taut completion fish | source\n",
}


@click.command()
@click.argument("shell", type=click.Choice(list(_HOW)))
def completion(shell: str) -> None:
    """Print the completion script for a shell. Names of applications are asked from the running taut."""
    from taut.cli.main import cli

    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"There is no completion for {shell}")
    # `source` of the class for bash starts bash to look at its version; the script itself needs no shell to be printed.
    script = kind(cli, {}, "taut", "_TAUT_COMPLETE")
    click.echo(_HOW[shell] + script.source_template % script.source_vars())
