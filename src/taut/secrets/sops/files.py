"""Encrypted files in all their formats: decrypted and checked in memory."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from taut.secrets.sops import yaml_text
from taut.secrets.sops.errors import NoKeyError, SopsError
from taut.secrets.sops.keys import Keyring, data_key
from taut.secrets.sops.metadata import Metadata, parse, unflattened
from taut.secrets.sops.trees import Branch, Selection, mac_of, mapped
from taut.secrets.sops.values import Comment, decrypt_leaf, is_encrypted_leaf, plain_of

_MOST_BYTES = 16 * 1024 * 1024


class Format(StrEnum):
    """How a file is written."""

    YAML = "yaml"
    JSON = "json"
    DOTENV = "dotenv"
    INI = "ini"
    BINARY = "binary"


_SUFFIXES = {".yaml": Format.YAML, ".yml": Format.YAML, ".json": Format.JSON, ".env": Format.DOTENV, ".ini": Format.INI}


def format_of(name: str) -> Format:
    """The format of a file of that name, as sops takes it: what has no known ending is binary."""
    return next((f for s, f in _SUFFIXES.items() if name.endswith(s)), Format.BINARY)


def is_encrypted(data: bytes) -> bool:
    """A quick test: whether this may be a file of sops."""
    return b"ENC[AES256_GCM," in data and b"sops" in data


_MARKS = (
    (Format.JSON, re.compile(rb'"sops"\s*:\s*\{')),
    (Format.DOTENV, re.compile(rb"^sops_(?:mac|version|lastmodified)\s*=", re.MULTILINE)),
    (Format.INI, re.compile(rb"^\[sops\]\s*$", re.MULTILINE)),
    (Format.YAML, re.compile(rb"""^["']?sops["']?\s*:(?:\s|$)""", re.MULTILINE)),
)
_OF_AN_OPERATOR = re.compile(rb"^kind:\s*SopsSecret\s*$", re.MULTILINE)


def form_of(data: bytes, name: str) -> Format | None:
    """How an encrypted file is written, by its metadata and then its name; None for one that sops did not make.

    A file of a name that tells nothing is binary when sops would have made it so: JSON with `data` alone. The SopsSecret of an operator
    counts as none: it is meant to reach the cluster encrypted.
    """
    if not is_encrypted(data) or _OF_AN_OPERATOR.search(data):
        return None
    written = [form for form, mark in _MARKS if mark.search(data)]
    if not written:
        return None
    named = format_of(name)
    if named in written:
        return named
    if data.lstrip().startswith(b"{") and Format.JSON in written:
        # YAML is a superset, and what was encrypted as binary is JSON whatever its name.
        return Format.YAML if named is Format.YAML else _json_or_binary(data)
    return next((form for form in written if form is not Format.JSON), None)


def _json_or_binary(data: bytes) -> Format:
    try:
        keys = json.loads(data).keys()
    except (ValueError, RecursionError, AttributeError):
        return Format.JSON
    return Format.BINARY if keys == {"data", "sops"} else Format.JSON


type Leaf = tuple[str, str, bytes]
"""Where a value stands, what it is, and what it says."""


def leaf_of(path: str, plain: Any) -> Leaf:
    """What tells a value from others. JSON has one kind of numbers where sops has two."""
    data, kind = plain_of(plain)
    return path, "number" if kind in ("int", "float") else kind, data


@dataclass(frozen=True)
class Plain:
    """A decrypted file. Never printed by itself: `text` is secret."""

    text: bytes = field(repr=False)
    metadata: Metadata = field(repr=False)
    documents: tuple[Any, ...] = field(default=(), repr=False)
    values: tuple[str, ...] = field(default=(), repr=False)
    """What was encrypted in it, comments too, as text; switches (true, false) are not told."""
    key: bytes = field(default=b"", repr=False)
    """The data key."""
    leaves: Mapping[Leaf, str] = field(default_factory=dict, repr=False)
    """How each value was encrypted: one that stays as it is can stay so in Git, too."""


def decrypt(data: bytes, form: Format, keyring: Keyring | bytes) -> Plain:
    """The plain file. Raises SopsError (BadInput) with the reason: no metadata, no key that fits, a value or a MAC that was changed.

    `keyring` may be the data key itself.
    """
    if len(data) > _MOST_BYTES:
        raise SopsError("the file is larger than 16 MiB")
    try:
        data.decode()
    except UnicodeDecodeError:
        raise SopsError("the file is no text: it is not encrypted by sops, or damaged") from None
    match form:
        case Format.YAML:
            return _yaml(data, keyring)
        case Format.JSON | Format.BINARY:
            return _json(data, keyring, binary=form is Format.BINARY)
        case Format.DOTENV:
            return _dotenv(data.decode(), keyring)
        case Format.INI:
            return _ini(data.decode(), keyring)


