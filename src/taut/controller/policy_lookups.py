"""What policies may look up in a cluster: objects, lists, and answers of its API that only read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from taut.clients.kubernetes.discovery import collection_path
from taut.model.errors import TargetError
from taut.model.live import KindInfo
from taut.model.manifests import Body
from taut.model.refs import KindRef, ObjectRef
from taut.policy.review import NotKnown
from taut.targets.kubernetes.cluster import Cluster

_PAGE = 500
_MOST = 20_000
_REVIEWS = ("/subjectaccessreviews", "/localsubjectaccessreviews")
"""What is asked with a POST and changes nothing."""


@dataclass(frozen=True)
class ClusterLookups:
    """Answers of one cluster. `synced` are the kinds (API version, kind) that Gatekeeper's templates may look up."""

    cluster: Cluster
    synced: tuple[tuple[str, str], ...] = ()

    async def get(self, api_version: str, kind: str, namespace: str, name: str) -> Body | None:
        """One object; None when there is none. Raises NotKnown for a kind that is not served, TargetError."""
        info = await self._info(api_version, kind)
        space = namespace if info.namespaced else ""
        return await self.cluster.read(ObjectRef(self.cluster.name, info.ref.group, kind, space, name), api_version)

    async def list(self, api_version: str, kind: str, namespace: str) -> Sequence[Body]:
        """All objects of a kind. Raises NotKnown for a kind that is not served, and for more than can be looked at; TargetError."""
        info = await self._info(api_version, kind)
        path = collection_path(info, api_version.rpartition("/")[2], namespace)
        found: list[Body] = []
        token = ""
        while True:
            query = {"limit": str(_PAGE), **({"continue": token} if token else {})}
            page = await self.cluster.client.request("GET", path, query=query, subject=f"list of {kind}")
            found += ({**item, "apiVersion": api_version, "kind": kind} for item in page.get("items") or ())
            token = str((page.get("metadata") or {}).get("continue") or "")
            if not token:
                return found
            if len(found) > _MOST:
                raise NotKnown(f"there are more than {_MOST} objects of the kind {kind}")

    async def raw(self, method: str, path: str, body: Any) -> Any:
        """The answer to a request that only reads. Raises NotKnown for any other, TargetError."""
        reads = method == "GET" or (method == "POST" and path.partition("?")[0].endswith(_REVIEWS))
        if not reads or not path.startswith(("/api/", "/apis/")) or ".." in path:
            raise NotKnown(f"{method} {path[:200]} is no question that policies may ask")
        plain, _, query = path.partition("?")
        parts = [part.partition("=") for part in query.split("&") if part]
        pairs = {name: value for name, _, value in parts}
        return await self.cluster.client.request(method, plain, query=pairs or None, body=body, subject=plain)

    async def inventory(self) -> dict[str, Any]:
        """All objects of the kinds that are synced, in Gatekeeper's tree."""
        if not self.synced:
            raise NotKnown("data.inventory: no Config or SyncSet among the policies says which kinds are looked at")
        tree: dict[str, Any] = {"cluster": {}, "namespace": {}}
        for api_version, kind in self.synced:
            for body in await self.list(api_version, kind, ""):
                metadata = body.get("metadata") or {}
                space = metadata.get("namespace")
                place = tree["namespace"].setdefault(space, {}) if space else tree["cluster"]
                place.setdefault(api_version, {}).setdefault(kind, {})[str(metadata.get("name"))] = body
        return tree

    async def _info(self, api_version: str, kind: str) -> KindInfo:
        try:
            info = await self.cluster.kind(KindRef(api_version.rpartition("/")[0], kind))
        except TargetError as error:
            raise NotKnown(error.what) from None
        if info is None:
            raise NotKnown(f"the cluster serves no {kind} of {api_version}")
        return info


def synced_kinds(documents: Sequence[Body]) -> tuple[tuple[str, str], ...]:
    """The kinds that Gatekeeper's `Config` and `SyncSet` documents name, as (API version, kind)."""
    found: dict[tuple[str, str], None] = {}
    for body in documents:
        spec = body.get("spec")
        if not isinstance(spec, dict) or body.get("kind") not in {"Config", "SyncSet"}:
            continue
        sync = spec.get("sync")
        entries = sync.get("syncOnly") if isinstance(sync, dict) else spec.get("gvks")
        for entry in entries if isinstance(entries, list) else ():
            if isinstance(entry, dict) and entry.get("kind") and entry.get("version"):
                group = str(entry.get("group") or "")
                found[f"{group}/{entry['version']}" if group else str(entry["version"]), str(entry["kind"])] = None
    return tuple(found)
