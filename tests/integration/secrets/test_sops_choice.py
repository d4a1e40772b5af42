"""Files whose values a comment chose: read as the program reads them, and never written with another choice."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyrage
import pytest

from taut.secrets.sops.errors import SopsError
from taut.secrets.sops.files import Format, decrypt
from taut.secrets.sops.keys import Keyring
from taut.secrets.sops.rules import rule_for, rule_of_metadata

SOPS = Path(sys.executable).with_name("sops")
TEXT = "a: 1\n# sops:enc\nb: two\nc:\n    # sops:enc\n    d: x\nf: z\n"


@pytest.mark.parametrize("more", [(), ("--mac-only-encrypted",)])
@pytest.mark.parametrize("option", ["--encrypted-comment-regex", "--unencrypted-comment-regex"])
def test_chosen_by_a_comment(tmp_path: Path, option: str, more: tuple[str, ...]) -> None:
    identity = pyrage.x25519.Identity.generate()
    (tmp_path / "a.yaml").write_text(TEXT)
    command = [str(SOPS), "--disable-version-check", "-e", "--age", str(identity.to_public()), option, "sops:enc"]
    env = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    data = subprocess.run([*command, *more, "a.yaml"], cwd=tmp_path, env=env, capture_output=True, check=True).stdout
    ring = Keyring(age=(str(identity),))
    plain = decrypt(data, Format.YAML, ring)
    assert plain.text.decode() == TEXT
    with pytest.raises(SopsError, match="is read, and not written"):
        rule_of_metadata(plain.metadata)
    key = b"b" if option.startswith("--encrypted") else b"a"
    changed = data.replace(key + b": ENC[AES256_GCM,data:", key + b": ENC[AES256_GCM,data:A", 1)
    assert changed != data
    with pytest.raises(SopsError, match=f"the value at {key.decode()}"):
        decrypt(changed, Format.YAML, ring)


def test_a_rule_with_such_a_choice_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".sops.yaml").write_text("creation_rules:\n  - age: age1x\n    encrypted_comment_regex: enc\n")
    with pytest.raises(SopsError, match="encrypted_comment_regex is read, and not written"):
        rule_for(tmp_path / "a.yaml")
