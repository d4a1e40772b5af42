"""The store: one interface to all that taut remembers."""

from __future__ import annotations

import asyncio
import base64
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from taut.model.drift import DriftOutcome, DriftRecord
from taut.model.errors import StoreError
from taut.model.operation import Approval, AuditEntry, HistoryEntry, Operation, Step
from taut.model.plan import InventoryItem
from taut.model.record import AppRecord
from taut.model.refs import AppKey, ObjectRef
from taut.store import accounts, journal, operations, outbox, pins
from taut.store.blobs import DEFAULT_LIMIT, BlobCache
from taut.store.files import close_database
from taut.store.keys import Keyring
from taut.store.lock import StoreLock
from taut.store.outbox import Post
from taut.store.records import AuditNote, DriftEnd, Event, EventNote, Mark
from taut.store.rotation import key_file_of, open_sealed
from taut.store.writer import Writer


class Store:
    """What taut remembers: see DESIGN.md, State. Made by `Store.open`.

    Methods are coroutines unless said. Each returns after its commit; calls made at the same time share one (group commit).
    All raise StoreError when the store cannot be read or written; the failed call then changed nothing.
    Records that are written ahead of a change to a target survive a power failure; history, drift and events survive the
    end of the process.
    """

    def __init__(self, writer: Writer, keyring: Keyring, blobs: BlobCache, lock: StoreLock) -> None:
        self._writer = writer
        self._keyring = keyring
        self._blobs = blobs
        self._lock = lock

    @classmethod
    def open(cls, path: Path, *, key_file: Path | None = None, cache_limit: int = DEFAULT_LIMIT) -> Store:
        """Open the store at `path`, made at first use with its folder; synchronous.

        `key_file` is by default `<path>.key`, made at first use; an exchange of it that was interrupted is finished. `cache_limit` bounds the cache of renders (bytes).
        Raises StoreError when another taut uses it, when it is damaged, newer than this taut, unreadable, or belongs to another key.
        """
        path = path.absolute()
        _make_folder(path.parent)
        lock = StoreLock(path)
        try:
            connection, keyring, _ = open_sealed(path, key_file or key_file_of(path))
        except BaseException:
            lock.release()
            raise
        blobs = BlobCache(path.with_name(path.name + ".renders"), keyring, limit=cache_limit)
        return cls(Writer(connection, path, close_database), keyring, blobs, lock)

    async def close(self) -> None:
        """Carry out what is queued, close the files, let the next process in. Harmless when called twice."""
        await asyncio.to_thread(self._writer.close)
        self._blobs.close()
        self._lock.release()

    @property
    def failing(self) -> StoreError | None:
        """Why the store cannot be written now; None while it can. Synchronous. It is tried again by itself."""
        return self._writer.failing

    async def run[T](self, work: Callable[[sqlite3.Connection], T], *, durable: bool = False) -> T:
        """Run `work` in a transaction of the store; see `Writer.run`. It may run twice, so it must not touch anything else."""
        return await self._writer.run(work, durable=durable)

    # Applications and inventories

    async def apps(self) -> list[AppRecord]:
        """All applications that are remembered."""
        return await self.run(partial(operations.apps, keyring=self._keyring))

    async def put_app(self, record: AppRecord) -> None:
        """Remember an application."""
        await self.run(partial(operations.put_app, record=record, keyring=self._keyring), durable=True)

    async def drop_app(self, key: AppKey | str) -> None:
        """Forget an application, its approvals and its open drift. Its history stays, and so does what is left of its inventory."""
        await self.run(partial(operations.drop_app, key=str(key)), durable=True)

    async def inventories(self) -> dict[AppKey, dict[ObjectRef, InventoryItem]]:
        """The objects of every application."""
        return await self.run(operations.inventories)

    async def put_items(
        self, app: AppKey, items: Sequence[InventoryItem], *, taken_from: Mapping[ObjectRef, AppKey] | None = None
    ) -> None:
        """Insert or replace inventory items. In the same transaction those of `taken_from` leave the inventory of who gives them up."""
        await self.run(partial(operations.put_items, app=str(app), items=items, taken_from=taken_from), durable=True)

    async def drop_items(self, app: AppKey, refs: Sequence[ObjectRef]) -> None:
        """Remove objects from an inventory."""
        await self.run(partial(operations.drop_items, app=str(app), refs=refs), durable=True)

    # Operations

    async def begin(
        self,
        operation: Operation,
        steps: Sequence[Step],
        manifests: Mapping[int, bytes],
        intended: Sequence[InventoryItem],
        audit: AuditNote | None = None,
        event: EventNote | None = None,
        *,
        taken_from: Mapping[ObjectRef, AppKey] | None = None,
        posts: Sequence[Post] = (),
    ) -> int:
        """Write an operation ahead, in one transaction: itself, its steps, its sealed manifests (by step number), the union
        of the inventory with `intended` (new items become pending, known ones stay), what is said of it, and what is to be told
        to others. Its id comes out.
        Objects of `taken_from` leave the inventory of the application that gives them up.

        Raises StoreError when the application has a running operation, or another one's inventory holds an intended object.
        """

        def work(connection: sqlite3.Connection) -> int:
            number = operations.begin(connection, operation, steps, manifests, self._keyring)
            operations.add_intended(connection, str(operation.app), intended, taken_from or {})
            _audit(connection, audit)
            _events(connection, operation.app, (event,) if event else ())
            outbox.post(connection, posts, self._keyring, time.time())
            return number

        return await self.run(work, durable=True)

    async def running(self) -> list[tuple[Operation, list[Step]]]:
        """The operations that were not finished, with their steps in order."""
        return await self.run(operations.running)

    async def last_operations(self) -> dict[AppKey, Operation]:
        """The newest operation of every application, running or ended."""
        return await self.run(operations.last_operations)

    async def manifest(self, operation_id: int, step_number: int) -> bytes:
        """What a step of a running operation applies, as it was given to `begin`."""
        work = partial(operations.manifest, operation_id=operation_id, number=step_number, keyring=self._keyring)
        return await self.run(work)

    async def mark(self, operation_id: int, marks: Sequence[Mark]) -> None:
        """Move steps on and, in the same transaction, write or drop their inventory items."""
        await self.run(partial(operations.mark, operation_id=operation_id, marks=marks), durable=True)

    async def update_operation(self, operation_id: int, **fields: Any) -> Operation:
        """Change fields of an operation (message, abort_requested, deadline, …); the new one comes out."""
        return await self.run(
            partial(operations.update_operation, operation_id=operation_id, fields=fields), durable=True
        )

    async def finish(
        self,
        operation: Operation,
        history: HistoryEntry | None,
        record: AppRecord | None,
        approvals_used: Iterable[str] = (),
        *,
        history_limit: int = 100,
        audit: AuditNote | None = None,
        drift: DriftEnd | None = None,
        events: Sequence[EventNote] = (),
        posts: Sequence[Post] = (),
    ) -> None:
        """End an operation, in one transaction: its last state, its history entry (under the operation's id), the application's
        record, the approvals it used up (plan hashes), what became of drift, what is said of it, and what is to be told to
        others. Its steps and manifests are let go of."""

        def work(connection: sqlite3.Connection) -> None:
            operations.end_operation(connection, operation)
            if history is not None:
                operations.add_history(connection, replace(history, id=operation.id), history_limit)
            if record is not None:
                operations.put_app(connection, record, self._keyring)
            journal.use_approvals(connection, str(operation.app), used)
            if drift is not None:
                journal.settle_drift(connection, drift.ids, drift.outcome, drift.at, drift.reason)
            _audit(connection, audit)
            _events(connection, operation.app, events)
            outbox.post(connection, posts, self._keyring, time.time())

        used = tuple(approvals_used)
        await self.run(work, durable=True)

    async def ran(self, run_key: str) -> bool:
        """Whether the hook with this run key ran to its end before."""
        return await self.run_result(run_key) is not None

    async def run_result(self, run_key: str) -> str | None:
        """How that run ended; None when it never did."""
        return await self.run(partial(journal.run_result, run_key=run_key))

    async def record_run(self, run_key: str, result: str) -> None:
        """Remember that a hook ran, and how it ended."""
        await self.run(partial(journal.record_run, run_key=run_key, result=result, at=time.time()), durable=True)

    # Deployed revisions

    async def newest_pins(self) -> dict[str, frozenset[pins.Pin]]:
        """For every application (by its key) the revisions that it was deployed from last."""
        return await self.run(pins.newest_pins)

    async def pins_of(self, app: AppKey) -> list[pins.Pin]:
        """The revisions that are kept for an application, the oldest first, with their repositories' URLs."""
        return await self.run(partial(pins.pins_of, app=str(app)))

    async def all_pins(self) -> set[pins.Pin]:
        """Every revision that is kept for some application."""
        return await self.run(pins.all_pins)

    async def add_pins(self, app: AppKey, wanted: Iterable[pins.Pin], limit: int) -> list[pins.Pin]:
        """Keep revisions for an application, those of its newest `limit` deployments. What nobody keeps any more comes out."""
        work = partial(pins.add_pins, app=str(app), pins=tuple(wanted), at=time.time(), limit=limit)
        return await self.run(work)

    async def drop_pins(self, app: AppKey) -> list[pins.Pin]:
        """Keep nothing for an application any more. What nobody keeps comes out."""
        return await self.run(partial(pins.drop_pins, app=str(app)))

    # What happened

    async def history(self, app: AppKey, limit: int = 50) -> list[HistoryEntry]:
        """The newest finished operations, newest first."""
        return await self.run(partial(journal.history, app=str(app), limit=limit))

    async def add_drift(
        self, records: Sequence[DriftRecord], posts_of: Callable[[Sequence[DriftRecord]], Sequence[Post]] | None = None
    ) -> list[DriftRecord]:
        """Store drift records, and in the same transaction what is to be told of them; they come back with their ids."""

        def work(connection: sqlite3.Connection) -> list[DriftRecord]:
            added = journal.add_drift(connection, records)
            outbox.post(connection, posts_of(added) if posts_of is not None else (), self._keyring, time.time())
            return added

        return await self.run(work)

    async def settle_drift(
        self,
        ids: Sequence[int],
        outcome: DriftOutcome,
        healed_at: float = 0.0,
        reason: str = "",
        posts: Sequence[Post] = (),
    ) -> None:
        """Say what became of drifts, and write down in the same transaction what is to be told of that."""

        def work(connection: sqlite3.Connection) -> None:
            journal.settle_drift(connection, ids, outcome, healed_at, reason)
            outbox.post(connection, posts, self._keyring, time.time())

        await self.run(work)

    async def drift(
        self, app: AppKey | None = None, *, open_only: bool = False, limit: int = 1000
    ) -> list[DriftRecord]:
        """Drift records, newest first, of one application or of all."""
        return await self.run(partial(journal.drift, app=_text(app), open_only=open_only, limit=limit))

    async def heals_since(self, at: float) -> list[DriftRecord]:
        """Drift that was healed after `at` (Unix seconds), the oldest first."""
        return await self.run(partial(journal.heals_since, at=at))

    async def approve(self, approval: Approval, audit: AuditNote | None = None) -> None:
        """Let one plan of one application pass, once."""

        def work(connection: sqlite3.Connection) -> None:
            journal.approve(connection, approval)
            _audit(connection, audit)

        await self.run(work, durable=True)

    async def approvals(self, app: AppKey | None = None) -> list[Approval]:
        """The approvals that were not used yet."""
        return await self.run(partial(journal.approvals, app=_text(app)))

    async def revoke(self, app: AppKey, plan_hashes: Iterable[str]) -> None:
        """Take approvals back."""
        work = partial(journal.use_approvals, app=str(app), plan_hashes=tuple(plan_hashes))
        await self.run(work, durable=True)

    async def add_event(self, app: AppKey | str, at: float, kind: str, message: str, object: str = "") -> int:
        """Add a line to the timeline behind `taut events`; its number comes out."""
        work = partial(journal.add_event, app=str(app), at=at, kind=kind, message=message, object_=object)
        return await self.run(work)

    async def events(self, app: AppKey | None = None, limit: int = 200) -> list[Event]:
        """The timeline, newest first, of one application or of all."""
        return await self.run(partial(journal.events, app=_text(app), limit=limit))

    async def audit(self, actor: str, action: str, subject: str, detail: str = "") -> AuditEntry:
        """Append to the hash-chained audit."""
        note = AuditNote(actor, action, subject, detail)
        return await self.run(partial(journal.add_audit, note=note, at=time.time()), durable=True)

    async def audit_entries(self, limit: int = 200, subject: str | None = None) -> list[AuditEntry]:
        """The newest audit entries, newest first, of one subject or of all."""
        return await self.run(partial(journal.audit_entries, limit=limit, subject=subject))

    async def verify_audit(self) -> int | None:
        """The number of the first audit entry that is missing or was changed; None when the chain is whole."""
        return await self.run(journal.verify_audit)

    # What is to be told to others

    async def post(
        self, posts: Sequence[Post], alerts: Mapping[str, bytes | None] | None = None, *, done: Sequence[int] = ()
    ) -> None:
        """Write messages into the outbox; in the same transaction remember or forget (None) alerts, and forget the messages that led to it."""

        def work(connection: sqlite3.Connection) -> None:
            outbox.sent(connection, done)
            outbox.put_alerts(connection, (alerts or {}).items(), self._keyring)
            outbox.post(connection, posts, self._keyring, time.time())

        await self.run(work, durable=True)

    async def waiting(self, channel: str, limit: int = 1000) -> list[outbox.Waiting]:
        """The oldest messages of a channel, in order."""
        return await self.run(partial(outbox.waiting, channel=channel, keyring=self._keyring, limit=limit))

    async def outbox_heads(self, channel: str) -> list[outbox.Waiting]:
        """Of each key of a channel the message whose turn it is."""
        return await self.run(partial(outbox.heads, channel=channel, keyring=self._keyring))

    async def sent(self, ids: Sequence[int]) -> None:
        """Forget messages that have arrived, or never will."""
        await self.run(partial(outbox.sent, ids=ids))

    async def put_off(self, number: int, due: float, said: str) -> None:
        """Note that a message could not be sent, why, and when it is tried again."""
        await self.run(partial(outbox.put_off, number=number, due=due, said=said))

    async def trim_outbox(self, channel: str, most: int) -> int:
        """Let go of what is too much in a channel; how many messages that were."""
        return await self.run(partial(outbox.trim, channel=channel, most=most))

    async def outbox_counts(self) -> dict[str, int]:
        """How many messages wait in each channel."""
        return await self.run(outbox.counts)

    async def queued(self, channels: Sequence[str], limit: int = 200) -> list[outbox.Queued]:
        """What waits in these channels, the oldest first."""
        return await self.run(partial(outbox.queued, channels=channels, limit=limit))

    async def open_alerts(self) -> dict[str, bytes]:
        """The alerts that are open, by their keys."""
        return await self.run(partial(outbox.open_alerts, keyring=self._keyring))

    # What taut notes for itself

    async def steady_anchor(self, boot: str, anchor: float) -> tuple[float, bool]:
        """The anchor that was kept for this boot of the machine, and True; else `anchor`, kept from now on, and False."""
        return await self.run(partial(journal.steady_anchor, boot=boot, anchor=anchor), durable=True)

    async def note(self, name: str, value: str | None) -> None:
        """Remember a word under a name; None forgets it."""
        await self.run(partial(journal.put_note, name=name, value=value), durable=True)

    async def noted(self, name: str) -> str | None:
        """The word that was remembered under a name."""
        return await self.run(partial(journal.get_note, name=name))

    async def keep_secret(self, name: str, value: bytes | None) -> None:
        """Remember a secret under a name, sealed; None forgets it."""
        sealed = None if value is None else base64.b64encode(self._keyring.seal(value, f"secret {name}")).decode()
        await self.note(f"secret {name}", sealed)

    async def kept_secret(self, name: str) -> bytes | None:
        """The secret that was remembered under a name."""
        sealed = await self.noted(f"secret {name}")
        return None if sealed is None else self._keyring.unseal(base64.b64decode(sealed), f"secret {name}")

    # Tokens and sessions

    async def put_account(self, kind: str, name: str, record: bytes, ends: float) -> None:
        """Keep a record, sealed, until `ends` (Unix seconds; 0: for ever)."""
        work = partial(accounts.put_account, keyring=self._keyring, kind=kind, name=name, record=record, ends=ends)
        await self.run(work, durable=True)

    async def drop_account(self, kind: str, name: str) -> None:
        """Forget a record."""
        await self.run(partial(accounts.drop_account, kind=kind, name=name), durable=True)

    async def accounts(self, kind: str) -> dict[str, bytes]:
        """All records of a kind that have not ended, by name."""
        return await self.run(partial(accounts.accounts, keyring=self._keyring, kind=kind, now=time.time()))

    # Sealed cache, and comparing secrets; synchronous

    def blob_get(self, key: str) -> bytes | None:
        """A value of the cache; None when it is not there. Never raises, may be called from any thread."""
        return self._blobs.get(key)

    def blob_put(self, key: str, value: bytes) -> None:
        """Keep a value in the cache, sealed. Never raises, may be called from any thread."""
        self._blobs.put(key, value)

    def mac(self, value: bytes) -> str:
        """A keyed HMAC that tells whether two secrets are equal, and nothing else."""
        return self._keyring.mac(value)


def _text(app: AppKey | None) -> str | None:
    return None if app is None else str(app)


def _audit(connection: sqlite3.Connection, note: AuditNote | None) -> None:
    if note is not None:
        journal.add_audit(connection, note, time.time())


def _events(connection: sqlite3.Connection, app: AppKey, events: Iterable[EventNote]) -> None:
    for note in events:
        journal.add_event(connection, str(app), note.at, kind=note.kind, message=note.message, object_=note.object)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise StoreError(
            f"The store's folder {folder} cannot be made: {error.strerror}",
            advice="choose a folder that the user that runs taut may write to",
        ) from error
