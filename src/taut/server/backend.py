"""What the API needs of a running taut. The controller implements it; nothing of the server leaks into it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Sequence
from typing import Protocol

from taut.model.drift import DriftRecord
from taut.model.operation import AuditEntry, HistoryEntry
from taut.model.refs import AppKey
from taut.model.status import AppStatus, ObjectStatus
from taut.server.alert_views import AlertsView, AlertTestAnswer
from taut.server.views import (
    Gone,
    ImageView,
    LogView,
    Metric,
    OperationView,
    Orphan,
    PlanView,
    RootView,
    SyncAnswer,
    SyncRequest,
    TreeNode,
)
from taut.store.records import Event


class Backend(Protocol):
    """A running taut. Methods that fail raise TautError; `key` always exists when the method is called.

    `by` is who asks, as far as they say. Methods that change something return one sentence for that person.
    """

    def ready(self) -> str:
        """Why taut is not ready yet, as a sentence; empty when it is."""
        ...

    def keys(self) -> Collection[AppKey]:
        """The applications there are."""
        ...

    def statuses(self) -> Sequence[AppStatus]:
        """Every application, from memory, ordered by key."""
        ...

    def status(self, key: AppKey) -> AppStatus | None:
        """One application, from memory."""
        ...

    def roots(self) -> Sequence[RootView]:
        """Where applications are declared, from memory, with what is wrong there."""
        ...

    def subscribe(self) -> AsyncGenerator[AppStatus | Gone]:
        """Every change of a status from now on, until it is closed."""
        ...

    async def objects(self, key: AppKey) -> Sequence[ObjectStatus]:
        """The objects of an application."""
        ...

    async def tree(self, key: AppKey) -> Sequence[TreeNode]:
        """The objects of an application and what they made, down to Pods; parents before children."""
        ...

    async def plan(self, key: AppKey) -> PlanView:
        """What a sync would do now."""
        ...

    def operation(self, key: AppKey) -> OperationView | None:
        """The operation that runs, from memory; None when none does."""
        ...

    def images(self, key: AppKey) -> Sequence[ImageView]:
        """The images that Git wants to run, from memory; none while it is not known what Git wants."""
        ...

    async def logs(self, key: AppKey, namespace: str, pod: str, container: str, lines: int) -> LogView:
        """The last lines of a Pod of the application (an empty container: its first). Raises BadInput when the application has no such Pod."""
        ...

    async def sync(self, key: AppKey, request: SyncRequest) -> SyncAnswer:
        """Ask for a sync, or for the plan of one (`dry_run`). Returns at once."""
        ...

    async def refresh(self, root: str | None, key: AppKey | None) -> str:
        """Look at the sources again: of one application, of a root, or of all."""
        ...

    async def abort(self, key: AppKey, by: str) -> str:
        """Stop the running operation before its next step."""
        ...

    async def approve(self, key: AppKey, plan_hash: str, by: str, reason: str) -> str:
        """Let the plan with exactly this hash pass. Raises TautError when the present plan is another one."""
        ...

    async def suspend(self, key: AppKey, by: str, reason: str) -> str:
        """Neither sync, heal, prune nor delete until it is resumed."""
        ...

    async def resume(self, key: AppKey, by: str) -> str:
        """Undo `suspend`."""
        ...

    async def restart(self, key: AppKey, object: str, by: str) -> str:
        """Restart the Pods of a workload (`KIND/NAME`; empty: of every workload) by a rolling update."""
        ...

    async def history(self, key: AppKey, limit: int) -> Sequence[HistoryEntry]:
        """Finished operations, newest first."""
        ...

    async def drift(self, key: AppKey | None, *, open_only: bool, limit: int) -> Sequence[DriftRecord]:
        """Drift records, newest first."""
        ...

    async def orphans(self, cluster: str | None, namespace: str | None) -> Sequence[Orphan]:
        """Objects in managed namespaces that nobody declares."""
        ...

    async def events(self, key: AppKey | None, limit: int) -> Sequence[Event]:
        """The timeline, newest first."""
        ...

    async def audit(self, limit: int) -> Sequence[AuditEntry]:
        """The audit, newest first."""
        ...

    async def note_audit(self, actor: str, action: str, subject: str, detail: str) -> object:
        """Write down who did what to whom. No secret's value in any of them."""
        ...

    async def alerts(self, limit: int) -> AlertsView:
        """Rules, receivers, open alerts, and what waits to be told."""
        ...

    async def test_alert(self, name: str, key: AppKey | None, by: str, *, send: bool) -> AlertTestAnswer:
        """What a rule or receiver would be told of an application (None: of examples); with `send` it is told. Raises TautError."""
        ...

    async def webhook(self, urls: frozenset[str], ref: str) -> int:
        """Look at once at the sources with one of these addresses (`ref` is what was pushed, if told). How many there are comes out."""
        ...

    def metrics(self) -> Sequence[Metric]:
        """What the controller counts: renders, requests to API servers, operations, …"""
        ...
