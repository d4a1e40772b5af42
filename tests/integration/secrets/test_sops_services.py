"""Keys that services hold, for a taut that works unattended: only those its operator lists are asked for."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from servers.aws import Aws, aws
from servers.openbao import OpenBao, openbao
from taut.secrets.sops.allowed import Allowed
from taut.secrets.sops.errors import NoKeyError
from taut.secrets.sops.files import Format, decrypt
from taut.secrets.sops.keys import Keyring
from taut.secrets.sops.keysets import of_environment, of_secret, together

PROGRAM = Path(sys.executable).with_name("sops")


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    with openbao(tmp_path_factory.mktemp("bao") / "log") as server:
        server.write("sys/mounts/transit", type="transit")
        server.write("transit/keys/taut")
        server.write("transit/keys/other")
        yield server


@pytest.fixture(scope="module")
def cloud() -> Iterator[Aws]:
    with aws() as server:
        yield server


def encrypted(folder: Path, *options: str, **env: str) -> bytes:
    (folder / "s.yaml").write_text("password: correct horse\n")
    command = [str(PROGRAM), "--disable-version-check", "-e", *options, "s.yaml"]
    environment = {"HOME": str(folder), "PATH": os.environ["PATH"], **env}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def test_a_vault_is_asked_with_the_token_of_a_secret_where_it_is_listed(tmp_path: Path, bao: OpenBao) -> None:
    where = f"{bao.address}/v1/transit/keys/taut"
    data = encrypted(tmp_path, "--hc-vault-transit", where, VAULT_TOKEN=bao.token, VAULT_ADDR=bao.address)
    held = {"sops.vault-token": bao.token.encode()}
    ring = of_secret(held, Allowed(vault=(f"{bao.address}/transit/taut",)))
    assert decrypt(data, Format.YAML, ring).text == b"password: correct horse\n"
    assert decrypt(data, Format.YAML, together([Keyring(allowed=Allowed()), ring])).values == ("correct horse",)
    env = {"VAULT_TOKEN": bao.token, "VAULT_ADDR": bao.address}
    ring = of_environment(Allowed(vault=(f"{bao.address}/**",)), local=False, environment=env)
    assert decrypt(data, Format.YAML, ring).text == b"password: correct horse\n"
    for patterns in ((), (f"{bao.address}/transit/other",), ("https://vault.example.com/**",)):
        with pytest.raises(NoKeyError, match="does not allow this server and key"):
            decrypt(data, Format.YAML, of_secret(held, Allowed(vault=patterns)))
    with pytest.raises(NoKeyError, match="there is no token"):
        decrypt(data, Format.YAML, of_environment(Allowed(), local=True, environment=env))


def test_a_key_of_kms_is_asked_for_where_it_is_listed(
    tmp_path: Path, cloud: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    arn = cloud.client("kms").create_key()["KeyMetadata"]["Arn"]
    for name, value in cloud.environment.items():
        monkeypatch.setenv(name, value)
    data = encrypted(tmp_path, "--kms", arn, **cloud.environment)
    ring = of_environment(Allowed(aws=(arn.rpartition("/")[0] + "/*",)), local=False)
    assert decrypt(data, Format.YAML, ring).text == b"password: correct horse\n"
    with pytest.raises(NoKeyError, match="does not allow this key"):
        decrypt(data, Format.YAML, of_environment(Allowed(aws=("arn:aws:kms:*:999999999999:key/*",)), local=False))
    with pytest.raises(NoKeyError, match="AWS is not asked here"):
        decrypt(data, Format.YAML, of_environment(Allowed(), local=True))
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    env = cloud.environment
    text = f"aws_access_key_id: {env['AWS_ACCESS_KEY_ID']}\naws_secret_access_key: {env['AWS_SECRET_ACCESS_KEY']}\n"
    ring = of_secret({"sops.aws-kms": text.encode()}, Allowed(aws=(arn,)))
    assert decrypt(data, Format.YAML, ring).text == b"password: correct horse\n"
    role = encrypted(tmp_path, "--kms", f"{arn}+arn:aws:iam::123456789012:role/sops", **cloud.environment)
    with pytest.raises(NoKeyError, match="or the role"):
        decrypt(role, Format.YAML, ring)
