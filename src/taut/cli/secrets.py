"""`taut secrets`: encrypt, edit, rotate and verify files as the sops program keeps them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from taut.cli.data import say
from taut.cli.ending import Exit
from taut.model.errors import BadInput, Where

if TYPE_CHECKING:
    from taut.secrets.sops.files import Format
    from taut.secrets.sops.keys import Keyring
    from taut.secrets.sops.rules import Rule

_FILE = click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
_KEYS = click.option(
    "--key",
    "keys",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="A file with a private key of age or PGP.",
)


def _recipients(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that name recipients, instead of the rules of .sops.yaml."""
    for name, metavar, words in (
        ("--azure-kv", "URL", "A key of Azure: https://name.vault.azure.net/keys/name/version."),
        ("--gcp-kms", "RESOURCE", "A key of Google Cloud KMS."),
        ("--hc-vault-transit", "URI", "A transit key: https://vault.example.com/v1/transit/keys/name."),
        ("--kms", "ARN", "A key of AWS KMS."),
        ("--pgp", "FINGERPRINT", "A PGP key that gpg knows."),
        ("--age", "RECIPIENT", "A public key of age, or of SSH."),
    ):
        command = click.option(name, multiple=True, metavar=metavar, help=words)(command)
    return command


@click.group()
def secrets() -> None:
    """Keep encrypted files, as the sops program does."""


@secrets.command("keygen")
@click.option(
    "-f",
    "--file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The key file.  [default: ~/.config/sops/age/keys.txt]",
)
def keygen_command(file: Path | None) -> int:
    """Make a private key of age, and print its public one: for `--age`, and for the rules in .sops.yaml.

    The file has the form of `age-keygen`, mode 0600, and lies where taut and the sops program look for it. One that is there is never overwritten.
    """
    import pyrage

    library: Any = pyrage

    if file is None:
        base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
        file = Path(base) / "sops" / "age" / "keys.txt"
    identity = library.x25519.Identity.generate()
    public = str(identity.to_public())
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as out:
            out.write(f"# public key: {public}\n{identity}\n")
    except FileExistsError:
        raise BadInput(
            "there is such a file already, and it stays",
            where=Where(file=str(file)),
            advice="name another one by --file",
        ) from None
    except OSError as error:
        raise BadInput(f"the key file cannot be made: {error.strerror}", where=Where(file=str(file))) from None
    click.echo(f"The private key is in {file}; keep it out of Git.", err=True)
    click.echo(public)
    return Exit.DONE


@secrets.command("encrypt")
@_FILE
@_recipients
@click.option("--encrypted-regex", metavar="REGEX", help="Only values below keys that match.")
@click.option("-i", "--in-place", is_flag=True, help="Write the file instead of printing.")
def encrypt_command(
    file: Path,
    age: tuple[str, ...],
    pgp: tuple[str, ...],
    kms: tuple[str, ...],
    hc_vault_transit: tuple[str, ...],
    gcp_kms: tuple[str, ...],
    azure_kv: tuple[str, ...],
    encrypted_regex: str | None,
    in_place: bool,
) -> int:
    """Encrypt FILE for the recipients that .sops.yaml names for it, or the options.

    The result is decrypted and compared before anything is written. Exit codes: 0 done, 2 it cannot be encrypted, with the reason.
    """
    from taut.secrets.sops.files import format_of
    from taut.secrets.sops.keys import Keyring
    from taut.secrets.sops.rules import Rule, rule_for
    from taut.secrets.sops.wrap import Wanted

    def work() -> bytes:
        wanted = Wanted(age, pgp, kms, hc_vault_transit, gcp_kms, azure_kv)
        selection = {"encrypted_regex": encrypted_regex} if encrypted_regex else {}
        rule = rule_for(file) if wanted.empty else Rule((wanted,), selection=selection)
        if rule is None:
            raise BadInput(
                "nobody is named who could read the file",
                advice="name a recipient (--age …), or write a rule into .sops.yaml",
            )
        return _encrypted(file.read_bytes(), format_of(file.name), rule, Keyring.of_environment())

    made = _about(file, work)
    if in_place:
        _replace(file, made)
        say(f"{file.name} is encrypted.")
    else:
        click.echo(made.decode(), nl=False)
    return Exit.DONE


def _encrypted(data: bytes, form: Format, rule: Rule, ring: Keyring) -> bytes:
    """The encrypted file, after it was seen to come back as it was."""
    from taut.secrets.sops.encrypting import encrypt
    from taut.secrets.sops.files import same_values, unsealed

    key = os.urandom(32)
    made = encrypt(data, form, rule, ring, key=key)
    if not same_values(unsealed(made, form, key), data, form):
        raise BadInput(
            "the file would not come back as it is", advice="write it in a simpler style; nothing was changed"
        )
    return made


def _about[T](file: Path, work: Callable[[], T]) -> T:
    """What a function gives; errors name the file."""
    try:
        return work()
    except OSError as error:
        raise BadInput(f"the file cannot be read: {error.strerror}", where=Where(file=str(file))) from None
    except BadInput as error:
        where = error.where if str(error.where) else Where(file=str(file))
        raise BadInput(error.what, where=where, advice=error.advice) from None


