"""The server's life: loopback only, announced while it runs, no token for others."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from support.memory_backend import running
from taut.model.errors import BadInput, StoreError, TautError
from taut.server import announce
from taut.server.auth import load_token
from taut.server.serve import bind


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "192.0.2.1:0", "example.com:0", "127.0.0.1", "127.0.0.1:99999", ":x"])
def test_other_addresses_are_refused(listen: str) -> None:
    with pytest.raises(BadInput) as caught:
        bind(listen)
    assert caught.value.advice


def test_a_taken_port_is_said() -> None:
    with bind("localhost:0") as first, pytest.raises(TautError, match="cannot listen"):
        bind(f"127.0.0.1:{first.getsockname()[1]}")


def test_it_is_announced_while_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    with running(tmp_path) as up:
        beside = json.loads((tmp_path / "taut.json").read_text())
        assert beside == {
            "server": up.url,
            "tokenFile": str(up.token_file),
            "store": str(tmp_path / "taut.db"),
            "pid": os.getpid(),
        }
        assert [a.server for a in announce.running()] == [up.url]
        host, port = up.url.removeprefix("http://").split(":")
        assert host == "127.0.0.1"
    assert announce.running() == []
    assert not (tmp_path / "taut.json").exists()
    with socket.socket() as probe:
        assert probe.connect_ex((host, int(port))) != 0


def test_a_dead_process_is_not_running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    announce.announce(
        announce.Announcement(server="http://127.0.0.1:1", token_file="t", store=str(tmp_path / "s"), pid=2**22 + 1)
    )
    assert announce.running() == []
    (announce.runtime_folder() / "broken.json").write_text("{")
    assert announce.running() == []


def test_the_token_file_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "token"
    assert load_token(path) == load_token(path)
    path.chmod(0o644)
    with pytest.raises(StoreError, match="0644"):
        load_token(path)
    path.chmod(0o600)
    path.write_text("short")
    with pytest.raises(StoreError, match="no token"):
        load_token(path)


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "[::1]:0"])
def test_answers_do_not_wait_for_acknowledgements(listen: str) -> None:
    with bind(listen) as listening, socket.create_connection(listening.getsockname()[:2]):
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
