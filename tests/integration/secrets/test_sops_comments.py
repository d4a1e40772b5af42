"""Comments that taut encrypts: the real program finds the place of each, and no comment stays unread."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pyrage
import pytest

from taut.secrets.sops.encrypting import encrypt
from taut.secrets.sops.files import Format, decrypt
from taut.secrets.sops.keys import Keyring
from taut.secrets.sops.rules import Rule
from taut.secrets.sops.wrap import Wanted

SOPS = Path(sys.executable).with_name("sops")
TEXTS = {
    "behind a key, a value, an item": "k: # c1\n  sub: 1 # c2\nl: # c3\n  - 1 # c4\n  - a: 2 # c5\n",
    "before entries": "# c1\na: 1\n\n# c2\nb:\n  # c3\n  c:\n    # c4\n    - 1\n    # c5\n    - x: 1\n      # c6\n      y: 2\n",
    "a list no further in than its key": "a:\n  b:\n  # c1\n  - 1\n  # c2\n  - 2\n",
    "at the end of a block": "a:\n  b: 1\n  # c1\nc:\n  - 1\n  # c2\nd: 2\n# c3\n",
    "behind brackets": "a: {b: 1, c: [2]} # c1\nd:\n  e: [1, 2] # c2\nf: {} # c3\n",
    "several documents": "# c1\na: 1 # c2\n---\n# c3\nb:\n  c: 1\n  # c4\n",
    "what only looks like one": "'a #b': 'x # y' # c1\nz: |\n  # text\n  x#y\n# c2\n",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_every_comment_comes_back(tmp_path: Path, text: str) -> None:
    identity = pyrage.x25519.Identity.generate()
    wanted = sorted(re.findall(r"# (c\d)\b", text))
    data = encrypt(text.encode(), Format.YAML, Rule((Wanted(age=(str(identity.to_public()),)),)), Keyring())
    assert not re.search(rb"# c\d", data)
    (tmp_path / "a.yaml").write_bytes(data)
    env = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "SOPS_AGE_KEY": str(identity)}
    command = [str(SOPS), "--disable-version-check", "-d", "a.yaml"]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert b"ENC[" not in done.stdout
    assert sorted(re.findall(r"# (c\d)\b", done.stdout.decode())) == wanted
    ours = decrypt(data, Format.YAML, Keyring(age=(str(identity),))).text.decode()
    assert sorted(re.findall(r"# (c\d)\b", ours)) == wanted
