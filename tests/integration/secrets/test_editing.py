"""`taut secrets edit` with files of the real sops program: what was not changed stays byte for byte, and no plain text is left behind."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyrage
import pytest

pytestmark = pytest.mark.integration
SOPS = Path(sys.executable).with_name("sops")
TAUT = Path(sys.executable).with_name("taut")
WORD = "plain-Kq7xW2vB9z-word"
TEXTS = {
    "a.yaml": f"# why\none: {WORD}\ntwo: 2\nlist:\n    - x\n    - true\n",
    "a.json": f'{{"one": "{WORD}", "two": 2, "half": 1.5, "list": ["x", true]}}\n',
    "a.env": f"#why\none={WORD}\ntwo=2\n",
    "a.ini": f"[s]\none = {WORD}\ntwo = 2\n",
}


@dataclass
class Desk:
    folder: Path
    memory: Path
    environment: dict[str, str]

    def sops(self, *args: str) -> bytes:
        command = [str(SOPS), "--disable-version-check", *args]
        return subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, check=True).stdout

    def editor(self, script: str) -> None:
        """What the editor does to the file `$1`."""
        program = self.folder / "editor"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        self.environment["EDITOR"] = str(program)

    def start(self, name: str, *, terminal: int | None = None) -> subprocess.Popen[bytes]:
        """Begin to edit a file, without a terminal or on one."""
        where = subprocess.DEVNULL if terminal is None else terminal
        told = subprocess.PIPE if terminal is None else terminal
        return subprocess.Popen(
            [str(TAUT), "secrets", "edit", name],
            cwd=self.folder, env=self.environment, stdin=where, stdout=told, stderr=told, start_new_session=True,
        )  # fmt: skip

    def edit(self, name: str, code: int = 0) -> bytes:
        out, err = (process := self.start(name)).communicate(timeout=60)
        assert process.returncode == code, err.decode()
        return out + err

    @property
    def left(self) -> list[str]:
        return [p.name for p in self.memory.iterdir() if p.name.startswith("taut-edit-")]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    identity = pyrage.x25519.Identity.generate()
    memory = Path(f"/dev/shm/taut-test-{os.getpid()}")
    memory.mkdir(mode=0o700)
    environment = {
        "HOME": str(tmp_path), "PATH": os.environ["PATH"], "SOPS_AGE_KEY": str(identity), "XDG_RUNTIME_DIR": str(memory),
    }  # fmt: skip
    made = Desk(tmp_path, memory, environment)
    for name, text in TEXTS.items():
        (tmp_path / name).write_text(text)
        made.sops("-e", "-i", "--age", str(identity.to_public()), name)
    yield made
    for left in memory.glob("**/*"):
        if left.is_file():
            left.unlink()
    subprocess.run(["rm", "-r", str(memory)], check=True)


@pytest.mark.parametrize("name", TEXTS)
def test_only_what_was_changed_changes_in_git(desk: Desk, name: str) -> None:
    before = (desk.folder / name).read_text().splitlines()
    desk.editor(f"sed -i s/{WORD}/another-word/ $1")
    assert b"encrypted again" in desk.edit(name)
    assert b"another-word" in desk.sops("-d", name)
    after = (desk.folder / name).read_text().splitlines()
    changed = [line for line in after if line not in before]
    fields = ("one", "lastmodified", "mac", "version", "sops_lastmodified", "sops_mac", "sops_version")
    assert changed
    assert all(line.strip().strip('"').startswith(fields) for line in changed), changed
    assert desk.left == []


def test_nothing_changed_writes_nothing(desk: Desk) -> None:
    before = (desk.folder / "a.yaml").stat().st_mtime_ns
    desk.editor("true")
    assert b"Nothing was changed" in desk.edit("a.yaml")
    assert (desk.folder / "a.yaml").stat().st_mtime_ns == before


def test_what_cannot_be_encrypted_is_told_and_the_file_stays(desk: Desk) -> None:
    before = (desk.folder / "a.yaml").read_bytes()
    desk.editor('printf "one: [\\n" > $1')
    said = desk.edit("a.yaml", code=2)
    assert b"a.yaml" in said
    assert WORD.encode() not in said
    assert (desk.folder / "a.yaml").read_bytes() == before
    assert desk.left == []


def test_on_a_terminal_a_fault_can_be_mended(desk: Desk) -> None:
    desk.editor(
        'if [ -e seen ]; then cat $1 > again; printf "one: mended\\n" > $1; else touch seen; printf "one: [\\n" > $1; fi'
    )
    ours, theirs = pty.openpty()
    process = desk.start("a.yaml", terminal=theirs)
    os.close(theirs)
    said = _until(ours, b"Press Enter")
    os.write(ours, b"\n")
    assert process.wait(timeout=60) == 0
    assert b"a.yaml" in said
    assert (desk.folder / "again").read_text() == "one: [\n"
    assert desk.sops("-d", "a.yaml") == b"one: mended\n"
    assert desk.left == []


def _until(terminal: int, word: bytes) -> bytes:
    said = b""
    while word not in said:
        said += os.read(terminal, 4096)
    return said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_no_plain_text(desk: Desk, number: signal.Signals) -> None:
    before = (desk.folder / "a.yaml").read_bytes()
    desk.editor("cp $1 $1.swp; touch open; exec sleep 60")
    process = desk.start("a.yaml")
    while not (desk.folder / "open").exists():
        time.sleep(0.02)
    assert len(desk.left) == 1
    process.send_signal(number)
    assert process.wait(timeout=30) == 128 + number
    assert desk.left == []
    assert (desk.folder / "a.yaml").read_bytes() == before


def test_what_a_killed_one_left_goes_with_the_next(desk: Desk) -> None:
    desk.editor("touch open; exec sleep 60")
    process = desk.start("a.yaml")
    while not (desk.folder / "open").exists():
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert len(desk.left) == 1
    desk.editor("true")
    desk.edit("a.yaml")
    assert desk.left == []


def test_without_a_terminal_no_editor_is_guessed(desk: Desk) -> None:
    said = desk.edit("a.yaml", code=2)
    assert b"no terminal for an editor" in said
    desk.environment["EDITOR"] = "/no/such/editor"
    assert b"cannot be started" in desk.edit("a.yaml", code=2)


def test_a_file_that_somebody_changes_meanwhile_is_left_alone(desk: Desk) -> None:
    desk.editor(f'printf "changed: elsewhere\\n" > {desk.folder}/a.yaml; sed -i s/{WORD}/mine/ $1')
    assert b"somebody else" in desk.edit("a.yaml", code=2)
    assert (desk.folder / "a.yaml").read_text() == "changed: elsewhere\n"


def test_from_nothing_to_an_encrypted_file(tmp_path: Path) -> None:
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}

    def taut(*args: str, code: int = 0) -> str:
        done = subprocess.run(
            [str(TAUT), "secrets", *args], cwd=tmp_path, env=environment, capture_output=True, check=False
        )
        assert done.returncode == code, done.stderr.decode()
        return (done.stdout or done.stderr).decode()

    public = taut("keygen").strip()
    key = tmp_path / ".config/sops/age/keys.txt"
    assert key.stat().st_mode & 0o777 == 0o600
    assert "stays" in taut("keygen", code=2)
    (tmp_path / ".sops.yaml").write_text(f"creation_rules:\n  - age: {public}\n")
    (tmp_path / "a.yaml").write_text(f"one: {WORD}\n")
    taut("encrypt", "-i", "a.yaml")
    command = [str(SOPS), "--disable-version-check", "-d", "a.yaml"]
    assert (
        subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=False).stdout
        == f"one: {WORD}\n".encode()
    )
