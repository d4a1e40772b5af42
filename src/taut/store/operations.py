"""Rows of applications, inventories and operations: everything that is written ahead. Functions on a connection, no more."""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from taut.model.errors import StoreError
from taut.model.operation import HistoryEntry, Operation, OperationState, Step, StepState
from taut.model.plan import InventoryItem
from taut.model.record import AppRecord
from taut.model.refs import AppKey, ObjectRef, parse_app_key
from taut.store.keys import Keyring
from taut.store.records import Mark

_encode = msgspec.json.Encoder().encode
_read_record = msgspec.json.Decoder(AppRecord).decode
_read_item = msgspec.json.Decoder(InventoryItem).decode
_read_operation = msgspec.json.Decoder(Operation).decode
_read_step = msgspec.json.Decoder(Step).decode

_PUT_ITEM = (
    "INSERT INTO inventory (app, cluster, grp, kind, namespace, name, item) VALUES (?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (app, cluster, grp, kind, namespace, name) DO "
)
_HOLDERS = (
    "SELECT app FROM inventory JOIN apps ON apps.key = app "
    "WHERE cluster = ? AND grp = ? AND kind = ? AND namespace = ? AND name = ?"
)
"""The applications whose inventory holds an object. What is left of one that the store does not know any more claims nothing."""


def apps(connection: sqlite3.Connection, keyring: Keyring) -> list[AppRecord]:
    """All applications, ordered by key."""
    rows = connection.execute("SELECT key, record, spec, closure FROM apps ORDER BY key")
    return [
        msgspec.structs.replace(
            _read_record(record),
            spec=keyring.unseal(spec, f"spec:{key}") if spec else b"",
            closure=keyring.unseal(closure, f"closure:{key}") if closure else b"",
        )
        for key, record, spec, closure in rows
    ]


def put_app(connection: sqlite3.Connection, record: AppRecord, keyring: Keyring) -> None:
    """Insert or replace an application. Its document and closure are sealed: both may hold secret values inline."""
    key = record.key
    connection.execute(
        "INSERT OR REPLACE INTO apps (key, record, spec, closure) VALUES (?, ?, ?, ?)",
        (
            key,
            _encode(msgspec.structs.replace(record, spec=b"", closure=b"")),
            keyring.seal(record.spec, f"spec:{key}") if record.spec else b"",
            keyring.seal(record.closure, f"closure:{key}") if record.closure else b"",
        ),
    )


def drop_app(connection: sqlite3.Connection, key: str) -> None:
    """Forget an application, its approvals and its open drift. Its inventory stays: an object is only forgotten by name."""
    connection.execute("DELETE FROM apps WHERE key = ?", (key,))
    connection.execute("DELETE FROM drift WHERE app = ? AND outcome IN ('open', 'reported', 'contested')", (key,))
    connection.execute("DELETE FROM approvals WHERE app = ?", (key,))


def inventories(connection: sqlite3.Connection) -> dict[AppKey, dict[ObjectRef, InventoryItem]]:
    """Every inventory item of every application."""
    found: dict[str, dict[ObjectRef, InventoryItem]] = {}
    for app, blob in connection.execute("SELECT app, item FROM inventory"):
        item = _read_item(blob)
        found.setdefault(app, {})[item.ref] = item
    return {key: items for text, items in found.items() if (key := parse_app_key(text))}


def put_items(
    connection: sqlite3.Connection,
    app: str,
    items: Sequence[InventoryItem],
    taken_from: Mapping[ObjectRef, AppKey] | None = None,
) -> None:
    """Insert or replace inventory items. What another application gives up (`taken_from`) leaves its inventory; what else changed
    hands meanwhile stays where it is.
    """
    for ref, giver in (taken_from or {}).items():
        drop_items(connection, str(giver), [ref])
    own = [i for i in items if not (holders := _holders(connection, i.ref)) or app in holders]
    connection.executemany(_PUT_ITEM + "UPDATE SET item = excluded.item", [(app, *i.ref, _encode(i)) for i in own])


