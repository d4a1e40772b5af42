"""Files that the real sops program made, with every kind of key that a real server or program can hold."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pyrage
import pytest

from servers.aws import Aws, aws
from servers.openbao import OpenBao, openbao
from taut.secrets.sops.errors import SopsError
from taut.secrets.sops.files import Format, decrypt, format_of, is_encrypted, same_values
from taut.secrets.sops.keys import Keyring

SOPS = Path(sys.executable).with_name("sops")
YAML = """apiVersion: v1
kind: Secret
metadata:
  name: x
  labels: {a: b, c: d}
stringData:
  # inner comment
  password: "s3cr:et # x"
  list:
    - name: a # trailing
      value: yes
    - |
      multi
        line
  empty: {}
  nothing: null
  multi: |-
    x
    y
  time: 2001-12-14t21:59:43Z
  num: 0x10
  plain_unencrypted: seen
---
second: true
fl: 1e10
neg: -3
uni: "héß☃"
"""
JSON = '{"a":1,"b":[1.5,true,null,"x"],"c":{"d_unencrypted":"y","e":""}}'
DOTENV = "A=1\n#comment\nB=x y\nC=\n"
INI = "[s]\na=1\n; about b\nb=two words\n\n[t]\nc=3\n"
TEXTS = {"p.yaml": YAML, "p.json": JSON, "p.env": DOTENV, "p.ini": INI, "p.bin": "any text\nat all\n"}

type Run = Callable[..., bytes]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def call(*args: str, **env: str) -> bytes:
        home = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
        done = subprocess.run(
            [str(SOPS), "--disable-version-check", *args],
            cwd=tmp_path,
            env=home | env,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    return call


@pytest.fixture
def age() -> tuple[str, str]:
    identity = pyrage.x25519.Identity.generate()
    return str(identity), str(identity.to_public())


def files(folder: Path) -> list[Path]:
    for name, text in TEXTS.items():
        (folder / name).write_text(text)
    return [folder / name for name in TEXTS]


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    with openbao(tmp_path_factory.mktemp("bao") / "log") as server:
        server.write("sys/mounts/transit", type="transit")
        server.write("transit/keys/taut")
        yield server


@pytest.fixture(scope="module")
def cloud() -> Iterator[Aws]:
    with aws() as server:
        yield server


@pytest.mark.parametrize(
    "options",
    [(), ("--encrypted-regex", "^(data|stringData|c|s)$"), ("--mac-only-encrypted", "--unencrypted-regex", "^a$")],
)
def test_all_formats_come_out_as_the_program_prints_them(
    tmp_path: Path, run: Run, age: tuple[str, str], options: tuple[str, ...]
) -> None:
    secret, public = age
    for file in files(tmp_path):
        data = run("-e", "--age", public, *options, file.name)
        (tmp_path / ("e" + file.name)).write_bytes(data)
        assert is_encrypted(data)
        wanted = run("-d", "e" + file.name, SOPS_AGE_KEY=secret)
        assert decrypt(data, format_of(file.name), Keyring(age=(secret,))).text == wanted, file.name


def test_a_group_of_three_of_which_two_are_enough(tmp_path: Path, run: Run) -> None:
    pairs = [pyrage.x25519.Identity.generate() for _ in range(3)]
    groups = "".join(f"      - age: [{p.to_public()}]\n" for p in pairs)
    (tmp_path / ".sops.yaml").write_text(f"creation_rules:\n  - shamir_threshold: 2\n    key_groups:\n{groups}")
    (tmp_path / "a.yaml").write_text("a: shared\n")
    data = run("-e", "a.yaml")
    assert decrypt(data, Format.YAML, Keyring(age=(str(pairs[2]), str(pairs[0])))).text == b"a: shared\n"
    with pytest.raises(SopsError, match="2 of 3 key groups"):
        decrypt(data, Format.YAML, Keyring(age=(str(pairs[1]),)))


def test_transit_of_a_real_openbao(tmp_path: Path, run: Run, bao: OpenBao) -> None:
    (tmp_path / "a.yaml").write_text("a: in transit\n")
    env = {"VAULT_ADDR": bao.address, "VAULT_TOKEN": bao.token}
    data = run("-e", "--hc-vault-transit", f"{bao.address}/v1/transit/keys/taut", "a.yaml", **env)
    ring = Keyring(vault_token=bao.token, vault_addresses=frozenset({bao.address}))
    assert decrypt(data, Format.YAML, ring).text == b"a: in transit\n"
    with pytest.raises(SopsError, match="not one that the token may be sent to"):
        decrypt(data, Format.YAML, Keyring(vault_token=bao.token))
    with pytest.raises(SopsError, match="Vault refused"):
        decrypt(data, Format.YAML, Keyring(vault_token="wrong", vault_addresses=frozenset({bao.address})))


def test_kms(tmp_path: Path, run: Run, cloud: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    arn = cloud.client("kms").create_key()["KeyMetadata"]["Arn"]
    (tmp_path / "a.yaml").write_text("a: in the cloud\n")
    for name, value in cloud.environment.items():
        monkeypatch.setenv(name, value)
    data = run("-e", "--kms", arn, "--encryption-context", "team:shop", "a.yaml", **cloud.environment)
    assert decrypt(data, Format.YAML, Keyring(aws=True)).text == b"a: in the cloud\n"
    with pytest.raises(SopsError, match="KMS refused"):
        decrypt(data.replace(b"team: shop", b"team: other"), Format.YAML, Keyring(aws=True))
    with pytest.raises(SopsError, match="AWS is not asked"):
        decrypt(data, Format.YAML, Keyring())


@pytest.mark.skipif(shutil.which("gpg") is None, reason="sops needs gpg to encrypt for PGP")
def test_pgp(tmp_path: Path, run: Run) -> None:
    home = tmp_path / "gnupg"
    home.mkdir(mode=0o700)
    env = {"GNUPGHOME": str(home), "PATH": os.environ["PATH"]}

    def gpg(*args: str) -> bytes:
        return subprocess.run(["gpg", "--batch", *args], env=env, capture_output=True, check=True).stdout

    gpg("--passphrase", "", "--quick-gen-key", "taut <taut@example.com>", "default", "default", "never")
    listed = gpg("--list-keys", "--with-colons").decode()
    print_ = next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr"))
    (tmp_path / "a.yaml").write_text("a: for PGP\n")
    data = run("-e", "--pgp", print_, "a.yaml", GNUPGHOME=str(home))
    key = gpg("--export-secret-keys")
    assert decrypt(data, Format.YAML, Keyring(pgp=(key,))).text == b"a: for PGP\n"
    with pytest.raises(SopsError, match="no PGP key that fits"):
        decrypt(data, Format.YAML, Keyring())


class TestRefused:
    """What is not as it was is refused, with its reason."""

    @pytest.fixture
    def made(self, tmp_path: Path, run: Run, age: tuple[str, str]) -> tuple[str, Keyring]:
        (tmp_path / "a.yaml").write_text("a: canary-1\nb: two\nc_unencrypted: seen\n")
        return run("-e", "--age", age[1], "a.yaml").decode(), Keyring(age=(age[0],))

    def refused(self, text: str, ring: Keyring, reason: str) -> None:
        with pytest.raises(SopsError, match=reason) as caught:
            decrypt(text.encode(), Format.YAML, ring)
        assert "canary" not in str(caught.value)

    def test_a_key_that_does_not_fit(self, made: tuple[str, Keyring]) -> None:
        other = str(pyrage.x25519.Identity.generate())
        self.refused(made[0], Keyring(age=(other,)), "none of the age keys that are here fits")
        self.refused(made[0], Keyring(), "there is no age key")

    def test_a_value_that_was_changed(self, made: tuple[str, Keyring]) -> None:
        self.refused(made[0].replace("a: ENC[AES256_GCM,data:", "a: ENC[AES256_GCM,data:A"), made[1], "the value at a")

    def test_values_that_changed_places(self, made: tuple[str, Keyring]) -> None:
        a, b, *rest = made[0].splitlines()
        text = "\n".join(["a" + b[1:], "b" + a[1:], *rest])
        self.refused(text, made[1], "moved there from another place")

    def test_a_value_that_is_gone(self, made: tuple[str, Keyring]) -> None:
        self.refused("\n".join(made[0].splitlines()[1:]), made[1], "the MAC does not fit")

    def test_a_value_that_was_not_encrypted(self, made: tuple[str, Keyring]) -> None:
        self.refused(made[0].replace("seen", "unseen"), made[1], "the MAC does not fit")

    def test_a_date_that_was_changed(self, made: tuple[str, Keyring]) -> None:
        self.refused(made[0].replace('lastmodified: "2', 'lastmodified: "3'), made[1], "the MAC was changed")

    @pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.9])
    def test_a_file_that_was_cut_off(self, made: tuple[str, Keyring], share: float) -> None:
        from taut.model.errors import BadInput

        with pytest.raises(BadInput):
            decrypt(made[0][: int(len(made[0]) * share)].encode(), Format.YAML, made[1])

    @pytest.mark.parametrize(
        "text", ["", "a: 1", "sops: {}", "sops: []\n", "[" * 5000, "sops: {mac: x, lastmodified: y}"]
    )
    def test_what_is_no_such_file(self, text: str) -> None:
        from taut.model.errors import BadInput

        for form in Format:
            with pytest.raises(BadInput):
                decrypt(text.encode(), form, Keyring())


class TestEncrypted:
    """What taut encrypts the real program decrypts, and it comes back as it was."""

    @pytest.fixture
    def taut(self, tmp_path: Path) -> Run:
        program = Path(sys.executable).with_name("taut")

        def call(*args: str, code: int = 0, **env: str) -> bytes:
            home = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
            done = subprocess.run([str(program), *args], cwd=tmp_path, env=home | env, capture_output=True, check=False)
            assert done.returncode == code, done.stderr.decode()
            return done.stdout if not code else done.stderr

        return call

    @pytest.mark.parametrize("options", [(), ("--encrypted-regex", "^(data|stringData|c|s)$")])
    def test_all_formats(
        self, tmp_path: Path, run: Run, taut: Run, age: tuple[str, str], options: tuple[str, ...]
    ) -> None:
        secret, public = age
        for file in files(tmp_path):
            plain = file.read_bytes()
            data = taut("secrets", "encrypt", "--age", public, *options, file.name)
            (tmp_path / ("e" + file.name)).write_bytes(data)
            theirs = run("-d", "e" + file.name, SOPS_AGE_KEY=secret)
            ours = taut("decrypt", "e" + file.name, SOPS_AGE_KEY=secret)
            form = format_of(file.name)
            assert same_values(theirs, plain, form), file.name
            assert same_values(ours, plain, form), file.name
            if form is Format.YAML:
                assert b"s3cr" not in data
                assert b"comment" not in data.replace(b"type:comment", b"") or options
                assert b"# inner comment" in theirs
                assert b"# inner comment" in ours

    def test_rules_and_groups(self, tmp_path: Path, run: Run, taut: Run) -> None:
        pairs = [pyrage.x25519.Identity.generate() for _ in range(3)]
        groups = "".join(f"      - age: [{p.to_public()}]\n" for p in pairs)
        (tmp_path / ".sops.yaml").write_text(
            f"creation_rules:\n  - path_regex: ^b\n    age: {pairs[0].to_public()}\n  - shamir_threshold: 2\n    key_groups:\n{groups}"
        )
        (tmp_path / "a.yaml").write_text("a: shared\n")
        taut("secrets", "encrypt", "-i", "a.yaml")
        two = "\n".join(str(p) for p in pairs[:2])
        assert run("-d", "a.yaml", SOPS_AGE_KEY=two) == b"a: shared\n"
        assert b"2 of 3 key groups" in taut("decrypt", "a.yaml", code=2, SOPS_AGE_KEY=str(pairs[0]))

    def test_servers(self, tmp_path: Path, run: Run, taut: Run, bao: OpenBao, cloud: Aws) -> None:
        arn = cloud.client("kms").create_key()["KeyMetadata"]["Arn"]
        vault = {"VAULT_ADDR": bao.address, "VAULT_TOKEN": bao.token}
        (tmp_path / "a.yaml").write_text("a: one\n")
        (tmp_path / "b.yaml").write_bytes(taut("secrets", "encrypt", "--kms", arn, "a.yaml", **cloud.environment))
        assert run("-d", "b.yaml", **cloud.environment) == b"a: one\n"
        uri = f"{bao.address}/v1/transit/keys/taut"
        (tmp_path / "c.yaml").write_bytes(taut("secrets", "encrypt", "--hc-vault-transit", uri, "a.yaml", **vault))
        assert run("-d", "c.yaml", **vault) == b"a: one\n"
        assert b"token may be sent to" in taut(
            "secrets", "encrypt", "--hc-vault-transit", uri, "a.yaml", code=2, VAULT_TOKEN="x"
        )

    def test_edit_rotate_verify(self, tmp_path: Path, run: Run, taut: Run, age: tuple[str, str]) -> None:
        secret, public = age
        other = pyrage.x25519.Identity.generate()
        (tmp_path / "a.yaml").write_text("# why\na: one\nb: [1, x]\n")
        taut("secrets", "encrypt", "-i", "--age", public, "a.yaml")
        before = (tmp_path / "a.yaml").read_bytes()
        editor = tmp_path / "editor"
        editor.write_text('#!/bin/sh\nstat -c %a "$1" >> seen; echo "$1" >> seen; sed -i s/one/two/ "$1"\n')
        editor.chmod(0o755)
        taut("secrets", "edit", "a.yaml", SOPS_AGE_KEY=secret, EDITOR=str(editor))
        mode, place = (tmp_path / "seen").read_text().split()
        assert mode == "600"
        assert not Path(place).exists()
        assert run("-d", "a.yaml", SOPS_AGE_KEY=secret) == b"# why\na: two\nb:\n    - 1\n    - x\n"
        edited = (tmp_path / "a.yaml").read_bytes()
        assert edited != before
        assert b"Nothing was changed" in taut("secrets", "edit", "a.yaml", SOPS_AGE_KEY=secret, EDITOR="true")
        assert (tmp_path / "a.yaml").read_bytes() == edited
        taut("secrets", "rotate", "--age", str(other.to_public()), "--remove", public, "a.yaml", SOPS_AGE_KEY=secret)
        assert run("-d", "a.yaml", SOPS_AGE_KEY=str(other)).startswith(b"# why\na: two\n")
        assert b"none of the age keys" in taut("decrypt", "a.yaml", code=2, SOPS_AGE_KEY=secret)
        assert b"1 whole, 0 for which no key is here, 0 damaged" in taut(
            "secrets", "verify", ".", SOPS_AGE_KEY=str(other)
        )
        assert b"0 whole, 1 for which no key is here, 0 damaged" in taut("secrets", "verify", ".")
        text = (tmp_path / "a.yaml").read_text()
        (tmp_path / "a.yaml").write_text(text.replace("a: ENC[AES256_GCM,data:", "a: ENC[AES256_GCM,data:A"))
        assert b"the value at a" in taut("secrets", "verify", ".", code=2, SOPS_AGE_KEY=str(other))

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("a: &x 1\nb: *x\n", b"anchors"),
            ("a: !!binary YQ==\n", b"tags"),
            ("- a\n", b"mappings"),
            ("{a: b}\n", b"mappings"),
            ("a: [\n", b""),
            ("", b"mappings"),
        ],
    )
    def test_what_would_not_come_back(
        self, tmp_path: Path, taut: Run, age: tuple[str, str], text: str, reason: bytes
    ) -> None:
        (tmp_path / "a.yaml").write_text(text)
        assert reason in taut("secrets", "encrypt", "-i", "--age", age[1], "a.yaml", code=2)
        assert (tmp_path / "a.yaml").read_text() == text
