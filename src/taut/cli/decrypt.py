"""`taut decrypt`: the plain document of a file that sops encrypted."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from taut.cli.ending import Exit
from taut.model.errors import BadInput, Where

_FORMATS = click.Choice(["yaml", "json", "dotenv", "ini", "binary"])


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--input-type", type=_FORMATS, help="How the file is written.  [default: by its name]")
@click.option("--extract", "path", metavar="PATH", help="""Only one value: '["a"]["b"][0]'.""")
@click.option(
    "--key",
    "keys",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="A file with a private key of age or PGP.",
)
def decrypt(file: Path, input_type: str | None, path: str | None, keys: tuple[Path, ...]) -> int:
    """Print the plain document of FILE, which sops or `taut secrets encrypt` encrypted.

    Keys are found as sops finds them: SOPS_AGE_KEY, SOPS_AGE_KEY_FILE, SOPS_AGE_SSH_PRIVATE_KEY_FILE, the user's age keys and gpg, AWS
    credentials, VAULT_ADDR with VAULT_TOKEN; and in the files of --key. A token is sent to the server that VAULT_ADDR names, and to no other.

    Exit codes: 0 done, 2 it cannot be decrypted, with the reason.
    """
    from taut.secrets.sops.extract import extract as take
    from taut.secrets.sops.files import Format, format_of
    from taut.secrets.sops.files import decrypt as open_file
    from taut.secrets.sops.keys import Keyring

    form = Format(input_type) if input_type else format_of(file.name)
    try:
        plain = open_file(file.read_bytes(), form, Keyring.of_environment(files=keys))
        text = take(plain.text, form, path) if path else plain.text
    except OSError as error:
        raise BadInput(f"the file cannot be read: {error.strerror}", where=Where(file=str(file))) from None
    except BadInput as error:
        raise BadInput(error.what, where=Where(file=str(file)), advice=error.advice) from None
    sys.stdout.buffer.write(text)
    return Exit.DONE
