"""Rows of what happened: history, drift, approvals, events, hooks that ran, and the audit chain. Functions on a connection."""

from __future__ import annotations

import dataclasses
import hashlib
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from taut.model.drift import DriftOutcome, DriftRecord
from taut.model.errors import StoreError, Where
from taut.model.operation import Approval, AuditEntry, HistoryEntry
from taut.store.records import AuditNote, Event

_encode = msgspec.json.Encoder().encode
_read_entry = msgspec.json.Decoder(HistoryEntry).decode
_read_drift = msgspec.json.Decoder(DriftRecord).decode
_read_approval = msgspec.json.Decoder(Approval).decode

KEEP_DRIFT = 20_000
KEEP_EVENTS = 50_000
_SWEEP = 256
"""Old rows are let go of at every 256th id, not at each insertion."""


def history(connection: sqlite3.Connection, app: str, limit: int) -> list[HistoryEntry]:
    """The newest entries of an application, newest first."""
    rows = connection.execute("SELECT entry FROM history WHERE app = ? ORDER BY id DESC LIMIT ?", (app, limit))
    return [_read_entry(blob) for (blob,) in rows]


def add_drift(connection: sqlite3.Connection, records: Iterable[DriftRecord]) -> list[DriftRecord]:
    """Store drift records; they come back with their ids."""
    added: list[DriftRecord] = []
    for record in records:
        cursor = connection.execute(
            "INSERT INTO drift (app, outcome, healed_at, reason, record) VALUES (?, ?, ?, ?, ?)",
            (str(record.app), record.outcome, record.healed_at, record.reason, _encode(record)),
        )
        added.append(dataclasses.replace(record, id=int(cursor.lastrowid or 0)))
    if added and _due(added[0].id, added[-1].id):
        connection.execute("DELETE FROM drift WHERE outcome <> 'open' AND id <= ?", (added[-1].id - KEEP_DRIFT,))
    return added


def settle_drift(
    connection: sqlite3.Connection, ids: Sequence[int], outcome: DriftOutcome, healed_at: float, reason: str
) -> None:
    """Say what became of drifts."""
    connection.executemany(
        "UPDATE drift SET outcome = ?, healed_at = ?, reason = ? WHERE id = ?",
        [(outcome, healed_at, reason, number) for number in ids],
    )


def drift(connection: sqlite3.Connection, app: str | None, open_only: bool, limit: int) -> list[DriftRecord]:
    """Drift records, newest first, of one application or of all."""
    wheres = (["app = ?"] if app is not None else []) + (
        ["outcome IN ('open', 'reported', 'contested')"] if open_only else []
    )
    where = f"WHERE {' AND '.join(wheres)} " if wheres else ""
    rows = connection.execute(
        f"SELECT id, outcome, healed_at, reason, record FROM drift {where}ORDER BY id DESC LIMIT ?",  # noqa: S608 (fixed words only)
        ((app,) if app is not None else ()) + (limit,),
    )
    return [
        dataclasses.replace(
            _read_drift(blob), id=number, outcome=DriftOutcome(outcome), healed_at=healed_at, reason=reason
        )
        for number, outcome, healed_at, reason, blob in rows
    ]


def heals_since(connection: sqlite3.Connection, at: float) -> list[DriftRecord]:
    """Drift that was healed after `at`, the oldest first."""
    rows = connection.execute(
        "SELECT id, healed_at, record FROM drift WHERE outcome = 'healed' AND healed_at > ? ORDER BY id", (at,)
    )
    return [
        dataclasses.replace(_read_drift(blob), id=number, outcome=DriftOutcome.HEALED, healed_at=healed_at)
        for number, healed_at, blob in rows
    ]


def approve(connection: sqlite3.Connection, approval: Approval) -> None:
    """Store an approval; one for the same plan is replaced."""
    connection.execute(
        "INSERT OR REPLACE INTO approvals (app, plan_hash, approval) VALUES (?, ?, ?)",
        (str(approval.app), approval.plan_hash, _encode(approval)),
    )


def approvals(connection: sqlite3.Connection, app: str | None) -> list[Approval]:
    """The approvals that were not used yet, of one application or of all."""
    if app is None:
        rows = connection.execute("SELECT approval FROM approvals")
    else:
        rows = connection.execute("SELECT approval FROM approvals WHERE app = ?", (app,))
    return [_read_approval(blob) for (blob,) in rows]


def use_approvals(connection: sqlite3.Connection, app: str, plan_hashes: Iterable[str]) -> None:
    """Remove approvals: each lets a plan pass once."""
    connection.executemany(
        "DELETE FROM approvals WHERE app = ? AND plan_hash = ?", [(app, plan_hash) for plan_hash in plan_hashes]
    )


def add_event(connection: sqlite3.Connection, app: str, at: float, *, kind: str, message: str, object_: str) -> int:
    """Add a line to the timeline; its number comes out."""
    cursor = connection.execute(
        "INSERT INTO events (app, at, kind, message, object) VALUES (?, ?, ?, ?, ?)", (app, at, kind, message, object_)
    )
    number = int(cursor.lastrowid or 0)
    if _due(number, number):
        connection.execute("DELETE FROM events WHERE id <= ?", (number - KEEP_EVENTS,))
    return number


