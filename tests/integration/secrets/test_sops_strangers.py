"""A file is a stranger: what it says of servers, keys and expressions steers nothing, and costs little."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pyrage
import pytest
import requests

from servers.openbao import OpenBao, openbao
from taut.model.errors import BadInput
from taut.secrets.sops.encrypting import encrypt
from taut.secrets.sops.errors import SopsError
from taut.secrets.sops.files import Format, decrypt
from taut.secrets.sops.keys import Keyring
from taut.secrets.sops.rules import Rule, rule_for
from taut.secrets.sops.wrap import Wanted


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    with openbao(tmp_path_factory.mktemp("bao") / "log") as server:
        server.write("sys/mounts/transit", type="transit")
        yield server


def alive(bao: OpenBao, token: str) -> bool:
    answer = requests.get(f"{bao.address}/v1/auth/token/lookup-self", headers={"X-Vault-Token": token}, timeout=10)
    return answer.status_code == 200


@pytest.mark.parametrize(
    ("engine", "key"),
    [
        ("transit", "../../auth/token/revoke-self"),
        ("transit/../auth/token/revoke-self/..", "x"),
        ("transit", "..%2f..%2fauth/token/revoke-self"),
        ("/transit", ""),
        ("transit?x=", "k"),
    ],
)
def test_a_file_chooses_no_other_request(bao: OpenBao, engine: str, key: str) -> None:
    made = bao.write("auth/token/create", policies=["root"])
    auth = made["auth"]
    assert isinstance(auth, dict)
    token = str(auth["client_token"])
    recipient = {"vault_address": bao.address, "engine_path": engine, "key_name": key, "enc": "vault:v1:x"}
    text = json.dumps({"a": "b", "sops": {"hc_vault": [recipient], "mac": "x", "lastmodified": "x"}})
    with pytest.raises(SopsError, match="path"):
        decrypt(text.encode(), Format.JSON, Keyring(vault_token=token, vault_addresses=frozenset({bao.address})))
    assert alive(bao, token)


@pytest.fixture
def age() -> tuple[str, Keyring]:
    identity = pyrage.x25519.Identity.generate()
    return str(identity.to_public()), Keyring(age=(str(identity),))


def test_an_expression_without_end_ends(age: tuple[str, Keyring]) -> None:
    text = f"{'a' * 200}b: secret\n".encode()
    rule = Rule((Wanted(age=(age[0],)),), selection={"unencrypted_regex": "^(a+)+$"})
    data = encrypt(text, Format.YAML, rule, Keyring())
    assert b"secret" not in data
    assert decrypt(data, Format.YAML, age[1]).text == text


@pytest.mark.parametrize("expression", ["(", "a{1001}", "(?=a)", "a" * 1001])
def test_an_expression_that_cannot_be_read_is_told(age: tuple[str, Keyring], expression: str) -> None:
    rule = Rule((Wanted(age=(age[0],)),), selection={"encrypted_regex": expression})
    with pytest.raises(SopsError, match="regular expression"):
        encrypt(b"a: 1\n", Format.YAML, rule, Keyring())


@pytest.mark.parametrize(
    ("form", "text"),
    [
        (Format.JSON, '{"a":"\\ud800"}'),
        (Format.JSON, '{"a":' + "[" * 900 + "]" * 900 + "}"),
        (Format.YAML, "a: " + "9" * 5000 + "\n"),
        (Format.YAML, 'a: "\\ud800"\n'),
        (Format.DOTENV, b"\xff=1".decode("latin1").encode("latin1").decode("latin1")),
    ],
)
def test_odd_values_are_kept_or_refused(age: tuple[str, Keyring], form: Format, text: str) -> None:
    try:
        data = encrypt(text.encode(), form, Rule((Wanted(age=(age[0],)),)), Keyring())
    except BadInput:
        return
    decrypt(data, form, age[1])


@pytest.mark.parametrize("kind", ["age", "pgp", "kms", "hc_vault", "key_groups", "shamir_threshold", "mac", "version"])
@pytest.mark.parametrize("value", [5, "x", [], [5], [[]], {"a": 1}, [{"enc": 5, "arn": {}, "context": "x"}], -1, True])
def test_metadata_of_another_form_are_refused(age: tuple[str, Keyring], kind: str, value: object) -> None:
    data = json.loads(encrypt(b'{"a":1}', Format.JSON, Rule((Wanted(age=(age[0],)),)), Keyring()))
    data["sops"][kind] = value
    try:
        decrypt(json.dumps(data).encode(), Format.JSON, Keyring(age=age[1].age, vault_token="x"))
    except BadInput:
        return
    assert kind != "mac"


@pytest.mark.parametrize("context", ["x", [1], 5])
def test_a_context_that_is_no_mapping(context: object) -> None:
    recipient = {"arn": "arn:aws:kms:eu-central-1:1:key/x", "enc": "eA==", "context": context}
    text = json.dumps({"a": "b", "sops": {"kms": [recipient], "mac": "x", "lastmodified": "x"}})
    with pytest.raises(SopsError, match="encryption context is no mapping"):
        decrypt(text.encode(), Format.JSON, Keyring(aws=True))


@pytest.mark.parametrize(
    "rule", ["path_regex: '('", "shamir_threshold: x\n    age: a", "age: age1x\n    encrypted_regex: '('", "5"]
)
def test_rules_that_cannot_be_meant(tmp_path: Path, rule: str) -> None:
    (tmp_path / ".sops.yaml").write_text(f"creation_rules:\n  - {rule}\n")
    with pytest.raises(BadInput):
        encrypt(b"a: 1\n", Format.YAML, rule_for(tmp_path / "a.yaml") or Rule(), Keyring())