def unsealed(data: bytes, form: Format, key: bytes) -> bytes:
    """The plain text of a file whose data key is known."""
    return decrypt(data, form, key).text


def same_values(one: bytes, other: bytes, form: Format) -> bool:
    """Whether two plain files say the same, whatever their style."""
    match form:
        case Format.YAML:
            first, second = (
                [[(leaf.path, leaf.value) for leaf in leaves] for leaves in yaml_text.read(data).documents]
                for data in (one, other)
            )
            return first == second
        case Format.JSON:
            return json.loads(one) == json.loads(other)
        case Format.DOTENV:
            return _filled(one) == _filled(other)
        case Format.INI:
            first, second = ([x for x in ini_lines(d.decode())[0] if x[0] != ";"] for d in (one, other))
            return first == second
        case Format.BINARY:
            return one == other


def _filled(data: bytes) -> list[str]:
    return [line for line in data.decode().splitlines() if line.strip()]


def checked(data: bytes, form: Format, keyring: Keyring) -> bool:
    """Whether a key was here to check all of a file. Raises BadInput for one that is damaged."""
    try:
        decrypt(data, form, keyring)
    except NoKeyError:
        return False
    return True


@dataclass(frozen=True)
class _Opened:
    metadata: Metadata
    key: bytes = field(repr=False)
    selection: Selection
    found: list[Any] = field(default_factory=list[Any], repr=False)
    leaves: dict[Leaf, str] = field(default_factory=dict["Leaf", str], repr=False)

    @staticmethod
    def of(fields: Any, keyring: Keyring | bytes) -> _Opened:
        metadata = parse(fields)
        selection = Selection.of(metadata.fields)
        key = keyring if isinstance(keyring, bytes) else data_key(metadata, keyring)
        return _Opened(metadata, key, selection)

    def leaf(self, value: Any, path: str, chosen: bool) -> Any:
        """A leaf's plain value. What should be encrypted and is not is passed on, as sops does: the MAC tells."""
        if is_encrypted_leaf(value) and (chosen or self._by_comment):
            plain = decrypt_leaf(value, self.key, path)
            self._note(path, plain, value)
            return plain
        return value

    def _note(self, path: str, plain: Any, value: Any) -> None:
        self.found.append(plain)
        self.leaves[leaf_of(path, plain)] = str(value)

    def plain(self, text: bytes, documents: tuple[Any, ...] = ()) -> Plain:
        """The file, opened."""
        return Plain(text, self.metadata, documents, self.values, self.key, self.leaves)

    @property
    def values(self) -> tuple[str, ...]:
        """All that was decrypted, as text."""
        return tuple(dict.fromkeys(_as_text(v) for v in self.found if not isinstance(v, bool)))

    def counts(self, value: Any, plain: Any) -> bool:
        """Whether a leaf goes into the MAC; which leaves a comment chose is told by what was encrypted."""
        return not (self._only and self._by_comment) or plain is not value

    @property
    def _only(self) -> bool:
        return str(self.metadata.fields.get("mac_only_encrypted") or "").lower() == "true"

    @property
    def _by_comment(self) -> bool:
        fields = self.metadata.fields
        return bool(fields.get("encrypted_comment_regex") or fields.get("unencrypted_comment_regex"))

    def comment(self, text: str, owners: list[tuple[str, ...]]) -> str:
        """An encrypted comment: its path is that of the mapping it stands in, which its place alone does not tell for certain."""
        failed: SopsError | None = None
        for owner in owners:
            try:
                path = ":".join(owner) + ":"
                plain = str(decrypt_leaf(text, self.key, path))
                self._note(path, Comment(plain), text)
                return plain
            except SopsError as error:
                failed = failed or error
        raise failed or SopsError("a comment belongs to nothing")

    def check(self, documents: list[Any]) -> None:
        """Compare the MAC. Raises SopsError when it differs."""
        modified = sops_moment(self.metadata.modified)
        try:
            stored = decrypt_leaf(self.metadata.mac, self.key, modified)
        except SopsError:
            raise SopsError(
                "the MAC was changed after the file was encrypted, or its date was", advice="restore the file from Git"
            ) from None
        if mac_of(documents, self.selection, only_encrypted=self._only) != stored:
            raise SopsError(
                "the MAC does not fit: values were added, removed, moved or changed after the file was encrypted",
                advice="restore the file from Git, or look at the values and encrypt the file again",
            )


def _as_text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return plain_of(value)[0].decode()


def sops_moment(text: str) -> str:
    """The date as sops writes it into the additional data (RFC 3339, whole seconds)."""
    if re.match(r"^\d{4}-\d\d-\d\d[ T]", text):
        try:
            return datetime.fromisoformat(text).strftime("%Y-%m-%dT%H:%M:%S") + _zone(text)
        except ValueError:
            return text
    return text