def events(connection: sqlite3.Connection, app: str | None, limit: int) -> list[Event]:
    """The timeline, newest first, of one application or of all."""
    columns = "SELECT id, app, at, kind, message, object FROM events "
    if app is None:
        rows = connection.execute(columns + "ORDER BY id DESC LIMIT ?", (limit,))
    else:
        rows = connection.execute(columns + "WHERE app = ? ORDER BY id DESC LIMIT ?", (app, limit))
    return [Event(*row) for row in rows]


def run_result(connection: sqlite3.Connection, run_key: str) -> str | None:
    """How a hook's run ended; None when it never did."""
    row = connection.execute("SELECT result FROM runs WHERE run_key = ?", (run_key,)).fetchone()
    return None if row is None else str(row[0])


def record_run(connection: sqlite3.Connection, run_key: str, result: str, at: float) -> None:
    """Remember that a hook ran, and how it ended."""
    connection.execute("INSERT OR REPLACE INTO runs (run_key, result, at) VALUES (?, ?, ?)", (run_key, result, at))


def add_audit(connection: sqlite3.Connection, note: AuditNote, at: float) -> AuditEntry:
    """Append to the audit chain. The newest hash is also kept apart, so that a cut-off end is noticed."""
    row = connection.execute("SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1").fetchone()
    number, previous = (row[0] + 1, row[1]) if row else (1, "")
    digest = _audit_hash(number, at, note, previous)
    entry = AuditEntry(number, at, note.actor, note.action, note.subject, note.detail, previous, digest, note.source)
    connection.execute(
        "INSERT INTO audit (number, at, actor, action, subject, detail, previous, hash, source)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (number, at, note.actor, note.action, note.subject, note.detail, previous, digest, note.source),
    )
    connection.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('audit_head', ?)", (f"{number} {digest}",))
    return entry


def audit_entries(connection: sqlite3.Connection, limit: int, subject: str | None) -> list[AuditEntry]:
    """The newest entries, newest first, of one subject or of all."""
    columns = "SELECT number, at, actor, action, subject, detail, previous, hash, source FROM audit "
    if subject is None:
        rows = connection.execute(columns + "ORDER BY number DESC LIMIT ?", (limit,))
    else:
        rows = connection.execute(columns + "WHERE subject = ? ORDER BY number DESC LIMIT ?", (subject, limit))
    return [AuditEntry(*row) for row in rows]


def verify_audit(connection: sqlite3.Connection) -> int | None:
    """The number of the first entry that is missing or was changed; None when the chain is whole."""
    previous, expected = "", 1
    rows = connection.execute(
        "SELECT number, at, actor, action, subject, detail, previous, hash, source FROM audit ORDER BY number"
    )
    for number, at, actor, action, subject, detail, linked, digest, source in rows:
        note = AuditNote(actor, action, subject, detail, source)
        if number != expected or linked != previous or digest != _audit_hash(number, at, note, linked):
            return expected
        previous, expected = digest, number + 1
    head = connection.execute("SELECT value FROM meta WHERE key = 'audit_head'").fetchone()
    if head is None:
        return None if expected == 1 else expected - 1
    return None if head[0] == f"{expected - 1} {previous}" else expected


class OtherKeyError(StoreError):
    """The store belongs to another key file."""


def check_key(connection: sqlite3.Connection, mac: str, path: Path) -> None:
    """Tie the store to its key file at first use. Raises OtherKeyError when it belongs to another key."""
    row = connection.execute("SELECT value FROM meta WHERE key = 'key_check'").fetchone()
    if row is None:
        connection.execute("INSERT INTO meta (key, value) VALUES ('key_check', ?)", (mac,))
    elif row[0] != mac:
        raise OtherKeyError(
            "The key file does not belong to this store",
            where=Where(file=str(path)),
            advice="put the key file back that was made with it, or move the store aside with `taut store set-aside`",
        )


def steady_anchor(connection: sqlite3.Connection, boot: str, anchor: float) -> tuple[float, bool]:
    """The anchor that is kept for this boot, and True; else `anchor`, which is kept, and False."""
    kept_boot, _, kept = (get_note(connection, "steady_anchor") or "").partition(" ")
    if boot and kept_boot == boot:
        return float(kept), True
    put_note(connection, "steady_anchor", f"{boot} {anchor!r}")
    return anchor, False


def put_note(connection: sqlite3.Connection, name: str, value: str | None) -> None:
    """Remember a word under a name; None forgets it."""
    if value is None:
        connection.execute("DELETE FROM meta WHERE key = ?", (name,))
    else:
        connection.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (name, value))


def get_note(connection: sqlite3.Connection, name: str) -> str | None:
    """The word that is remembered under a name."""
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (name,)).fetchone()
    return None if row is None else str(row[0])


def _audit_hash(number: int, at: float, note: AuditNote, previous: str) -> str:
    # Entries from before there was a source keep their hashes.
    source = [note.source] if note.source else []
    body = _encode([number, at, note.actor, note.action, note.subject, note.detail, previous, *source])
    return hashlib.sha256(body).hexdigest()


def _due(first: int, last: int) -> bool:
    """Whether the ids from `first` to `last` pass a multiple of the sweep's distance."""
    return first // _SWEEP != last // _SWEEP or last % _SWEEP == 0
