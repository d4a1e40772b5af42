"""Taut behind proxies that break things, some thirty applications, and what the cluster must hold whatever happened on the way."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncGenerator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from integration.loop.harness import Taut, annotate, application, config_map, deployment, job, yaml
from integration.loop.written import Writes
from servers.authority import Authority
from servers.git import Content, GitHttpServer, GitRepo
from support.fault_proxy import FaultProxy, Place, fault_proxy
from taut.documents.yaml import dump
from taut.localplane import Plane
from taut.localplane.api import Api

PATIENCE = 150.0
"""Seconds in which everything has to be as it should be, with the pauses between tries."""
WATCH_SILENCE = "5s"
"""Of the configuration: a watch that is dead is noticed after that, which by default takes 150 s."""
PLURALS = {
    "ConfigMap": "/api/v1/namespaces/{}/configmaps",
    "Secret": "/api/v1/namespaces/{}/secrets",
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "Job": "/apis/batch/v1/namespaces/{}/jobs",
}


def kubeconfig(file: Path, server: str, ca: Path, token: str) -> Path:
    """Write a kubeconfig for `server`, verified by `ca`."""
    named = {"name": "it"}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "it",
        "clusters": [named | {"cluster": {"server": server, "certificate-authority": str(ca)}}],
        "users": [named | {"user": {"token": token}}],
        "contexts": [named | {"context": {"cluster": "it", "user": "it"}}],
    }
    file.write_text(dump(document))
    return file


@dataclass
class Fleet:
    """The applications `a00` … of one namespace, and what each version of them wants.

    Every one has ConfigMaps in two waves, one that is pruned by the second version and one that it brings; every fifth a
    Deployment, every third a hook before, every sixth one after, whose object goes when it succeeded.
    """

    count: int
    cluster: str = "local"
    namespace: str = ""
    prefix: str = "a"
    versions: dict[str, int] = field(default_factory=dict[str, int])

    @property
    def names(self) -> list[str]:
        """Of the applications."""
        return [f"{self.prefix}{n:02}" for n in range(self.count)]

    def documents(self) -> list[dict[str, Any]]:
        """Their declarations."""
        target = {"cluster": self.cluster} | ({"namespace": self.namespace} if self.namespace else {})
        return [application(name, target=dict(target)) for name in self.names]

    def files(self, version: int, which: Collection[str] | None = None) -> dict[str, Content]:
        """The folders of these applications (None: all) at a version, which from now on is theirs."""
        found: dict[str, Content] = {}
        for number, name in enumerate(self.names):
            if which is None or name in which:
                self.versions[name] = version
                found[f"apps/{name}/all.yaml"] = yaml(*self._objects(number, name, version))
        return found

    def _objects(self, number: int, name: str, version: int) -> list[dict[str, Any]]:
        data = {"version": str(version)}
        objects = [
            config_map(f"{name}-one", data),
            annotate(config_map(f"{name}-two", data), wave="1"),
            annotate(config_map(f"{name}-in-{version}", data), wave="2"),
        ]
        if number % 5 == 0:
            objects.append(annotate(deployment(name, image=f"example/web:{version}"), wave="1"))
        if number % 3 == 0:
            objects.append(annotate(job(f"{name}-before"), hook="PreSync"))
        if number % 6 == 0:
            objects.append(annotate(job(f"{name}-after"), hook="PostSync", hook_delete_policy="HookSucceeded"))
        return objects

    def expected(self) -> dict[str, tuple[str, Any]]:
        """Every object that has to be there: its application and its content."""
        found: dict[str, tuple[str, Any]] = {}
        for number, name in enumerate(self.names):
            version = str(self.versions[name])
            for part in ("one", "two", f"in-{version}"):
                found[f"ConfigMap/{name}-{part}"] = (name, {"version": version})
            if number % 5 == 0:
                found[f"Deployment/{name}"] = (name, f"example/web:{version}")
            if number % 3 == 0:
                found[f"Job/{name}-before"] = (name, "example/job:1")
        return found

    def hook_runs(self) -> Counter[str]:
        """How often each hook must have run: once for every version that its application had."""
        runs: Counter[str] = Counter()
        for number, name in enumerate(self.names):
            for every, part in ((3, "before"), (6, "after")):
                if number % every == 0:
                    runs[f"{name}-{part}"] = self.versions[name]
        return runs

    def prunings(self) -> Counter[str]:
        """How often each object must have been deleted by taut, hooks' objects not among them."""
        return Counter(f"{name}-in-{old}" for name in self.names for old in range(1, self.versions[name]))


