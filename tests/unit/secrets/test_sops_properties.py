"""What is encrypted comes back: any values in any format, and a key from any parts that are enough."""

from __future__ import annotations

import json
import random
from typing import Any

import pyrage
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taut.documents.yaml import dump
from taut.secrets.sops.encrypting import encrypt
from taut.secrets.sops.errors import SopsError
from taut.secrets.sops.files import Format, decrypt, same_values
from taut.secrets.sops.keys import Keyring
from taut.secrets.sops.rules import Rule
from taut.secrets.sops.shamir import combine, split
from taut.secrets.sops.wrap import Wanted

IDENTITY = pyrage.x25519.Identity.generate()
RING = Keyring(age=(str(IDENTITY),))
RULE = Rule((Wanted(age=(str(IDENTITY.to_public()),)),))
KEYS = st.text("abcxyz_-. #é", min_size=1, max_size=8).filter(lambda k: k.strip() == k and k != "sops")
TEXTS = st.text(st.characters(codec="utf-8"), max_size=30)
WRITTEN = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs", "Cc", "Cn", "Co", "Zl", "Zp"]) | st.just("\n"), max_size=30
)
"""Texts that YAML may hold as they are."""


def documents(texts: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, Any]]:
    floats = st.floats(-1e6, 1e6).map(lambda f: round(f, 3))
    scalars = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | floats | texts
    values = st.recursive(
        scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=12
    )
    return st.dictionaries(KEYS, values, min_size=1, max_size=4)


def there_and_back(text: bytes, form: Format) -> bytes:
    return decrypt(encrypt(text, form, RULE, RING), form, RING).text


@settings(max_examples=80, deadline=None)
@given(documents(TEXTS))
def test_json(document: dict[str, Any]) -> None:
    text = json.dumps(document).encode()
    assert json.loads(there_and_back(text, Format.JSON)) == document


@settings(max_examples=80, deadline=None)
@given(documents(WRITTEN))
def test_yaml(document: dict[str, Any]) -> None:
    text = dump(document).encode()
    assert same_values(there_and_back(text, Format.YAML), text, Format.YAML)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200))
def test_binary(data: bytes) -> None:
    assert there_and_back(data, Format.BINARY) == data


@settings(max_examples=60, deadline=None)
@given(documents(TEXTS), st.data())
def test_a_changed_value_is_never_taken_for_whole(document: dict[str, Any], data: st.DataObject) -> None:
    whole = json.loads(encrypt(json.dumps(document).encode(), Format.JSON, RULE, RING))
    key = data.draw(st.sampled_from(sorted(document)))
    whole[key] = "another"
    with pytest.raises(SopsError):
        decrypt(json.dumps(whole).encode(), Format.JSON, RING)


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=1, max_size=32), st.integers(2, 9), st.integers(2, 9), st.randoms())
def test_shamir(secret: bytes, parts: int, threshold: int, chance: random.Random) -> None:
    if threshold > parts:
        parts, threshold = threshold, parts
    shares = split(secret, parts, threshold)
    assert combine(chance.sample(shares, threshold)) == secret
    assert combine(shares) == secret
