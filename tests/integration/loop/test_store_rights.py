"""Stores of ExternalSecrets between tenants: whose rights, whose store, whose values, and what policies say of the documents."""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from integration.loop.harness import Taut, application, config_map, yaml
from integration.loop.test_denials import policies, policy
from integration.loop.test_projects import _account, configured, team
from servers.git import GitRepo
from taut.controller.policy_lookups import ClusterLookups
from taut.controller.queue import Reason
from taut.model.errors import TargetError

pytestmark = pytest.mark.integration
_ = policies  # the fixture of the other module


@pytest.fixture
def taut(taut: Taut) -> Taut:
    settings = {"mode": "taut", "hosts": ["*", "127.0.0.1"]}
    cluster = {"name": "local", "kubeconfig": str(taut.plane.kubeconfig), "externalSecrets": settings}
    taut.options["clusters"] = [cluster]
    return taut


def store(name: str = "s", value: str = "a-value", kind: str = "SecretStore") -> dict[str, Any]:
    head = {"apiVersion": "external-secrets.io/v1", "kind": kind, "metadata": {"name": name}}
    return {**head, "spec": {"provider": {"fake": {"data": [{"key": "k", "value": value}]}}}}


def external(name: str = "db", **spec: Any) -> dict[str, Any]:
    data = [{"secretKey": "p", "remoteRef": {"key": "k"}}]
    head = {"apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret", "metadata": {"name": name}}
    return {**head, "spec": {"secretStoreRef": {"name": "s"}, "refreshInterval": "1h", "data": data, **spec}}


def value(taut: Taut, name: str = "db") -> str:
    found = taut.get("secrets", name)
    return base64.b64decode(found["data"]["p"]).decode() if found is not None else ""


@asynccontextmanager
async def _thief() -> AsyncGenerator[tuple[str, list[str]]]:
    got: list[str] = []

    async def take(request: web.Request) -> web.Response:
        got.append(str(request.headers.get("X-Taken")))
        return web.json_response({"v": "x"})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", take)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/", got
    finally:
        await runner.cleanup()


async def test_a_store_reads_with_the_rights_of_who_declares_it(taut: Taut) -> None:
    _account(taut, "deployer", "configmaps", "secrets")
    victim = f"{taut.namespace}-victim"
    taut.api.request(
        "POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": victim}}
    )
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db"}, "stringData": {"p": "of-the-victim"}}
    assert taut.api.request("POST", f"/api/v1/namespaces/{victim}/secrets", secret)[0] == 201
    clusters = taut.options["clusters"]
    configured(
        taut,
        destinations=[{"cluster": "*", "namespace": taut.namespace}],
        clusterKinds=[{"group": "external-secrets.io", "kind": "ClusterSecretStore"}],
        serviceAccounts=[{"namespace": taut.namespace, "serviceAccount": "deployer"}],
    )
    taut.options["clusters"] = clusters
    async with _thief() as (url, got):
        reference = [{"name": "v", "secretRef": {"name": "db", "namespace": victim}}]
        webhook = {
            "url": url,
            "headers": {"X-Taken": "{{ .v.p }}"},
            "result": {"jsonPath": "$.v"},
            "secrets": reference,
        }
        wide = {
            **store(f"wide-{taut.namespace}", kind="ClusterSecretStore"),
            "spec": {"provider": {"webhook": webhook}},
        }
        asks = external(secretStoreRef={"kind": "ClusterSecretStore", "name": f"wide-{taut.namespace}"})
        taut.declare(team("web"), files={"apps/web/all.yaml": yaml(wide, asks)})
        async with taut.run():
            await taut.says("web", "does not allow reading in", victim)
            assert got == []


