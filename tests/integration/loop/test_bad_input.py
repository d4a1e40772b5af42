"""Bad input, and what happens: each fault is said on its own application, the last good state keeps running, all others go on."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from integration.loop.harness import Taut, application, config_map, yaml
from servers.git import Content, Symlink
from support.gate import gate_to

pytestmark = pytest.mark.integration

CHART = "apiVersion: v2\nname: chart\nversion: 1.0.0\n"
LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join(['*' + a] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


def good(name: str) -> dict[str, Content]:
    """What the application `name` is before and after its fault."""
    file = yaml(config_map(name, {"state": "good"}))
    match name:
        case "chart" | "endless":
            return {
                f"apps/{name}/Chart.yaml": CHART,
                f"apps/{name}/templates/cm.yaml": file,
                f"apps/{name}/values.yaml": "{}\n",
            }
        case "kustomization":
            return {f"apps/{name}/kustomization.yaml": "resources: [cm.yaml]\n", f"apps/{name}/cm.yaml": file}
        case _:
            return {f"apps/{name}/cm.yaml": file}


BAD: dict[str, dict[str, Content]] = {
    "broken": {"apps/broken/cm.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: [name\ndata: {}\n"},
    "chart": {"apps/chart/templates/cm.yaml": "kind: ConfigMap\nx: {{ .Values.some.thing.deep }}\n"},
    "kustomization": {"apps/kustomization/kustomization.yaml": "resources: [cm.yaml, gone.yaml]\n"},
    "link": {"apps/link/cm.yaml": Symlink("../../../../etc/passwd")},
    "giant": {"apps/giant/cm.yaml": "a: " + "x" * 50_000_000 + "\n"},
    "aliases": {"apps/aliases/cm.yaml": LAUGHS},
    "endless": {
        "apps/endless/templates/cm.yaml": "{{ range until 100000 }}{{ range until 100000 }}x{{ end }}{{ end }}\n"
    },
    "twice": {"apps/twice/cm.yaml": yaml(config_map("twice", {"state": "good"}), config_map("twice"))},
    "kindless": {"apps/kindless/cm.yaml": "apiVersion: v1\nmetadata: {name: kindless}\n"},
    "folder": dict.fromkeys(["apps/folder/cm.yaml"]),
}
WORDS: dict[str, tuple[str, ...]] = {
    "broken": ("apps/broken/cm.yaml:4", "line 3"),
    "chart": ("templates/cm.yaml:2", "nil pointer"),
    "kustomization": ("apps/kustomization", "gone.yaml"),
    "link": ("apps/link/cm.yaml", "link"),
    "giant": ("apps/giant/cm.yaml", "bytes"),
    "aliases": ("apps/aliases/cm.yaml", "alias"),
    "endless": ("apps/endless", "longer than"),
    "twice": ("apps/twice/cm.yaml", "twice"),
    "kindless": ("apps/kindless/cm.yaml:1", "apiVersion and kind"),
    "folder": ("apps/folder",),
}


async def healed(taut: Taut, *names: str) -> None:
    """Change an object of each application by hand, and wait until taut has put all of them back."""
    for name in names:
        taut.patch("configmaps", name, {"data": {"state": "changed"}})

    def fact() -> bool:
        found = {n: (taut.get("configmaps", n) or {}).get("data") for n in names}
        return all(data == {"state": "good"} for data in found.values())

    await taut.until(fact, f"healed: {names}")


async def test_every_fault_is_told_where_it_is_and_the_last_good_state_is_kept(taut: Taut) -> None:
    taut.options["render"] = {"timeout": "2s"}
    files: dict[str, Content] = {}
    for name in (*BAD, "good"):
        files |= good(name)
    taut.declare(*(application(name) for name in (*BAD, "good")), files=files)
    async with taut.run():
        await taut.synced(*BAD, "good")
        await taut.push({path: content for fault in BAD.values() for path, content in fault.items()})
        for name, words in WORDS.items():
            status = await taut.says(name, *words)
            assert status.sync == "Unknown", name
            assert status.health == "Healthy", name
            assert any(p.advice for p in status.problems), f"{name}: no advice in {status.problems}"
        await healed(taut, *BAD)
        await taut.push({"apps/good/cm.yaml": yaml(config_map("good", {"state": "better"}))})
        await taut.until(
            lambda: (taut.get("configmaps", "good") or {})["data"] == {"state": "better"}, "the good one goes on"
        )
    async with taut.run():
        for name, words in WORDS.items():
            await taut.says(name, *words)
        await healed(taut, *BAD)
        fixed: dict[str, Content] = {}
        for name in BAD:
            fixed |= good(name)
        commit = await taut.push(fixed)
        await taut.synced(*BAD, at=commit)


async def test_documents_that_cannot_be_meant(taut: Taut) -> None:
    """A fault in a document stays with its file: what it declared keeps running, and the others are looked after."""
    taut.declare(application("good"), files={**good("good"), **good("field"), **good("text")})
    document: dict[str, Any] = taut.filled(application("field"))
    text: dict[str, Any] = taut.filled(application("text"))
    taut.repo.commit({"taut/field.yaml": yaml(document), "taut/text.yaml": yaml(text)})
    async with taut.run():
        await taut.synced("good", "field", "text")
        document["spec"]["sync"] = {"prunes": False}
        await taut.push({"taut/field.yaml": yaml(document), "taut/text.yaml": "apiVersion: [taut.dev/v1\n"})
        status = await taut.says("field", "taut/field.yaml:", "spec.sync.prunes", "prune")
        assert status.problems[0].where.startswith("taut/field.yaml:")
        await taut.says("text", "taut/text.yaml:")
        await healed(taut, "field", "text", "good")
        await taut.push({"apps/field/cm.yaml": yaml(config_map("field", {"state": "newer"}))})
        newer = {"state": "newer"}
        await taut.until(lambda: (taut.get("configmaps", "field") or {}).get("data") == newer, "the folder is followed")
    async with taut.run():
        await taut.says("text", "taut/text.yaml:")
        await healed(taut, "text", "good")
        document["spec"]["sync"] = {"prune": False}
        await taut.push({"taut/field.yaml": yaml(document), "taut/text.yaml": yaml(text)})
        await taut.synced("field", "text", "good")
        assert not any(s.problems for s in taut.controller.fleet.statuses())


async def test_objects_that_the_api_server_does_not_take(taut: Taut) -> None:
    bad = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "Not_A_Name"}}
    unknown = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "field"}, "date": {"a": "1"}}
    taut.declare(
        application("name"),
        application("field"),
        application("other"),
        files={
            "apps/name/cm.yaml": yaml(bad),
            "apps/field/cm.yaml": yaml(unknown),
            "apps/other/cm.yaml": yaml(config_map("other")),
        },
    )
    async with taut.run():
        status = await taut.says("name", "Not_A_Name", "RFC 1123")
        assert status.operation == "Failed"
        await taut.says("field", "field", "date")
        await taut.synced("other")
        await taut.push(
            {"apps/name/cm.yaml": yaml(config_map("a-name")), "apps/field/cm.yaml": yaml(config_map("field"))}
        )
        await taut.synced("name", "field", seconds=4)  # at once: what failed before is no reason to wait
        assert (await taut.history("name"))[-1].result == "Failed"


async def test_a_missing_kind_is_waited_for(taut: Taut) -> None:
    group = f"{taut.namespace}.example.test"
    widget = {"apiVersion": f"{group}/v1", "kind": "Widget", "metadata": {"name": "one"}, "spec": {}}
    taut.declare(
        application("widgets"),
        application("other"),
        files={"apps/widgets/w.yaml": yaml(widget), "apps/other/cm.yaml": yaml(config_map("other"))},
    )
    crd = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"widgets.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
                }
            ],
        },
    }
    async with taut.run():
        await taut.says("widgets", "Widget", group)
        await taut.synced("other")
        path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.{group}"
        taut.api.apply(path, crd)
        try:
            await taut.synced("widgets")
            assert taut.get("widgets", "one", group=f"{group}/v1") is not None
        finally:
            taut.api.request("DELETE", path)


async def test_a_namespace_that_is_being_deleted_is_waited_for(taut: Taut) -> None:
    name = f"{taut.namespace}-gone"
    path = f"/api/v1/namespaces/{name}"
    body: dict[str, Any] = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    taut.api.apply(path, body)
    keeper = config_map("keeper", finalizers=["example.test/keep"])
    taut.api.apply(f"{path}/configmaps/keeper", keeper)
    taut.api.request("DELETE", path)
    target = {"namespace": name}
    taut.declare(
        application("late", target=target, sync={"createNamespace": True}),
        application("other"),
        files={"apps/late/cm.yaml": yaml(config_map("late")), "apps/other/cm.yaml": yaml(config_map("other"))},
    )
    async with taut.run():
        await taut.says("late", f"namespace {name}", "being deleted")
        await taut.synced("other")
        free = {"metadata": {"finalizers": None}}
        taut.api.request("PATCH", f"{path}/configmaps/keeper", free, content="application/merge-patch+json")
        await taut.synced("late")
        assert taut.get("configmaps", "late", namespace=name) is not None
    taut.api.request("DELETE", path)


async def test_a_namespace_that_does_not_exist_is_waited_for(taut: Taut) -> None:
    name = f"{taut.namespace}-new"
    taut.declare(application("late", target={"namespace": name}), files={"apps/late/cm.yaml": yaml(config_map("late"))})
    async with taut.run():
        await taut.says("late", f"namespace {name} does not exist", "createNamespace")
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        taut.api.apply(f"/api/v1/namespaces/{name}", body)
        await taut.synced("late", seconds=5)
    taut.api.request("DELETE", f"/api/v1/namespaces/{name}")


async def test_a_circle_of_dependencies_is_named(taut: Taut) -> None:
    files = {f"apps/{n}/cm.yaml": yaml(config_map(n, {"state": "good"})) for n in ("a", "b", "c")}
    taut.declare(application("a"), application("b"), application("c"), files=files)
    async with taut.run():
        await taut.synced("a", "b", "c")
        taut.declare(application("a", dependsOn=["b"]), application("b", dependsOn=["a"]), application("c"))
        await taut.poke()
        circle = f"{taut.root}/a → {taut.root}/b → {taut.root}/a"
        await taut.says("a", circle)
        await taut.says("b", circle)
        await healed(taut, "a", "c")
        taut.declare(application("a", dependsOn=["b"]), application("b"), application("c"))
        await taut.poke()
        await taut.until(lambda: not any(s.problems for s in taut.controller.fleet.statuses()), "no problem is left")
        await taut.synced("a", "b", "c")


async def test_a_repository_that_does_not_answer(taut: Taut) -> None:
    taut.declare(application("web"), files=good("web"))
    async with taut.run():
        await taut.synced("web")
        taut.git.stop()
        await taut.poke()
        status = await taut.says("web", "refuses the connection")
        assert status.problems[0].stage == "source"
        assert taut.repo.url in status.problems[0].where
        await healed(taut, "web")
        taut.git.start()
        commit = taut.repo.commit({"apps/web/cm.yaml": yaml(config_map("web", {"state": "newer"}))})
        await taut.synced("web", at=commit)  # by itself: nobody says that it is back


async def test_a_repository_that_is_away_at_the_start(taut: Taut) -> None:
    taut.declare(application("web"), files=good("web"))
    async with taut.run():
        await taut.synced("web")
    taut.git.failure = 503
    async with taut.run():
        await taut.says("web", "the server fails")
        await healed(taut, "web")
        taut.git.failure = 0
        commit = taut.repo.commit({"apps/web/cm.yaml": yaml(config_map("web", {"state": "newer"}))})
        await taut.synced("web", at=commit)


async def test_a_cluster_that_does_not_answer(taut: Taut) -> None:
    """While it is away, and when it is away at the start: said, the others go on, and it is taken up again by itself."""
    port = int(taut.plane.server.rpartition(":")[2])
    async with gate_to(port) as gate:
        far = taut.folder / "far.kubeconfig"
        far.write_text(taut.plane.kubeconfig.read_text().replace(f":{port}", f":{gate.port}"))
        clusters = [
            {"name": "local", "kubeconfig": str(taut.plane.kubeconfig)},
            {"name": "far", "kubeconfig": str(far)},
        ]
        taut.options["clusters"] = clusters
        target = {"cluster": "far"}
        taut.declare(application("web", target=target), application("near"), files={**good("web"), **good("near")})
        async with taut.run():
            await taut.synced("web", "near")
            gate.close()
            status = await taut.says("web", "cluster", "cannot be reached")
            assert (status.sync, status.problems[0].stage) == ("Unknown", "target")
            newer = {"state": "newer"}
            both = {f"apps/{n}/cm.yaml": yaml(config_map(n, newer)) for n in ("web", "near")}
            commit = await taut.push(both)
            await taut.synced("near", at=commit)
            await gate.open()
            await taut.synced("web", at=commit)
            assert (taut.get("configmaps", "web") or {})["data"] == newer
        gate.close()
        async with taut.run():
            await taut.says("web", "cluster", "cannot be reached")
            await taut.synced("near")
            await gate.open()
            await taut.synced("web")


async def test_wrong_credentials(taut: Taut) -> None:
    password = taut.folder / "password"
    password.write_text("right\n")
    credentials = {"name": "git", "urlPrefix": taut.git.url, "username": "ada", "passwordFile": str(password)}
    taut.options["credentials"] = [credentials]
    taut.git.credentials = ("ada", "right")
    taut.declare(application("web"), files=good("web"))
    async with taut.run():
        await taut.synced("web")
        taut.git.credentials = ("ada", "changed")
        await taut.poke()
        status = await taut.says("web", "credentials")
        assert "right" not in status.message
        await healed(taut, "web")
        password.write_text("changed\n")
        commit = await taut.push({"apps/web/cm.yaml": yaml(config_map("web", {"state": "newer"}))})
        await taut.synced("web", at=commit)


async def test_a_force_push_loses_no_rollback(taut: Taut) -> None:
    first = taut.declare(application("web"), files=good("web"))
    async with taut.run():
        await taut.synced("web", at=first)
        head = taut.repo.commit({"apps/web/cm.yaml": yaml(config_map("web", {"state": "second"}))})
        await taut.poke()
        await taut.synced("web", at=head)
        documents = taut.repo.read("taut/applications.yaml")
        rewritten = taut.repo.force_push(
            {"taut/applications.yaml": documents, "apps/web/cm.yaml": yaml(config_map("web", {"state": "rewritten"}))}
        )
        await taut.poke()
        await taut.synced("web", at=rewritten)
        taut.repo.run("reflog", "expire", "--expire=now", "--all")
        taut.repo.run("gc", "--prune=now", "--quiet")
        with pytest.raises(subprocess.CalledProcessError):
            taut.repo.run("cat-file", "-e", first)  # the server has lost it
        taut.declare(application("web", source={"path": "apps/web", "ref": first}))
        await taut.poke()
        await taut.synced("web", at=first)
        assert (taut.get("configmaps", "web") or {})["data"] == {"state": "good"}


async def test_pins_are_kept_as_long_as_the_history(taut: Taut) -> None:
    taut.declare(application("web", historyLimit=2), application("other"), files={**good("web"), **good("other")})
    commits: list[str] = []
    async with taut.run():
        await taut.synced("web", "other")
        for n in range(3):
            commits.append(await taut.push({"apps/web/cm.yaml": yaml(config_map("web", {"state": str(n)}))}))
            await taut.synced("web", at=commits[-1])

        async def pinned(name: str) -> list[str]:
            return [revision for _, revision in await taut.controller.store.pins_of(taut.key(name))]

        assert await pinned("web") == commits[-2:]
        [first] = await pinned("other")
        assert taut.controller.sources.pins(taut.repo.url) == {first, *commits[-2:]}
        taut.declare(application("other"))
        await taut.poke()

        def left() -> bool:
            return taut.state("web") is None and taut.controller.sources.pins(taut.repo.url) == {first}

        await taut.until(left, "nothing is kept for nobody")
        # As a crash leaves it: its record is gone, its ref is not.
        taut.controller.sources.pin(taut.repo.url, commits[0])
    async with taut.run():
        last = await taut.push({"apps/other/cm.yaml": yaml(config_map("other", {"state": "newer"}))})
        await taut.synced("other", at=last)
        assert taut.controller.sources.pins(taut.repo.url) == {first, last}


async def test_a_branch_that_disappears(taut: Taut) -> None:
    taut.declare(application("web", source={"path": "apps/web", "ref": "live"}), application("other"))
    taut.repo.commit({**good("web"), **good("other")})
    taut.repo.branch("live")
    async with taut.run():
        await taut.synced("web", "other")
        taut.repo.delete_branch("live")
        await taut.poke()
        status = await taut.says("web", "'live'")
        assert taut.repo.url in status.problems[0].where
        await healed(taut, "web")
        await taut.push({"apps/other/cm.yaml": yaml(config_map("other", {"state": "newer"}))})
        await taut.synced("other")
    async with taut.run():
        await taut.says("web", "'live'")
        await healed(taut, "web")
        taut.repo.branch("live")
        await taut.poke()
        await taut.synced("web")