@dataclass
class Network:
    """A taut whose clusters and Git server are behind proxies."""

    taut: Taut
    api: FaultProxy
    """Before the API server, as the cluster `local`."""
    api_place: Place
    other: FaultProxy
    """Before the same API server, as the cluster `other`."""
    other_place: Place
    git: FaultProxy
    git_place: Place
    other_namespace: str
    authority: Authority

    @property
    def names(self) -> list[str]:
        """Of all applications."""
        return [key.name for key in self.taut.controller.fleet.states]

    async def check(self, fleet: Fleet, writes: Writes, *, at: str) -> None:
        """Prove that everything is as if nothing had happened: see the lines below."""
        taut = self.taut
        await taut.synced(*fleet.names, at=at, seconds=PATIENCE)
        await taut.until(lambda: taut.controller.queue.idle, "it is quiet", PATIENCE)
        for name in fleet.names:
            status = taut.status(name)
            assert status is not None
            assert (status.message, status.problems, status.held_for) == ("", (), ()), status
            assert status.operation == "Succeeded", status
        namespace = fleet.namespace or taut.namespace
        assert self.found(fleet, namespace) == fleet.expected()
        await self._check_store(fleet)
        made = writes.all(namespace)
        runs = Counter(w.name for w in made if (w.verb, w.plural) == ("create", "jobs.batch"))
        assert runs == fleet.hook_runs(), "each hook ran once for each version"
        gone = Counter(w.name for w in made if w.verb == "delete" and w.plural != "jobs.batch")
        assert gone == fleet.prunings(), "what was pruned, each once, and nothing else"

    def found(self, fleet: Fleet, namespace: str) -> dict[str, tuple[str, Any]]:
        """What is in the namespace: whose it is by its mark, and its content."""
        found: dict[str, tuple[str, Any]] = {}
        for kind, path in PLURALS.items():
            status, body = self.taut.api.request("GET", path.format(namespace))
            assert status == 200, body
            for item in json.loads(body)["items"]:
                metadata = item["metadata"]
                if metadata["name"] == "kube-root-ca.crt" or "deletionTimestamp" in metadata:
                    continue
                owner = metadata.get("annotations", {}).get("taut.dev/owner", "").partition("|")[0]
                by_key = {str(self.taut.key(name)): name for name in fleet.names}
                found[f"{kind}/{metadata['name']}"] = (by_key.get(owner, f"owner {owner!r}"), _content(kind, item))
        return found

    async def _check_store(self, fleet: Fleet) -> None:
        store = self.taut.controller.store
        assert await store.running() == []
        assert await store.verify_audit() is None
        inventories = await store.inventories()
        wanted: dict[str, set[str]] = {name: set() for name in fleet.names}
        for text, (name, _) in fleet.expected().items():
            wanted[name].add(text)
        for name in fleet.names:
            items = inventories[self.taut.key(name)]
            assert {f"{ref.kind}/{ref.name}" for ref in items} == wanted[name]
            assert not [i for i in items.values() if i.pending]
            results = {e.result for e in await self.taut.history(name)}
            assert results == {"Succeeded"}, f"{name}: a fault that passes makes no operation fail"


def _content(kind: str, item: dict[str, Any]) -> Any:
    if kind in ("ConfigMap", "Secret"):
        return item.get("data")
    return item["spec"]["template"]["spec"]["containers"][0]["image"]


@dataclass(frozen=True)
class Servers:
    """What a network is made of."""

    plane: Plane
    api: Api
    git: GitHttpServer
    authority: Authority
    namespace: str
    other_namespace: str
    folder: Path

    @asynccontextmanager
    async def network(self, *, seed: int = 0, clusters: Collection[str] = ("local",)) -> AsyncGenerator[Network]:
        """Proxies before the API server (once for each cluster) and the Git server, and a taut that knows only them."""
        plane, tls = self.plane, {"authority": self.authority, "ca": self.plane.ca}
        async with (
            fault_proxy(plane.server, seed=seed, **tls) as (api, api_place),
            fault_proxy(plane.server, seed=seed + 1, **tls) as (other, other_place),
            fault_proxy(self.git.url, seed=seed + 2) as (git, git_place),
        ):
            entries = [
                {
                    "name": name,
                    "kubeconfig": str(
                        kubeconfig(self.folder / f"{name}.kubeconfig", proxy.url, self.authority.ca, plane.token)
                    ),
                    "watchSilence": WATCH_SILENCE,
                }
                for name, proxy in (("local", api), ("other", other))
                if name in clusters
            ]
            here = self.git.repo("config")
            repo = GitRepo(here.path, f"{git.url}/config.git")
            taut = Taut(plane, self.api, self.git, repo, self.namespace, self.folder, {"clusters": entries})
            yield Network(
                taut, api, api_place, other, other_place, git, git_place, self.other_namespace, self.authority
            )
