"""What a folder of a working copy would change in a cluster, by the controller's own functions. Nothing is written."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import msgspec

from taut.clients.kubernetes.client import KubernetesClient
from taut.clients.kubernetes.config import load_config
from taut.controller.fleet import Fleet
from taut.controller.planner import Planner
from taut.controller.queue import WorkQueue
from taut.controller.state import AppState
from taut.controller.wanting import Wanting
from taut.health.assess import assess, needs_body
from taut.model.application import Application, Source
from taut.model.plan import InventoryItem, Plan
from taut.model.project import Project, Signatures
from taut.model.record import AppRecord
from taut.model.refs import AppKey
from taut.model.snapshot import Snapshot
from taut.planning.ownership import owner_app
from taut.planning.redact import Redactor
from taut.render.engine import RenderEngine
from taut.render.protocols import Decrypter
from taut.render.worktree import snapshot
from taut.sources.credentials import NoCredentials
from taut.sources.service import Sources
from taut.store.store import Store
from taut.targets.kubernetes.cluster import Cluster


@dataclass(frozen=True)
class WorkingCopy:
    """A working copy in place of the repository that it is a copy of; charts and other repositories are fetched as usual."""

    root: Path
    repository: str
    sources: Sources

    async def resolve(self, source: Source, *, fetch: bool, allowed: Callable[[str], bool]) -> Snapshot:
        """The working copy for its own repository, else what the source names."""
        if source.git == self.repository:
            return snapshot(self.root)
        return await self.sources.resolve(source, fetch=fetch, allowed=allowed)

    async def verify(self, snapshot: Snapshot, signatures: Signatures) -> None:
        """A working copy carries no signature, and needs none before it is committed."""


async def local_plan(
    app: Application,
    root: Path,
    repository: str,
    *,
    kubeconfig: Path | None = None,
    context: str | None = None,
    decrypter: Decrypter | None = None,
) -> Plan:
    """The plan of `app` with the working copy `root` in place of `repository`.

    The objects' owner in the cluster is found from their mark, so what the folder no longer has is shown as a deletion, and nothing is
    held only because the running taut knows the application by another name. `decrypter` opens encrypted files. Raises TautError.
    """
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="taut-diff-")))
        store = Store.open(folder / "taut.db")
        stack.push_async_callback(store.close)
        sources = Sources(folder / "sources", NoCredentials())
        stack.push_async_callback(sources.close)
        engine = await stack.enter_async_context(RenderEngine(fetcher=sources, workers=1))
        client = KubernetesClient(load_config(kubeconfig, context))
        cluster = Cluster(app.spec.target.cluster, client, assess=assess, needs_body=needs_body)
        await cluster.start()
        stack.push_async_callback(cluster.close)
        fleet = Fleet(store, WorkQueue(), {cluster.name: cluster})
        # What the project allows is known to the running taut; here the plan of what is written is shown.
        fleet.projects = {app.spec.project: Project(name=app.spec.project)}
        redactor = Redactor(key=store.mac(b"redaction").encode())
        state = AppState(app=app, record=AppRecord(key=str(app.key)))
        wanting = Wanting(
            WorkingCopy(root, repository, sources), engine, fleet, redactor, decrypter_of=lambda _: decrypter
        )
        planner = Planner(store, fleet, redactor)
        fleet.want(state, await wanting.find(state))
        owner = await _owner(state, cluster)
        if owner is not None and owner != state.key:
            state.app = msgspec.structs.replace(app, key=owner)
            fleet.want(state, await wanting.find(state))
        await _inventory(state, cluster)
        fleet.add(state)
        return (await planner.plan(state, exact=True)).plan


async def _owner(state: AppState, cluster: Cluster) -> AppKey | None:
    """The application that the cluster's objects say they belong to, when they agree."""
    if state.desired is None:
        return None
    await cluster.watch_refs(state.desired.refs)
    found = {
        owner_app(live.owner) for ref in state.desired.refs if (live := cluster.get(ref)) is not None and live.owner
    }
    return found.pop() if len(found) == 1 else None


async def _inventory(state: AppState, cluster: Cluster) -> None:
    """What the application has in the cluster, by its mark."""
    async for live in cluster.list_metadata(on_failure=lambda _kind, _error: None):
        if live.owner and owner_app(live.owner) == state.key:
            state.items[live.ref] = InventoryItem(
                ref=live.ref, api_version=live.api_version, uid=live.uid, created_by_taut=True, hook=bool(live.run_key)
            )