def _zone(text: str) -> str:
    found = re.search(r"(?:Z|[+-]\d\d:\d\d)$", text)
    return "Z" if not found or found[0] in {"Z", "+00:00"} else found[0]


def _yaml(data: bytes, keyring: Keyring | bytes) -> Plain:
    source = yaml_text.read(data)
    opened = _Opened.of(source.metadata, keyring)
    values = [
        [opened.leaf(leaf.value, _path(leaf.path), opened.selection.encrypts(leaf.path)) for leaf in leaves_]
        for leaves_ in source.documents
    ]
    opened.check(
        [
            Branch(tuple((x.path, v) for x, v in zip(document, new, strict=True) if opened.counts(x.value, v)))
            for document, new in zip(source.documents, values, strict=True)
        ]
    )
    text = yaml_text.replaced(source, values, opened.comment)
    return opened.plain(text.encode())


def _path(steps: tuple[str, ...]) -> str:
    return "".join(f"{s}:" for s in steps)


def _json(data: bytes, keyring: Keyring | bytes, *, binary: bool) -> Plain:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        raise SopsError("the file is no JSON: it is not encrypted by sops, or was cut off") from None
    if not isinstance(document, dict):
        raise SopsError("the file has no sops metadata")
    opened = _Opened.of(document.pop("sops", None), keyring)
    plain = mapped(document, opened.leaf, opened.selection)
    opened.check([plain])
    if binary:
        value = plain.get("data")
        text = value if isinstance(value, bytes) else str(value).encode()
        return opened.plain(text, (plain,))
    whole = mapped(plain, lambda leaf, *_: _whole(leaf), opened.selection)
    text = json.dumps(whole, indent="\t", ensure_ascii=False) + "\n"
    return opened.plain(text.encode(), (plain,))


def _whole(value: Any) -> Any:
    """A number as JSON writes it: sops keeps all of them as floats."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value


def _dotenv(text: str, keyring: Keyring | bytes) -> Plain:
    pairs: list[tuple[str, str]] = []
    fields: dict[str, str] = {}
    for line in text.splitlines():
        if not line.strip():
            continue
        if line.startswith("#"):
            pairs.append(("#", line[1:]))
            continue
        key, equals, value = line.partition("=")
        if not equals:
            raise SopsError("a line of the file is no assignment", advice="restore the file from Git")
        if key.startswith("sops_"):
            fields[key.removeprefix("sops_")] = value
        else:
            pairs.append((key, value.replace("\\n", "\n")))
    opened = _Opened.of(unflattened(fields) or None, keyring)
    plain: list[tuple[str, Any]] = []
    for key, value in pairs:
        chosen = opened.selection.encrypts((key,))
        found = opened.comment(value, [()]) if key == "#" and is_encrypted_leaf(value) else value
        plain.append((key, found if key == "#" else opened.leaf(value, f"{key}:", chosen)))
    opened.check([Branch(tuple(((k,), v) for k, v in plain if k != "#"))])
    lines = [f"#{v}" if k == "#" else f"{k}={_one_line(v)}" for k, v in plain]
    return opened.plain(("\n".join(lines) + "\n").encode())


def _one_line(value: Any) -> str:
    return str(value).replace("\n", "\\n")


def _ini(text: str, keyring: Keyring | bytes) -> Plain:
    lines, fields = ini_lines(text)
    opened = _Opened.of(unflattened(fields) or None, keyring)
    done: list[str] = []
    pairs: list[tuple[tuple[str, ...], Any]] = []
    for key, where, value in lines:
        if key == "[":
            done.append(f"[{where}]")
        elif key == ";":
            body = value[1:].strip()
            encrypted = is_encrypted_leaf(body)
            done.append(f"{value[:1]} {opened.comment(body, [(where,), ()])}" if encrypted else value)
        else:
            plain = opened.leaf(value, f"{where}:{key}:", opened.selection.encrypts((where, key)))
            pairs.append(((where, key), plain))
            done.append(f"{key} = {plain}")
    opened.check([Branch(tuple(pairs))])
    return opened.plain(("\n".join(done).strip("\n") + "\n").encode())


def ini_lines(text: str) -> tuple[list[tuple[str, str, str]], dict[str, str]]:
    """The lines (key, section, value; `[` for a section, `;` for a comment or an empty line), and the metadata."""
    lines: list[tuple[str, str, str]] = []
    fields: dict[str, str] = {}
    section = "DEFAULT"
    for raw in text.splitlines():
        line = raw.strip()
        key, equals, value = line.partition("=")
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1]
            if section != "sops":
                lines.append(("[", section, ""))
        elif section == "sops":
            fields[key.strip()] = value.strip()
        elif not line or line.startswith((";", "#")):
            lines.append((";", section, line))
        elif equals:
            lines.append((key.strip(), section, value.strip()))
        else:
            raise SopsError("a line of the file is no assignment", advice="restore the file from Git")
    return lines, fields
