"""Which keys of services may be asked for: an address in a file is a stranger's word."""

from __future__ import annotations

import pytest

from taut.secrets.sops.allowed import Allowed
from taut.secrets.sops.files import Format, form_of
from taut.secrets.sops.keys import Keyring
from taut.secrets.sops.keysets import NOTHING, material, of_environment, of_secret, together

MAC = "mac: ENC[AES256_GCM,data:x,iv:y,tag:z,type:str]"


@pytest.mark.parametrize(
    ("address", "engine", "key", "fits"),
    [
        ("https://vault.example.com", "transit", "app", True),
        ("https://vault.example.com/", "transit", "app", True),
        ("https://vault.example.com", "other", "app", False),
        ("https://vault.example.com", "transit/app", "x", False),
        ("http://vault.example.com", "transit", "app", False),
        ("https://vault.example.com@evil.example", "transit", "app", False),
        ("https://vault.example.com:8200", "transit", "app", False),
        ("https://vault.example.com/transit/app?x=", "transit", "app", False),
        ("https://eu.corp.example", "team/a/transit", "b", True),
        ("https://evil.example#.corp.example", "x", "b", False),
        ("https://evil.example/.corp.example", "x", "b", False),
        ("https://evil.example\\.corp.example", "x", "b", False),
        ("https://a:b@eu.corp.example", "x", "b", False),
        ("https://[", "x", "b", False),
        ("", "", "", False),
    ],
)
def test_a_vault_is_asked_only_where_a_pattern_fits(address: str, engine: str, key: str, fits: bool) -> None:
    allowed = Allowed(vault=("https://vault.example.com/transit/*", "https://*.corp.example/**"))
    assert allowed.has_vault(address, engine, key) is fits


def test_keys_of_the_clouds() -> None:
    arn = "arn:aws:kms:eu-central-1:111122223333:key/"
    allowed = Allowed(
        aws=(f"{arn}*", "arn:aws:iam::111122223333:role/sops"),
        gcp=("projects/p/locations/eu/keyRings/r/cryptoKeys/*",),
        azure=("https://team.vault.azure.net/*",),
    )
    assert allowed.has_kms(f"{arn}0f")
    assert allowed.has_kms("arn:aws:iam::111122223333:role/sops")
    assert not allowed.has_kms("arn:aws:kms:eu-central-1:999999999999:key/0f")
    assert not allowed.has_kms("arn:aws:iam::111122223333:role/admin")
    assert allowed.has_gcp("projects/p/locations/eu/keyRings/r/cryptoKeys/k")
    assert not allowed.has_gcp("projects/q/locations/eu/keyRings/r/cryptoKeys/k")
    assert allowed.has_azure("https://team.vault.azure.net", "k")
    assert not allowed.has_azure("https://other.vault.azure.net", "k")
    assert not Allowed().has_kms(arn)


def test_the_environment_gives_only_what_is_listed() -> None:
    env = {"SOPS_AGE_KEY": "AGE-SECRET-KEY-1", "VAULT_TOKEN": "t", "VAULT_ADDR": "https://v", "AWS_ACCESS_KEY_ID": "a"}
    local = of_environment(Allowed(), local=True, environment=env)
    assert local.age
    assert (local.aws, local.clouds, local.vault_token) == (False, None, "")
    services = of_environment(Allowed(aws=("arn:x",)), local=False, environment=env)
    assert services.aws
    assert (services.age, services.gpg, services.clouds, services.vault_token) == ((), False, None, "")


def test_a_secret_as_flux_reads_it() -> None:
    data = {
        "a.agekey": b"AGE-SECRET-KEY-1",
        "b.asc": b"pgp",
        "sops.vault-token": b"token\n",
        "sops.aws-kms": b"aws_access_key_id: id\naws_secret_access_key: key\n",
        "sops.gcp-kms": b"{}",
        "sops.azure-kv": b"tenantId: t\nclientId: c\nclientSecret: s\n",
        "other": b"x",
    }
    ring = of_secret(data, Allowed())
    assert (list(ring.age), list(ring.pgp), ring.vault_token) == (["AGE-SECRET-KEY-1"], [b"pgp"], "token")
    assert ring.aws_credentials == {"aws_access_key_id": "id", "aws_secret_access_key": "key"}
    assert ring.clouds is not None
    wanted = {"GOOGLE_CREDENTIALS": "{}", "AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "c", "AZURE_CLIENT_SECRET": "s"}
    assert ring.clouds.environment == wanted
    bare = of_secret({"sops.aws-kms": b"- ["}, Allowed())
    assert (bare.aws, bare.clouds) == (False, None)
    assert all(word not in repr(ring) for word in ("AGE-SECRET", "token", "aws_secret", "clientSecret"))


def test_other_keys_are_another_identity_and_another_order_is_none() -> None:
    one, two = Keyring(age=("a", "b")), Keyring(age=("b", "a"))
    assert list(material(one)) == list(material(two))
    assert list(material(one)) != list(material(Keyring(age=("a",))))
    assert list(material(together([]))) == list(material(NOTHING))


@pytest.mark.parametrize(
    ("text", "name", "form"),
    [
        (f"a: b\nsops:\n    {MAC}\n", "x.yaml", Format.YAML),
        (f"a: b\nsops:\n    {MAC}\n", "x.enc", Format.YAML),
        ('{"a": "b", "sops": {"mac": "ENC[AES256_GCM,"}}', "x.json", Format.JSON),
        ('{"a": "b", "sops": {"mac": "ENC[AES256_GCM,"}}', ".dockerconfigjson", Format.JSON),
        ('{"data": "b", "sops": {"mac": "ENC[AES256_GCM,"}}', "key.pem", Format.BINARY),
        ('{"a": "b", "sops": {"mac": "ENC[AES256_GCM,"}}', "x.yaml", Format.YAML),
        ("A=ENC[AES256_GCM,\nsops_mac=ENC[AES256_GCM,\n", "vars.env", Format.DOTENV),
        ("A=ENC[AES256_GCM,\nsops_mac=ENC[AES256_GCM,\n", "vars", Format.DOTENV),
        (f"[s]\na = ENC[AES256_GCM,\n[sops]\n{MAC}\n", "x.ini", Format.INI),
        (f"kind: SopsSecret\nsops:\n    {MAC}\n", "x.yaml", None),
        (f"data:\n  inner: |\n    sops:\n      {MAC}\n", "x.yaml", None),
        ("sops:\n  mac: none\n", "x.yaml", None),
    ],
)
def test_a_file_is_known_by_its_metadata(text: str, name: str, form: Format | None) -> None:
    assert form_of(text.encode(), name) is form
