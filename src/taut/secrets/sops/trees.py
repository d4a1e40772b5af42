"""Walking a document: which leaves are encrypted, and what the MAC is computed over (SOPS, Tree)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from taut.secrets.sops.errors import SopsError
from taut.secrets.sops.expressions import found as fits
from taut.secrets.sops.values import plain_of

_MAC_ONLY_ENCRYPTED = bytes.fromhex("8a3fd2ad54ce66527b1034f3d147be0b0b975b3bf44f72c6fdadec8176f27d69")
DEFAULT_SUFFIX = "_unencrypted"
_DEEPEST = 200


@dataclass(frozen=True, slots=True)
class Selection:
    """Which leaves of a document are encrypted, by the keys on the way to them. At most one rule is set."""

    unencrypted_suffix: str = ""
    encrypted_suffix: str = ""
    unencrypted_regex: str = ""
    encrypted_regex: str = ""

    @staticmethod
    def of(metadata: Mapping[str, Any]) -> Selection:
        """As a file's metadata tells. Raises SopsError for a regular expression that cannot be read."""
        found = Selection(
            str(metadata.get("unencrypted_suffix") or ""),
            str(metadata.get("encrypted_suffix") or ""),
            str(metadata.get("unencrypted_regex") or ""),
            str(metadata.get("encrypted_regex") or ""),
        )
        for text in (found.unencrypted_regex, found.encrypted_regex):
            fits(text, "")
        return found

    def encrypts(self, path: tuple[str, ...]) -> bool:
        """Whether the leaves below a path are encrypted."""
        chosen = True
        if self.unencrypted_suffix and any(k.endswith(self.unencrypted_suffix) for k in path):
            chosen = False
        if self.encrypted_suffix:
            chosen = any(k.endswith(self.encrypted_suffix) for k in path)
        if self.unencrypted_regex:
            chosen = not any(fits(self.unencrypted_regex, k) for k in path)
        if self.encrypted_regex:
            chosen = any(fits(self.encrypted_regex, k) for k in path)
        return chosen


@dataclass(frozen=True, slots=True)
class Branch:
    """A document as its leaves and their paths, in the order of the file."""

    pairs: tuple[tuple[tuple[str, ...], Any], ...]


type Change = Callable[[Any, str, bool], Any]
"""From a leaf, its path (keys, each followed by `:`) and whether it is chosen, to the new leaf."""


def mapped(value: Any, change: Change, selection: Selection, path: tuple[str, ...] = ()) -> Any:
    """A document with every leaf changed. Positions in lists are not part of a path. Raises SopsError when it is nested too deeply."""
    if len(path) > _DEEPEST:
        raise SopsError(f"the document is nested more than {_DEEPEST} deep")
    if isinstance(value, dict):
        return {k: mapped(v, change, selection, (*path, str(k))) for k, v in value.items()}
    if isinstance(value, list):
        return [mapped(v, change, selection, path) for v in value]
    return change(value, "".join(f"{p}:" for p in path), selection.encrypts(path))


def leaves(value: Any, selection: Selection, path: tuple[str, ...] = ()) -> Iterator[tuple[Any, bool]]:
    """The leaves in the document's order, and whether each is chosen."""
    if isinstance(value, Branch):
        for place, leaf in value.pairs:
            yield leaf, selection.encrypts(place)
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, selection, (*path, str(key)))
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner, selection, path)
    else:
        yield value, selection.encrypts(path)


def mac_of(documents: list[Any], selection: Selection, *, only_encrypted: bool) -> str:
    """The MAC over the plain leaves of all documents of a file: SHA-512 in upper-case hexadecimal."""
    digest = hashlib.sha512()
    if only_encrypted:
        digest.update(_MAC_ONLY_ENCRYPTED)
    for document in documents:
        for leaf, chosen in leaves(document, selection):
            if leaf is not None and (chosen or not only_encrypted):
                digest.update(plain_of(leaf)[0])
    return digest.hexdigest().upper()
