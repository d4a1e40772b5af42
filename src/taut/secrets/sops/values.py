"""Encrypted leaves: `ENC[AES256_GCM,data:…,iv:…,tag:…,type:…]` (SOPS, aes package)."""

from __future__ import annotations

import base64
import binascii
import os
import re
from datetime import datetime
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from taut.secrets.sops.errors import SopsError

_LEAF = re.compile(r"^ENC\[AES256_GCM,data:([^,]*),iv:([^,]*),tag:([^,]*),type:([a-z]+)\]$", re.DOTALL)
_NONCE_BYTES = 32


class Comment(str):
    """The text of a comment, which is encrypted like a value and is not part of the MAC."""

    __slots__ = ()


def is_encrypted_leaf(value: Any) -> bool:
    """Whether a value is an encrypted leaf."""
    return isinstance(value, str) and value.startswith("ENC[AES256_GCM,")


def decrypt_leaf(text: str, key: bytes, path: str) -> Any:
    """A leaf's value, typed. `path` is the additional data: the keys on the way, each followed by `:`. Raises SopsError."""
    found = _LEAF.match(text)
    if not found:
        raise SopsError(
            f"the value at {shown(path)} is no complete encrypted value", advice="restore the file from Git"
        )
    try:
        data, nonce, tag = (base64.b64decode(found[n], validate=True) for n in (1, 2, 3))
        if not nonce or len(tag) != 16:
            raise ValueError
        decryptor = Cipher(algorithms.AES(key), modes.GCM(nonce, tag)).decryptor()
        decryptor.authenticate_additional_data(path.encode())
        plain = decryptor.update(data) + decryptor.finalize()
    except (binascii.Error, ValueError):
        raise SopsError(
            f"the value at {shown(path)} is no complete encrypted value", advice="restore the file from Git"
        ) from None
    except InvalidTag:
        raise SopsError(
            f"the value at {shown(path)} was changed after it was encrypted, or moved there from another place",
            advice="restore the file from Git, or encrypt the value again",
        ) from None
    return _typed(plain, found[4], path)


def _typed(plain: bytes, kind: str, path: str) -> Any:
    try:
        match kind:
            case "str":
                return plain.decode()
            case "int":
                return int(plain)
            case "float":
                return float(plain)
            case "bool":
                return plain.lower() == b"true"
            case "bytes":
                return plain
            case "comment":
                return Comment(plain.decode())
            case "time":
                return datetime.fromisoformat(plain.decode())
            case _:
                raise ValueError
    except ValueError:
        raise SopsError(f"the value at {shown(path)} is not of its type {kind}") from None


def encrypt_leaf(value: Any, key: bytes, path: str) -> Any:
    """A value as a leaf. An empty text and null stay as they are, as sops leaves them."""
    if value is None or (isinstance(value, str) and value == ""):
        return value
    plain, kind = plain_of(value)
    nonce = os.urandom(_NONCE_BYTES)
    encryptor = Cipher(algorithms.AES(key), modes.GCM(nonce)).encryptor()
    encryptor.authenticate_additional_data(path.encode())
    data = encryptor.update(plain) + encryptor.finalize()
    parts = (base64.b64encode(p).decode() for p in (data, nonce, encryptor.tag))
    return "ENC[AES256_GCM,data:{},iv:{},tag:{},type:{}]".format(*parts, kind)


def plain_of(value: Any) -> tuple[bytes, str]:
    """A value's bytes, as they are encrypted and go into the MAC, and its type."""
    match value:
        case Comment():
            return value.encode(), "comment"
        case bool():
            return (b"True" if value else b"False"), "bool"
        case int():
            return str(value).encode(), "int"
        case float():
            return _number(value).encode(), "float"
        case bytes():
            return value, "bytes"
        case datetime():
            return value.isoformat().replace("+00:00", "Z").encode(), "time"
        case _:
            try:
                return str(value).encode(), "str"
            except UnicodeEncodeError:
                raise SopsError("a text holds half of a character (a lone surrogate)") from None


def _number(value: float) -> str:
    """As Go's `strconv.FormatFloat(v, 'f', -1, 64)`: no exponent, no trailing zeros."""
    text = repr(value)
    if "e" in text or "E" in text:
        from decimal import Decimal

        text = format(Decimal(text), "f")
    return text.removesuffix(".0")


def shown(path: str) -> str:
    """A place for people: the keys on the way."""
    return path.removesuffix(":").replace(":", ".") or "the top"