def _replace(file: Path, data: bytes) -> None:
    """Write a file as a whole, or not at all, with the rights that it has."""
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(data)
        Path(name).chmod(file.stat().st_mode & 0o777)
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@secrets.command("edit")
@_FILE
@_KEYS
def edit_command(file: Path, keys: tuple[Path, ...]) -> int:
    """Open FILE decrypted in $SOPS_EDITOR, $VISUAL or $EDITOR, and encrypt it again for the same recipients. Values that were not changed stay as they were encrypted.

    The plain text lies in a folder of its own in memory, which nobody else can read, until the editor ends, however it ends. What cannot be encrypted
    is told, and can be mended in the editor.
    """
    from taut.cli.editing import edited
    from taut.secrets.sops.encrypting import encrypt_again
    from taut.secrets.sops.files import decrypt, format_of, same_values, unsealed
    from taut.secrets.sops.keys import Keyring

    form, ring = format_of(file.name), Keyring.of_environment(files=keys)
    before = _about(file, file.read_bytes)
    plain = _about(file, lambda: decrypt(before, form, ring))

    def again(text: bytes) -> bytes:
        made = encrypt_again(text, form, plain)
        if not same_values(unsealed(made, form, plain.key), text, form):
            raise BadInput("the file would not come back as it is", advice="write it in a simpler style")
        return made

    made = edited(plain.text, file, again)
    if made is None:
        say("Nothing was changed.")
        return Exit.DONE
    if file.read_bytes() != before:
        raise BadInput(
            "somebody else has changed the file meanwhile; it was left as it is", where=Where(file=str(file))
        )
    _replace(file, made)
    say(f"{file.name} is encrypted again.")
    return Exit.DONE


def _rule_of(metadata: Any) -> Rule:
    """A rule that encrypts for the recipients that a file has."""
    from taut.secrets.sops.rules import rule_of_metadata

    return rule_of_metadata(metadata)


@secrets.command("rotate")
@_FILE
@_KEYS
@_recipients
@click.option("--remove", multiple=True, metavar="RECIPIENT", help="A recipient that is to read the file no longer.")
def rotate_command(
    file: Path,
    keys: tuple[Path, ...],
    age: tuple[str, ...],
    pgp: tuple[str, ...],
    kms: tuple[str, ...],
    hc_vault_transit: tuple[str, ...],
    gcp_kms: tuple[str, ...],
    azure_kv: tuple[str, ...],
    remove: tuple[str, ...],
) -> int:
    """Encrypt FILE with a new key: for its recipients, those that are named besides, and without those of --remove.

    Who was removed can still read what Git has of earlier commits: change the values too.
    """
    from taut.secrets.sops.files import decrypt, format_of
    from taut.secrets.sops.keys import Keyring
    from taut.secrets.sops.rules import changed
    from taut.secrets.sops.wrap import Wanted

    form, ring = format_of(file.name), Keyring.of_environment(files=keys)

    def work() -> bytes:
        plain = decrypt(file.read_bytes(), form, ring)
        rule = changed(
            _rule_of(plain.metadata), Wanted(age, pgp, kms, hc_vault_transit, gcp_kms, azure_kv), frozenset(remove)
        )
        return _encrypted(plain.text, form, rule, ring)

    _replace(file, _about(file, work))
    say(f"{file.name} has a new key.")
    return Exit.DONE


@secrets.command("verify")
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@_KEYS
def verify_command(paths: tuple[Path, ...], keys: tuple[Path, ...]) -> int:
    """Check every encrypted file at or below PATHS: that it is whole, and where a key is here, that nothing in it was changed.

    Exit codes: 0 all are whole, 2 one is not.
    """
    from taut.secrets.sops.files import checked, format_of, is_encrypted
    from taut.secrets.sops.keys import Keyring

    ring = Keyring.of_environment(files=keys)
    whole = locked = bad = 0
    for file in _encrypted_files(paths):
        data = file.read_bytes()
        if not is_encrypted(data):
            continue
        try:
            if checked(data, format_of(file.name), ring):
                whole += 1
            else:
                locked += 1
        except BadInput as error:
            bad += 1
            click.echo(f"{file}: {error.what}", err=True)
    say(f"{whole} whole, {locked} for which no key is here, {bad} damaged.")
    return Exit.BAD_INPUT if bad else Exit.DONE


def _encrypted_files(paths: tuple[Path, ...]) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        if path.is_file():
            found.append(path)
        else:
            root = path.resolve()
            inside = (p for p in sorted(path.rglob("*")) if p.is_file() and ".git" not in p.parts)
            found += [p for p in inside if p.resolve().is_relative_to(root)]
    return found


@secrets.command("seal")
@_FILE
@click.option(
    "--cert",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The certificate of the Sealed Secrets controller (kubeseal --fetch-cert).",
)
@click.option(
    "--scope",
    type=click.Choice(["strict", "namespace-wide", "cluster-wide"]),
    help="Where the values can be opened.  [default: as the annotations say, else strict]",
)
@click.option("-o", "--output", type=click.Choice(["yaml", "json"]), default="yaml", show_default=True)
def seal_command(file: Path, cert: Path, scope: str | None, output: str) -> int:
    """Print the SealedSecret of each Secret in FILE: only the cluster that the certificate is from can open it."""
    from taut.cli.data import show_data
    from taut.documents.yaml import load_documents
    from taut.secrets.sealed import Scope, seal

    def work() -> list[dict[str, Any]]:
        documents = load_documents(file.read_bytes(), file=str(file))
        certificate = cert.read_bytes()
        return [
            seal(d.body, certificate, Scope(scope) if scope else None) for d in documents if isinstance(d.body, dict)
        ]

    made = _about(file, work)
    if output == "json":
        show_data(made[0] if len(made) == 1 else made, "json")
    else:
        from taut.documents.yaml import dump_all

        click.echo(dump_all(made), nl=False)
    return Exit.DONE
