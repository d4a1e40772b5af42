"""A running API for the commands, and a way to run a command as `taut` does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.memory_backend import Running, running
from taut.cli.ending import run_command
from taut.cli.main import cli


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


type Taut = Callable[..., Ended]


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """A taut that is found by its announcement."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.delenv("TAUT_SERVER", raising=False)
    monkeypatch.delenv("TAUT_TOKEN_FILE", raising=False)
    with running(tmp_path) as up:
        yield up


@pytest.fixture
def taut(capsys: pytest.CaptureFixture[str]) -> Taut:
    """Run a command in this process."""

    def run(*args: str) -> Ended:
        code = run_command(cli, args)
        out, err = capsys.readouterr()
        return Ended(int(code), out, err)

    return run