def _holders(connection: sqlite3.Connection, ref: ObjectRef) -> set[str]:
    return {app for (app,) in connection.execute(_HOLDERS, tuple(ref))}


def add_intended(
    connection: sqlite3.Connection, app: str, items: Sequence[InventoryItem], taken_from: Mapping[ObjectRef, AppKey]
) -> None:
    """Add what an operation intends to the inventory; what is known already stays as it is (the union of both). What another
    application gives up (`taken_from`) leaves its inventory.

    Raises StoreError when another one holds something else of it: an object has one owner.
    """
    for ref, giver in taken_from.items():
        drop_items(connection, str(giver), [ref])
    for item in items:
        others = _holders(connection, item.ref)
        if others and app not in others:
            raise StoreError(
                f"{item.ref} belongs to the application {min(others)}", advice="remove it from one of the two in Git"
            )
    rows = [(app, *i.ref, _encode(dataclasses.replace(i, pending=True))) for i in items]
    connection.executemany(_PUT_ITEM + "NOTHING", rows)


def drop_items(connection: sqlite3.Connection, app: str, refs: Sequence[ObjectRef]) -> None:
    """Remove objects from an application's inventory."""
    connection.executemany(
        "DELETE FROM inventory WHERE app = ? AND cluster = ? AND grp = ? AND kind = ? AND namespace = ? AND name = ?",
        [(app, *ref) for ref in refs],
    )


def begin(
    connection: sqlite3.Connection,
    operation: Operation,
    steps: Sequence[Step],
    manifests: Mapping[int, bytes],
    keyring: Keyring,
) -> int:
    """Store an operation with its steps and sealed manifests; its id comes out. `operation.id` is ignored.

    Raises StoreError when the application has a running operation.
    """
    app = str(operation.app)
    if connection.execute("SELECT 1 FROM operations WHERE app = ? AND state = 'Running'", (app,)).fetchone():
        raise StoreError(f"{app} has a running operation", advice="wait for it, or run `taut abort`")
    cursor = connection.execute(
        "INSERT INTO operations (app, state, operation) VALUES (?, ?, '')", (app, operation.state)
    )
    number = int(cursor.lastrowid or 0)
    connection.execute(
        "UPDATE operations SET operation = ? WHERE id = ?", (_encode(dataclasses.replace(operation, id=number)), number)
    )
    connection.executemany(
        "INSERT INTO steps (operation, number, step, state, message, sent_at, uid) VALUES (?, ?, ?, ?, ?, ?, ?)",
        [(number, s.number, _encode(s), s.state, s.message, s.sent_at, s.uid) for s in steps],
    )
    connection.executemany(
        "INSERT INTO manifests (operation, number, sealed) VALUES (?, ?, ?)",
        [(number, step, keyring.seal(body, f"manifest:{number}:{step}")) for step, body in manifests.items()],
    )
    return number


def running(connection: sqlite3.Connection) -> list[tuple[Operation, list[Step]]]:
    """The operations that were not finished, with their steps in order."""
    rows = connection.execute("SELECT operation FROM operations WHERE state = 'Running' ORDER BY id").fetchall()
    operations = [_read_operation(blob) for (blob,) in rows]
    return [(operation, steps(connection, operation.id)) for operation in operations]


def steps(connection: sqlite3.Connection, operation_id: int) -> list[Step]:
    """An operation's steps in order, as far as they came."""
    rows = connection.execute(
        "SELECT step, state, message, sent_at, uid FROM steps WHERE operation = ? ORDER BY number", (operation_id,)
    )
    return [
        dataclasses.replace(_read_step(blob), state=StepState(state), message=message, sent_at=sent_at, uid=uid)
        for blob, state, message, sent_at, uid in rows
    ]


