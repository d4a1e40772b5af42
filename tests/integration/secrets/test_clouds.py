"""Google Cloud KMS and Azure Key Vault, against stand-ins that follow their published APIs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from servers.clouds import RESOURCE, Clouds, clouds
from taut.secrets.sops.clouds import Clouds as Keys
from taut.secrets.sops.encrypting import encrypt
from taut.secrets.sops.errors import SopsError
from taut.secrets.sops.files import Format, decrypt
from taut.secrets.sops.keys import Keyring
from taut.secrets.sops.rules import Rule, rule_of, rule_of_metadata
from taut.secrets.sops.wrap import Wanted

AZURE = {"AZURE_TENANT_ID": "tenant", "AZURE_CLIENT_ID": "client", "AZURE_CLIENT_SECRET": "secret"}


@pytest.fixture(scope="module")
def cloud() -> Iterator[Clouds]:
    with clouds() as made:
        yield made


def ring(cloud: Clouds, **environment: str) -> Keyring:
    hosts = (cloud.host, ".vault.azure.net")
    return Keyring(clouds=Keys(environment, gcp=cloud.address, azure_hosts=hosts, azure_login=cloud.address))


def test_google(cloud: Clouds) -> None:
    keys = ring(cloud, GOOGLE_OAUTH_ACCESS_TOKEN=cloud.token)
    data = encrypt(b"a: in the cloud\n", Format.YAML, Rule((Wanted(gcp=(RESOURCE,)),)), keys)
    plain = decrypt(data, Format.YAML, keys)
    assert plain.text == b"a: in the cloud\n"
    assert rule_of_metadata(plain.metadata).groups == (Wanted(gcp=(RESOURCE,)),)
    with pytest.raises(SopsError, match="refused with 401"):
        decrypt(data, Format.YAML, ring(cloud, GOOGLE_OAUTH_ACCESS_TOKEN="another"))
    with pytest.raises(SopsError, match="Google Cloud is not asked"):
        decrypt(data, Format.YAML, Keyring())
    with pytest.raises(SopsError, match="no key of KMS"):
        decrypt(data.replace(b"projects/shop", b"projects/../x"), Format.YAML, keys)


def test_azure(cloud: Clouds) -> None:
    keys = ring(cloud, **AZURE)
    address = f"{cloud.address}/keys/sops/0123456789abcdef"
    data = encrypt(b'{"a": "in a vault"}', Format.JSON, Rule((Wanted(azure=(address,)),)), keys)
    assert b'"a": "in a vault"' in decrypt(data, Format.JSON, keys).text
    with pytest.raises(SopsError, match="refused with 401"):
        decrypt(data, Format.JSON, ring(cloud, **AZURE | {"AZURE_CLIENT_SECRET": "wrong"}))
    with pytest.raises(SopsError, match="no credentials"):
        decrypt(data, Format.JSON, ring(cloud))


@pytest.mark.parametrize(
    "vault",
    [
        "https://evil.example.com",
        "http://x.vault.azure.net",
        "https://x.vault.azure.net.evil.com",
        "https://u:p@x.vault.azure.net",
    ],
)
def test_a_token_is_sent_to_no_other_place(cloud: Clouds, vault: str) -> None:
    keys = ring(cloud, **AZURE)
    address = f"{cloud.address}/keys/sops/0123456789abcdef"
    data = encrypt(b'{"a": "b"}', Format.JSON, Rule((Wanted(azure=(address,)),)), keys)
    cloud.seen.clear()
    with pytest.raises(SopsError, match="none of Azure's"):
        decrypt(data.replace(cloud.address.encode(), vault.encode()), Format.JSON, keys)
    assert cloud.seen == []


def test_rules_name_them() -> None:
    address = "https://x.vault.azure.net/keys/sops/1"
    rule = rule_of({"gcp_kms": RESOURCE, "azure_keyvault": address})
    assert rule.groups == (Wanted(gcp=(RESOURCE,), azure=(address,)),)
    group = {
        "gcp_kms": [{"resource_id": RESOURCE}],
        "azure_kv": [{"vaultUrl": "https://x.vault.azure.net", "key": "sops", "version": "1"}],
    }
    assert rule_of({"key_groups": [group]}).groups == rule.groups