async def test_a_store_has_one_owner_through_restarts(taut: Taut) -> None:
    name = f"shared-{taut.namespace}"
    asks = external(secretStoreRef={"kind": "ClusterSecretStore", "name": name}, refreshInterval="1s")
    files = {
        "apps/zz-platform/all.yaml": yaml(store(name, "good", "ClusterSecretStore")),
        "apps/aa-evil/all.yaml": yaml(store(name, "evil", "ClusterSecretStore")),
        "apps/user/all.yaml": yaml(asks),
    }
    honest = [application("zz-platform"), application("user")]
    taut.declare(*honest, files=files)
    async with taut.run():
        await taut.until(lambda: value(taut) == "good", "made")
        taut.declare(*honest, application("aa-evil"))
        await taut.poke()
        await taut.says("aa-evil", "that one counts")
    for _round in range(3):
        async with taut.run():
            await taut.says("aa-evil", "that one counts")
            await taut.until(lambda: taut.controller.queue.idle, "nothing is left to do")
            assert value(taut) == "good"


async def test_values_are_lent_to_nobody(taut: Taut) -> None:
    first = external(target={"name": "db"})
    taut.declare(application("a"), files={"apps/a/all.yaml": yaml(store(), first)})
    async with taut.run():
        await taut.until(lambda: value(taut) == "a-value", "made")
        taut.declare()
        await taut.poke()
        await taut.until(lambda: taut.get("secrets", "db") is None, "it goes with its document")
        nobody = {
            "vault": {
                "server": "http://127.0.0.1:9",
                "path": "x",
                "auth": {"tokenSecretRef": {"name": "n", "key": "t"}},
            }
        }
        other = {**store("t"), "spec": {"provider": nobody}}
        asks = external("other", target={"name": "db"}, secretStoreRef={"name": "t"})
        taut.declare(application("b"), files={"apps/b/all.yaml": yaml(other, asks)})
        await taut.poke()
        await taut.says("b", "cannot be resolved")
        assert taut.get("secrets", "db") is None


async def test_secrets_of_a_document_that_cannot_be_read_stay(taut: Taut, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = {"namespaces": [taut.namespace], "externalSecretSpec": external()["spec"]}
    wide = {
        "apiVersion": "external-secrets.io/v1",
        "kind": "ClusterExternalSecret",
        "metadata": {"name": "db"},
        "spec": spec,
    }
    more = [config_map(f"m{number}") for number in range(6)]
    taut.declare(application("web"), files={"apps/web/all.yaml": yaml(store(), wide, *more)})
    async with taut.run():
        await taut.until(lambda: taut.get("secrets", "db"), "made")
        uid = taut.get("secrets", "db")["metadata"]["uid"]  # pyright: ignore[reportOptionalSubscript]

        async def away(self: ClusterLookups, *_: Any) -> Any:
            raise TargetError("etcdserver: request timed out", status=500)

        monkeypatch.setattr(ClusterLookups, "list", away)
        state = taut.state("web")
        assert state is not None
        state.mark_stale()
        taut.controller.queue.add(taut.key("web"), Reason.TIMER)
        await taut.says("web", "timed out")
        at = await taut.push({"apps/web/more.yaml": yaml(config_map("more"))})
        await taut.until(lambda: taut.get("configmaps", "more"), f"the commit {at[:8]} is live")
        found = taut.get("secrets", "db")
        assert found is not None
        assert found["metadata"]["uid"] == uid


async def test_policies_judge_documents_that_never_come_to_the_cluster(taut: Taut, policies: GitRepo) -> None:
    never = {"validate": {"message": "no ExternalSecrets here", "deny": {}}}
    policies.commit({"no.yaml": yaml(policy("none", never, "external-secrets.io/*/ExternalSecret"))}, "rules")
    taut.declare(application("web"), files={"apps/web/all.yaml": yaml(store(), external())})
    async with taut.run():
        status = await taut.held("web", "policy")
        assert "no ExternalSecrets here" in status.held_for[0].message
        assert taut.get("secrets", "db") is None
        policies.commit({"no.yaml": None, "other.yaml": yaml(policy("other", never, "Pod"))}, "they are fine")
        await taut.poke()
        await taut.until(lambda: value(taut) == "a-value", "made")