def manifest(connection: sqlite3.Connection, operation_id: int, number: int, keyring: Keyring) -> bytes:
    """What a step applies. Raises StoreError when the step has none, or the operation is finished."""
    query = "SELECT sealed FROM manifests WHERE operation = ? AND number = ?"
    row = connection.execute(query, (operation_id, number)).fetchone()
    if row is None:
        raise StoreError(
            f"Operation {operation_id} keeps no manifest for step {number}",
            advice="run the sync again; taut plans it from Git",
        )
    return keyring.unseal(row[0], f"manifest:{operation_id}:{number}")


def mark(connection: sqlite3.Connection, operation_id: int, marks: Sequence[Mark]) -> None:
    """Move steps on, together with their inventory items. Raises StoreError when the operation or a step is not there."""
    row = connection.execute("SELECT app FROM operations WHERE id = ?", (operation_id,)).fetchone()
    if row is None:
        raise _no_operation(operation_id)
    app: str = row[0]
    for m in marks:
        found = connection.execute(
            "UPDATE steps SET state = ?, message = ?, sent_at = CASE WHEN ? > 0 THEN ? ELSE sent_at END, "
            "uid = CASE WHEN ? <> '' THEN ? ELSE uid END WHERE operation = ? AND number = ? RETURNING step",
            (m.state, m.message, m.sent_at, m.sent_at, m.uid, m.uid, operation_id, m.number),
        ).fetchone()
        if found is None:
            raise StoreError(f"Operation {operation_id} has no step {m.number}", advice="report this with taut's log")
        if m.item is not None:
            put_items(connection, app, [m.item])
        elif m.drop:
            drop_items(connection, app, [_read_step(found[0]).ref])


def update_operation(connection: sqlite3.Connection, operation_id: int, fields: Mapping[str, Any]) -> Operation:
    """Change fields of an operation; the new state of it comes out. Raises StoreError when it is not there."""
    row = connection.execute("SELECT operation FROM operations WHERE id = ?", (operation_id,)).fetchone()
    if row is None:
        raise _no_operation(operation_id)
    operation = dataclasses.replace(_read_operation(row[0]), **fields)
    _write_operation(connection, operation)
    return operation


def end_operation(connection: sqlite3.Connection, operation: Operation) -> None:
    """Store how an operation ended, and let go of its steps and manifests: history holds what people ask for later."""
    if operation.state is OperationState.RUNNING:
        raise StoreError(
            f"Operation {operation.id} cannot end while it is running", advice="report this with taut's log"
        )
    _write_operation(connection, operation)
    connection.execute("DELETE FROM steps WHERE operation = ?", (operation.id,))
    connection.execute("DELETE FROM manifests WHERE operation = ?", (operation.id,))
    connection.execute(
        "DELETE FROM operations WHERE app = ? AND state <> 'Running' AND id < ?", (str(operation.app), operation.id)
    )


def last_operations(connection: sqlite3.Connection) -> dict[AppKey, Operation]:
    """The newest operation of every application, running or ended."""
    rows = connection.execute("SELECT operation, max(id) FROM operations GROUP BY app")
    return {operation.app: operation for operation in (_read_operation(blob) for blob, _ in rows)}


def add_history(connection: sqlite3.Connection, entry: HistoryEntry, keep: int) -> None:
    """Add an entry under its operation's id, and let go of all but the newest `keep` of the application."""
    app = str(entry.app)
    connection.execute("INSERT INTO history (id, app, entry) VALUES (?, ?, ?)", (entry.id, app, _encode(entry)))
    connection.execute(
        "DELETE FROM history WHERE app = ? AND id <= "
        "(SELECT id FROM history WHERE app = ? ORDER BY id DESC LIMIT 1 OFFSET ?)",
        (app, app, max(keep, 1)),
    )


def _write_operation(connection: sqlite3.Connection, operation: Operation) -> None:
    cursor = connection.execute(
        "UPDATE operations SET state = ?, operation = ? WHERE id = ?",
        (operation.state, _encode(operation), operation.id),
    )
    if cursor.rowcount == 0:
        raise _no_operation(operation.id)


def _no_operation(operation_id: int) -> StoreError:
    return StoreError(f"There is no operation {operation_id}", advice="report this with taut's log")
