"""SOPS files as renders meet them: the bridge between what renders and what decrypts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from taut.documents.yaml import load_documents
from taut.model.errors import BadInput
from taut.render.protocols import LockedError, Opened
from taut.secrets.sops.errors import NoKeyError
from taut.secrets.sops.keys import Keyring
from taut.secrets.sops.keysets import material

_MOST_BYTES = 4 * 1024 * 1024
"""Twice what an object may have, encrypted. Files are read before a key is tried, so a stranger can have many of them read."""


@dataclass(frozen=True)
class SopsDecrypter:
    """Opens files with one keyring. `advice` is told where no key fits."""

    keyring: Keyring = field(repr=False)
    advice: str = ""

    def identity(self, seal: Callable[[bytes], str]) -> str:
        """A keyed hash of the keys."""
        return seal(b"".join(len(part).to_bytes(8) + part for part in material(self.keyring)))

    def open(self, data: bytes, path: str) -> Opened | None:
        """The plain file; None when sops did not make it. Raises LockedError when no key fits, BadInput when it is damaged."""
        # Most fleets never meet such a file.
        from taut.secrets.sops.files import Format, decrypt, form_of, format_of

        form = form_of(data, path)
        if form is None:
            return None
        if len(data) > _MOST_BYTES:
            raise BadInput(
                f"the encrypted file has {len(data)} bytes, more than {_MOST_BYTES}",
                advice="split it, or exclude it: nothing of that size fits into an object",
            )
        try:
            plain = decrypt(data, form, self.keyring)
        except NoKeyError as error:
            raise LockedError(error.what, advice=self.advice or error.advice) from None
        except BadInput:
            if format_of(path) is Format.BINARY and form is not Format.BINARY:
                return None  # neither its name nor its content is that of an encrypted file: a text about them
            raise
        public = set(_public(plain.text)) if form in (Format.YAML, Format.JSON) else set[str]()
        return Opened(plain.text, tuple(v for v in plain.values if v not in public))


def _public(text: bytes) -> Iterator[str]:
    """What says which object a document is: secret to nobody, also where the whole file is encrypted."""
    try:
        bodies = [d.body for d in load_documents(text)]
    except BadInput:
        return
    for body in bodies:
        if isinstance(body, dict) and body.get("apiVersion") and body.get("kind"):
            yield from _texts([body.get(k) for k in ("apiVersion", "kind", "metadata", "type")])


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)
    else:
        yield str(value)


def of_person(keys: tuple[Path, ...] = ()) -> SopsDecrypter:
    """With the keys of a person's environment, as `taut decrypt` finds them, and those in `keys`. Raises SopsError for a key file."""
    return SopsDecrypter(
        Keyring.of_environment(files=keys),
        "give one of these keys (SOPS_AGE_KEY_FILE, …, as for taut decrypt), or leave it encrypted with --no-decrypt",
    )
