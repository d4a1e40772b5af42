"""SOPS files as renders meet them: the bridge between what renders and what decrypts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from taut.render.protocols import LockedError, Opened
from taut.secrets.sops.errors import NoKeyError, SopsError
from taut.secrets.sops.files import Format, decrypt, form_of, format_of
from taut.secrets.sops.keys import Keyring
from taut.secrets.sops.keysets import material


@dataclass(frozen=True)
class SopsDecrypter:
    """Opens files with one keyring. `advice` is told where no key fits."""

    keyring: Keyring = field(repr=False)
    advice: str = ""

    def identity(self, seal: Callable[[bytes], str]) -> str:
        """A keyed hash of the keys."""
        return seal(b"".join(len(part).to_bytes(8) + part for part in material(self.keyring)))

    def open(self, data: bytes, path: str) -> Opened | None:
        """The plain file; None when sops did not make it. Raises LockedError when no key fits, SopsError when it is damaged."""
        form = form_of(data, path)
        if form is None:
            return None
        try:
            plain = decrypt(data, form, self.keyring)
        except NoKeyError as error:
            raise LockedError(error.what, advice=self.advice or error.advice) from None
        except SopsError:
            if format_of(path) is Format.BINARY and form is not Format.BINARY:
                return None  # neither its name nor its content is that of an encrypted file: a text about them
            raise
        return Opened(plain.text, plain.values)


def of_person(keys: tuple[Path, ...] = ()) -> SopsDecrypter:
    """With the keys of a person's environment, as `taut decrypt` finds them, and those in `keys`. Raises SopsError for a key file."""
    return SopsDecrypter(
        Keyring.of_environment(files=keys),
        "give one of these keys (SOPS_AGE_KEY_FILE, …, as for taut decrypt), or leave it encrypted with --no-decrypt",
    )
