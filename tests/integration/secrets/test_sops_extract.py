"""One value of a file, compared with what the real program prints; and the keys of a cluster's Secret."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyrage
import pytest

from taut.secrets.sops.errors import SopsError
from taut.secrets.sops.extract import extract
from taut.secrets.sops.files import Format, decrypt
from taut.secrets.sops.keys import Keyring

SOPS = Path(sys.executable).with_name("sops")
FILES = {
    "a.yaml": 'a:\n  b: ["x\\n", 2, {c: d}]\nt: true\nu: ""\n',
    "a.json": '{"a": {"b": ["x", 2.5, {"c": "d"}]}}',
    "a.env": "A=x=y\nB=\n",
}


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("a.yaml", '["a"]["b"][0]'),
        ("a.yaml", '["a"]["b"][1]'),
        ("a.yaml", "['a']['b'][2]['c']"),
        ("a.yaml", '["a"]["b"][2]'),
        ("a.yaml", '["t"]'),
        ("a.yaml", '["u"]'),
        ("a.json", '["a"]["b"][0]'),
        ("a.json", '["a"]["b"][2]'),
        ("a.env", '["A"]'),
    ],
)
def test_as_the_program_prints_it(tmp_path: Path, name: str, path: str) -> None:
    identity = pyrage.x25519.Identity.generate()
    env = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "SOPS_AGE_KEY": str(identity)}
    (tmp_path / name).write_text(FILES[name])

    def sops(*args: str) -> bytes:
        command = [str(SOPS), "--disable-version-check", *args, name]
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, check=True).stdout

    sops("-e", "-i", "--age", str(identity.to_public()))
    data = (tmp_path / name).read_bytes()
    form = Format(name.removeprefix("a.").replace("env", "dotenv"))
    ring = Keyring.of_secret({"me.agekey": str(identity).encode(), "other": b"x"})
    assert extract(decrypt(data, form, ring).text, form, path).strip() == sops("-d", "--extract", path).strip()


@pytest.mark.parametrize("path", ["", "a", '["a"', '["a"]x', "[-1]", '["secret"]', '["a"]["b"][7]', '["t"]["x"]'])
def test_what_is_not_there(path: str) -> None:
    with pytest.raises(SopsError) as caught:
        extract(b"a:\n  b: [hidden]\nt: true\n", Format.YAML, path)
    assert "hidden" not in str(caught.value)


def test_a_token_of_a_secret_goes_to_no_server_that_is_not_named() -> None:
    ring = Keyring.of_secret({"sops.vault-token": b"s.x\n"})
    assert ring.vault_token == "s.x"
    assert not ring.vault_addresses
    assert not ring.aws
    assert not ring.gpg
    assert "s.x" not in repr(ring)
