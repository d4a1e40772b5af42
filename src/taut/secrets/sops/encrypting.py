"""Encrypting files so that the sops program reads them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from taut.secrets.sops import yaml_text
from taut.secrets.sops.errors import SopsError
from taut.secrets.sops.files import Format, Leaf, Plain, ini_lines, is_encrypted, leaf_of, sops_moment
from taut.secrets.sops.keys import Keyring
from taut.secrets.sops.metadata import flattened
from taut.secrets.sops.rules import Rule
from taut.secrets.sops.trees import DEFAULT_SUFFIX, Branch, Selection, mac_of, mapped
from taut.secrets.sops.values import Comment, encrypt_leaf
from taut.secrets.sops.wrap import wrapped

VERSION = "3.11.0"
"""The version of the format that is written."""


def encrypt_again(data: bytes, form: Format, before: Plain) -> bytes:
    """A file that was opened, changed: for the same recipients, with the same key; what was not changed stays as it was encrypted. Raises as `encrypt` does."""
    if is_encrypted(data):
        raise SopsError("the text holds what an encrypted file holds", advice="take the sops part out of it")
    fields = before.metadata.fields
    sealer = _Sealer(before.key, fields, Selection.of(fields), before.leaves)
    return sealer.sealed(data, form)


def encrypt(data: bytes, form: Format, rule: Rule, keyring: Keyring, *, key: bytes | None = None) -> bytes:
    """The encrypted file. Raises SopsError for a file that is encrypted already, cannot be read, or uses what cannot be kept (YAML's anchors, tags)."""
    if is_encrypted(data):
        raise SopsError("the file is encrypted already", advice="change it with `taut secrets edit`")
    key = key or os.urandom(32)
    fields: dict[str, Any] = {**wrapped(key, rule.groups, rule.threshold, keyring)}
    fields |= rule.selection or {"unencrypted_suffix": DEFAULT_SUFFIX}
    if rule.mac_only_encrypted:
        fields["mac_only_encrypted"] = True
    return _Sealer(key, fields, Selection.of(fields)).sealed(data, form)


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _document(data: bytes) -> dict[str, Any]:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        raise SopsError("the file is no JSON") from None
    if not isinstance(document, dict):
        raise SopsError("only an object can be encrypted: the metadata have to find a place in it")
    return document


class _Sealer:
    def __init__(
        self, key: bytes, fields: Mapping[str, Any], selection: Selection, leaves: Mapping[Leaf, str] | None = None
    ) -> None:
        self._key = key
        self._fields = fields
        self._selection = selection
        self._leaves = leaves or {}

    def sealed(self, data: bytes, form: Format) -> bytes:
        """A plain file, encrypted."""
        match form:
            case Format.YAML:
                return self.yaml(data)
            case Format.JSON:
                return self.json(_document(data))
            case Format.BINARY:
                return self.json({"data": data.decode() if _is_text(data) else data})
            case Format.DOTENV:
                return self.dotenv(data.decode())
            case Format.INI:
                return self.ini(data.decode())

    def _metadata(self, documents: list[Any]) -> dict[str, Any]:
        modified = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        only = str(self._fields.get("mac_only_encrypted") or "").lower() == "true"
        mac = mac_of(documents, self._selection, only_encrypted=only)
        return {
            **self._fields,
            "lastmodified": modified,
            "mac": encrypt_leaf(mac, self._key, sops_moment(modified)),
            "version": VERSION,
        }

    def _leaf(self, value: Any, path: str, chosen: bool) -> Any:
        return self._encrypted(value, path) if chosen else value

    def _encrypted(self, value: Any, path: str) -> Any:
        if value is None or value == "":
            return value
        return self._leaves.get(leaf_of(path, value)) or encrypt_leaf(value, self._key, path)

    def json(self, document: dict[str, Any]) -> bytes:
        metadata = self._metadata([document])
        done = {**mapped(document, self._leaf, self._selection), "sops": metadata}
        return (json.dumps(done, indent="\t", ensure_ascii=False) + "\n").encode()

    def yaml(self, data: bytes) -> bytes:
        source = yaml_text.read(data)
        yaml_text.refuse_what_is_lost(source)
        values = [
            [
                self._leaf(leaf.value, "".join(f"{s}:" for s in leaf.path), self._selection.encrypts(leaf.path))
                for leaf in leaves
            ]
            for leaves in source.documents
        ]
        branches = [Branch(tuple((leaf.path, leaf.value) for leaf in leaves)) for leaves in source.documents]
        block = yaml_text.block({"sops": self._metadata(branches)})
        return yaml_text.sealed(source, values, block, self._comment).encode()

    def _comment(self, text: str, owner: tuple[str, ...]) -> str:
        if not self._selection.encrypts(owner) or not text.strip():
            return text
        return str(self._encrypted(Comment(text), ":".join(owner) + ":"))

    def dotenv(self, text: str) -> bytes:
        lines: list[str] = []
        pairs: list[tuple[tuple[str, ...], Any]] = []
        for line in text.splitlines():
            key, equals, value = line.partition("=")
            if not line.strip():
                continue
            if line.startswith("#"):
                lines.append("#" + self._comment(line[1:], ()))
            elif not equals:
                raise SopsError("a line of the file is no assignment")
            else:
                plain = value.replace("\\n", "\n")
                pairs.append(((key,), plain))
                lines.append(f"{key}={self._leaf(plain, f'{key}:', self._selection.encrypts((key,)))}")
        metadata = sorted(flattened(self._metadata([Branch(tuple(pairs))])))
        return ("\n".join([*lines, *(f"sops_{k}={v}" for k, v in metadata)]) + "\n").encode()

    def ini(self, text: str) -> bytes:
        done: list[str] = []
        pairs: list[tuple[tuple[str, ...], Any]] = []
        lines = ini_lines(text)[0]
        for key, section, value in lines:
            if key == "[":
                done.append(f"[{section}]")
            elif key == ";":
                done.append(f"{value[:1]} {self._comment(value[1:].strip(), (section,))}" if value else "")
            else:
                pairs.append(((section, key), value))
                path = f"{section}:{key}:"
                width = max(len(k) for k, s, _ in lines if s == section and k not in "[;")
                chosen = self._selection.encrypts((section, key))
                done.append(f"{key.ljust(width)} = {self._leaf(value, path, chosen)}")
        metadata = sorted(flattened(self._metadata([Branch(tuple(pairs))])))
        width = max(len(k) for k, _ in metadata)
        return ("\n".join([*done, "", "[sops]", *(f"{k.ljust(width)} = {v}" for k, v in metadata)]) + "\n").encode()
