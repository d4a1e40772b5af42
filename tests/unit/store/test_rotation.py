"""The key file is exchanged: everything opens with the new one, nothing with the old one, also when it is killed between any two steps."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from click.testing import CliRunner

from taut.cli.storage import store as store_commands
from taut.model.errors import StoreError
from taut.model.operation import Operation, OperationKind, OperationState, Step
from taut.model.plan import Action, InventoryItem, Phase
from taut.model.record import AppRecord
from taut.model.refs import AppKey, ObjectRef
from taut.store.rotation import rotate_key
from taut.store.store import Store

APP = AppKey("root", "", "web")
REF = ObjectRef("local", "", "Secret", "shop", "db")


async def _filled(path: Path) -> str:
    """A store that holds something of each kind that is sealed; the answer is a hash that is kept elsewhere."""
    store = Store.open(path)
    await store.put_app(AppRecord(key=str(APP), spec=b'{"a": "inline value"}', closure=b'{"b": 1}'))
    operation = Operation(0, APP, OperationKind.SYNC, OperationState.RUNNING, "r", "p", 1.0, 2.0, "test")
    steps = [Step(0, REF, Action.CREATE, Phase.SYNC, 0, "v1")]
    await store.begin(operation, steps, {0: b"a manifest"}, [InventoryItem(REF, "v1")])
    await store.keep_secret("webhook", b"a private key")
    await store.put_account("token", "a1", b"a record", 0.0)
    store.blob_put("render", b"a render")
    digest = store.mac(b"value")
    await store.close()
    return digest


async def _holds(path: Path, digest: str) -> None:
    store = Store.open(path)
    try:
        [record] = await store.apps()
        assert (record.spec, record.closure) == (b'{"a": "inline value"}', b'{"b": 1}')
        [(operation, _)] = await store.running()
        assert await store.manifest(operation.id, 0) == b"a manifest"
        assert await store.kept_secret("webhook") == b"a private key"
        assert await store.accounts("token") == {"a1": b"a record"}
        assert store.blob_get("render") == b"a render"
        assert store.mac(b"value") == digest
        assert await store.verify_audit() is None
    finally:
        await store.close()


def _beside(path: Path) -> set[str]:
    return {p.name.removeprefix(path.name) for p in path.parent.iterdir()} - {".lock", ".renders-wal", ".renders-shm"}


async def test_all_opens_with_the_new_key_and_nothing_with_the_old(tmp_path: Path) -> None:
    path = tmp_path / "taut.db"
    digest = await _filled(path)
    old = (tmp_path / "taut.db.key").read_bytes()
    sealed = _sealed(path)
    assert len(sealed) == 5
    for _ in range(2):
        assert rotate_key(path, by="ada") is True
        assert _beside(path) == {"", ".key", ".renders"}
        await _holds(path, digest)
    key = tmp_path / "taut.db.key"
    assert key.read_bytes() != old
    assert key.stat().st_mode & 0o777 == 0o600
    raw = path.read_bytes()
    assert not [s for s in sealed if s in raw], (
        "what the old key opens is no longer in the file, not even in free pages"
    )
    key.write_bytes(old)
    with pytest.raises(StoreError, match="does not belong to this store"):
        Store.open(path)


def _sealed(path: Path) -> list[bytes]:
    connection = sqlite3.connect(path)
    try:
        rows: list[Any] = connection.execute("SELECT spec, closure FROM apps").fetchone()
        manifest = connection.execute("SELECT sealed FROM manifests").fetchone()[0]
        note = connection.execute("SELECT value FROM meta WHERE key = 'secret webhook'").fetchone()[0].encode()
        account = connection.execute("SELECT sealed FROM accounts").fetchone()[0]
        return [*rows, manifest, note, account]
    finally:
        connection.close()


async def test_the_audit_says_who_did_it(tmp_path: Path) -> None:
    path = tmp_path / "taut.db"
    await _filled(path)
    rotate_key(path, by="ada")
    store = Store.open(path)
    assert [(a.actor, a.action) for a in await store.audit_entries()] == [("ada", "rotate-key")]
    await store.close()


async def test_refused_while_taut_uses_the_store(tmp_path: Path) -> None:
    path = tmp_path / "taut.db"
    store = Store.open(path)
    result = CliRunner().invoke(store_commands, ["rotate-key", str(path)])
    assert isinstance(result.exception, StoreError)
    assert "uses this store" in result.exception.what
    assert not (tmp_path / "taut.db.key.new").exists()
    await store.close()
    assert rotate_key(path, by="ada") is True


def test_no_store(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="There is no store"):
        rotate_key(tmp_path / "taut.db", by="ada")
    assert list(tmp_path.iterdir()) == []


async def test_a_damaged_cache_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "taut.db"
    await _filled(path)
    (tmp_path / "taut.db.renders").write_bytes(b"nothing of SQLite's" * 100)
    rotate_key(path, by="ada")
    store = Store.open(path)
    assert store.blob_get("render") is None
    store.blob_put("render", b"again")
    assert store.blob_get("render") == b"again"
    await store.close()


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
@pytest.mark.timeout(180)
async def test_killed_between_any_two_steps(tmp_path: Path) -> None:
    template = tmp_path / "template"
    template.mkdir()
    digest = await _filled(template / "taut.db")
    finished, started, number = 0, 0, 0
    while True:
        number += 1
        folder = tmp_path / str(number)
        shutil.copytree(template, folder)
        path = folder / "taut.db"
        if not _killed(lambda path=path: rotate_key(path, by="ada"), number):
            break
        if number % 2:
            await _holds(path, digest)
            assert _beside(path) == {"", ".key", ".renders"}
            key = (folder / "taut.db.key").read_bytes()
            done = key != (template / "taut.db.key").read_bytes()
            assert rotate_key(path, by="ada") is True
        else:
            done = not rotate_key(path, by="ada")
        finished, started = finished + done, started + (not done)
        await _holds(path, digest)
        assert _beside(path) == {"", ".key", ".renders"}
        assert (folder / "taut.db.key").read_bytes() != (template / "taut.db.key").read_bytes()
        shutil.rmtree(folder)
    assert number > 60, "every line of the exchange is a place to be killed at"
    assert finished > 10, "killed after the transaction"
    assert started > 30, "killed before it"


def _killed(work: Callable[[], object], at: int) -> bool:
    """Run `work` in a process that is killed ahead of line number `at` of the modules that exchange the key; whether it was."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    count = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal count
        if not frame.f_code.co_filename.endswith(("/store/rotation.py", "/store/blobs.py", "/store/keys.py")):
            return None
        if event == "line":
            count += 1
            if count == at:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    try:
        sys.settrace(trace)
        work()
    finally:
        os._exit(0)
