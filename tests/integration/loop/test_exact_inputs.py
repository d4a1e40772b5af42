"""A commit is paid for by the applications that read what it changed, and by nobody else.

What a render read is known exactly, and so is what it looked for in vain. Each step below is one commit, with the applications that must
be looked at because of it and those that must be written for. All others have no run, no read, no write, and nothing is told of them.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from integration.loop.harness import Taut, application, config_map, yaml
from integration.loop.ledger import Ledger
from servers.git import Content, Executable, GitRepo, Symlink

pytestmark = pytest.mark.integration

PATCH = "- {op: add, path: /data/component, value: %s}"


def component(value: str) -> str:
    """A kustomize component that sets a key."""
    patch = PATCH % f'"{value}"'
    body = {"target": {"kind": "ConfigMap"}, "patch": patch}
    return yaml({"apiVersion": "kustomize.config.k8s.io/v1alpha1", "kind": "Component", "patches": [body]})


def jsonnet(name: str, how: str) -> str:
    """A Jsonnet file with one ConfigMap whose data come from a library."""
    return (
        f"local common = import '{how}';\n"
        f"{{apiVersion: 'v1', kind: 'ConfigMap', metadata: {{name: '{name}'}}, data: common}}\n"
    )


TEMPLATE = """apiVersion: v1
kind: ConfigMap
metadata: {name: "{{ .Release.Name }}-map"}
data: {v: {{ .Values.v | quote }}, x: {{ .Values.x | quote }}}
"""
CHART = "apiVersion: v2\nname: shared\nversion: 1.0.0\n"
VALUES = "v: chart\nx: chart\n"

FILES: dict[str, Content] = {
    # Two overlays on one base, one of them with a component; a third one whose component need not be there.
    "base/kustomization.yaml": "resources: [cm.yaml]\n",
    "base/cm.yaml": yaml(config_map("map")),
    "component/kustomization.yaml": component("1"),
    "apps/ka/kustomization.yaml": "namePrefix: ka-\nresources: [../../base]\n",
    "apps/kb/kustomization.yaml": "namePrefix: kb-\nresources: [../../base]\ncomponents: [../../component]\n",
    "apps/kc/kustomization.yml": "resources: [cm.yaml]\n",
    "apps/kc/cm.yaml": yaml(config_map("kc-map")),
    "apps/kp/kustomization.yaml": "namePrefix: kp-\nresources: [cm.yaml]\n",
    "apps/kp/cm.yaml": yaml(config_map("map")),
    # One chart for two, with a values file for both and one that need not be there; a chart with values of another repository.
    **{f"charts/{c}/Chart.yaml": CHART for c in ("shared", "own")},
    **{f"charts/{c}/values.yaml": VALUES for c in ("shared", "own")},
    **{f"charts/{c}/templates/cm.yaml": TEMPLATE for c in ("shared", "own")},
    "values/common.yaml": "v: common\n",
    # One library for two, found on the library path and by a relative name.
    "lib/common.libsonnet": "{a: '1'}\n",
    "apps/ja/main.jsonnet": jsonnet("ja-map", "common.libsonnet"),
    "apps/jb/main.jsonnet": jsonnet("jb-map", "../../lib/common.libsonnet"),
    # Plain folders: one file, a folder below, nothing yet, a link to a file elsewhere. That of `pn` does not exist at all.
    "apps/pa/cm.yaml": yaml(config_map("pa-map")),
    "apps/pb/cm.yaml": yaml(config_map("pb-map")),
    "apps/pb/sub/cm.yaml": yaml(config_map("pb-sub")),
    "apps/pe/README.md": "nothing yet\n",
    "apps/pl/cm.yaml": Symlink("../../linked/one.yaml"),
    "linked/one.yaml": yaml(config_map("pl-map")),
    "linked/two.yaml": yaml(config_map("pl-map", {"a": "two"})),
}
HEALTHY = ("ka", "kb", "kc", "kp", "ha", "hb", "hc", "ja", "jb", "pa", "pb", "pe", "pl")


def documents(values: GitRepo) -> list[dict[str, Any]]:
    """The applications."""
    plain = [application(n) for n in ("ka", "kb", "kp", "jb", "pa", "pb", "pe", "pl", "pn")]
    kc, ja = application("kc"), application("ja")
    kc["spec"]["source"]["kustomize"] = {"components": ["../../maybe"], "ignoreMissingComponents": True}
    ja["spec"]["source"]["jsonnet"] = {"libs": ["lib"]}
    ha, hb, hc = application("ha", "charts/shared"), application("hb", "charts/shared"), application("hc")
    ha["spec"]["source"]["helmOptions"] = {"valueFiles": ["/values/common.yaml"]}
    hb["spec"]["source"]["helmOptions"] = {
        "valueFiles": ["/values/common.yaml", "/values/hb/extra.yaml"],
        "ignoreMissingValueFiles": True,
    }
    del hc["spec"]["source"]
    hc["spec"]["sources"] = [
        {"path": "charts/own", "helmOptions": {"valueFiles": ["$values/common.yaml"]}},
        {"name": "values", "git": values.url, "ref": "main"},
    ]
    return [*plain, kc, ja, ha, hb, hc]


@dataclass(frozen=True)
class Step:
    """One commit. `seen` must be looked at; `written` (by default the same) must be written for."""

    what: str
    files: dict[str, Content]
    seen: set[str] = field(default_factory=set)
    written: set[str] | None = None
    elsewhere: bool = False
    """It is a commit in the repository of values."""


def cm(name: str, value: str) -> str:
    """A ConfigMap with this value."""
    return yaml(config_map(name, {"a": value}))


STEPS = [
    Step(
        "files that nobody reads",
        {
            "README.md": "words\n",
            "apps/README.md": "words\n",
            "apps/new/cm.yaml": cm("new-map", "1"),
            "base/README.md": "words\n",
            "base/unused.yaml": cm("map", "unused"),
            "component/OWNERS": "words\n",
            "charts/README.md": "words\n",
            "values/other.yaml": "v: other\n",
            "lib/other.libsonnet": "{a: 'other'}\n",
            "apps/pa/README.md": "words\n",
            "apps/pa/.hidden.yaml": cm("pa-hidden", "1"),
            "apps/pb/sub/notes.txt": "words\n",
            "linked/three.yaml": cm("pl-map", "three"),
            "taut/README.md": "words\n",
        },
    ),
    Step(
        "bits that nobody reads",
        {"base/cm.yaml": Executable(yaml(config_map("map")).encode()), "apps/pa/cm.yaml": Executable(yaml(config_map("pa-map")).encode())},
    ),
    Step(
        "a base, a plain file, a library and a linked file change",
        {
            "base/cm.yaml": cm("map", "2"),
            "apps/pa/cm.yaml": cm("pa-map", "2"),
            "lib/common.libsonnet": "{a: '2'}\n",
            "linked/one.yaml": cm("pl-map", "2"),
        },
        {"ka", "kb", "pa", "ja", "jb", "pl"},
    ),
    Step(
        "a component and a values file change",
        {"component/kustomization.yaml": component("2"), "values/common.yaml": "v: common 2\n"},
        {"kb", "ha", "hb"},
    ),
    Step(
        "files get other names and say the same",
        {
            "base/cm.yaml": None,
            "base/renamed.yaml": cm("map", "2"),
            "base/kustomization.yaml": "resources: [renamed.yaml]\n",
            "apps/pa/cm.yaml": None,
            "apps/pa/renamed.yaml": cm("pa-map", "2"),
            "apps/kc/kustomization.yml": None,
            "apps/kc/kustomization.yaml": "resources: [cm.yaml]\n",
        },
        {"ka", "kb", "pa", "kc"},
        written=set(),
    ),
    Step("a folder comes without the values file that is looked for in it", {"values/hb/other.yaml": "v: other\n"}),
    Step(
        "what was looked for in vain appears: a component, a values file, a nearer library, a first file, a folder",
        {
            "maybe/kustomization.yaml": component("maybe"),
            "values/hb/extra.yaml": "x: extra\n",
            "apps/ja/common.libsonnet": "{a: 'nearer'}\n",
            "apps/pe/cm.yaml": cm("pe-map", "1"),
            "apps/pn/cm.yaml": cm("pn-map", "1"),
        },
        {"kc", "hb", "ja", "pe", "pn"},
    ),
    Step(
        "it changes",
        {
            "maybe/kustomization.yaml": component("maybe 2"),
            "values/hb/extra.yaml": "x: extra 2\n",
            "apps/ja/common.libsonnet": "{a: 'nearer 2'}\n",
            "apps/pe/cm.yaml": cm("pe-map", "2"),
            "apps/pn/cm.yaml": cm("pn-map", "2"),
        },
        {"kc", "hb", "ja", "pe", "pn"},
    ),
    Step(
        "what was hidden by the nearer library changes",
        {"lib/common.libsonnet": "{a: '3'}\n"},
        {"jb"},
    ),
    Step(
        "it vanishes again, and a folder turns from a kustomization into plain files",
        {
            "maybe": None,
            "values/hb/extra.yaml": None,
            "apps/ja/common.libsonnet": None,
            "apps/kp/kustomization.yaml": None,
            "apps/kp/cm.yaml": cm("kp-map", "plain"),
        },
        {"kc", "hb", "ja", "kp"},
    ),
    Step(
        "a component vanishes, two kustomizations are one too many, a chart gets a file",
        {
            "component/kustomization.yaml": None,
            "apps/kc/Kustomization": "resources: [cm.yaml]\n",
            "charts/shared/README.md": "a chart's files are its templates' inputs\n",
        },
        {"kb", "kc", "ha", "hb"},
        written=set(),
    ),
    Step("a commit elsewhere mends nothing", {"docs/x.md": "words\n"}),
    Step(
        "they are mended, under the third name",
        {"component/kustomization.yaml": component("3"), "apps/kc/kustomization.yaml": None, "apps/kc/cm.yaml": cm("kc-map", "3")},
        {"kb", "kc"},
    ),
    Step(
        "a plain file becomes a folder, a link leads elsewhere",
        {"apps/pa/more.yaml/cm.yaml": cm("pa-more", "1"), "apps/pl/cm.yaml": Symlink("../../linked/two.yaml")},
        {"pa", "pl"},
    ),
    Step("another repository's values change", {"common.yaml": "v: elsewhere 2\n"}, {"hc"}, elsewhere=True),
    Step("another repository's other files change", {"README.md": "words\n", "b.yaml": "v: b\n"}, elsewhere=True),
]  # fmt: skip


async def test_exactly_those_who_read_what_changed(taut: Taut) -> None:
    values = taut.git.repo("values")
    values.commit({"common.yaml": "v: elsewhere\n"})
    taut.declare(*documents(values), files=FILES)
    async with taut.run():
        await taut.synced(*HEALTHY)
        await taut.says("pn", "no such folder")
        async with Ledger(taut) as ledger:
            for step in STEPS:
                await _quiet(taut)
                ledger.mark()
                repo = values if step.elsewhere else taut.repo
                await _taken_in(taut, repo, step.files)
                expected = step.seen if step.written is None else step.written
                assert set(ledger.searched) == step.seen, step.what
                assert ledger.written() == expected, step.what
                counts = {"ran": set(ledger.ran), "planned": set(ledger.planned), "told": set(ledger.told)}
                for what, who in {**counts, "asked": ledger.asked()}.items():
                    assert who <= step.seen, f"{step.what}: {what}"
            await _quiet(taut)
            await _documents_that_only_move(taut, ledger)
        assert _data(taut, "hb-map") == {"v": "common 2", "x": "chart"}
        assert _data(taut, "hc-map") == {"v": "elsewhere 2", "x": "chart"}
        assert _data(taut, "kb-map") == {"a": "2", "component": "3"}
        assert _data(taut, "pl-map") == {"a": "two"}


async def _documents_that_only_move(taut: Taut, ledger: Ledger) -> None:
    """A line above all documents, and then another file that holds them, change none of them."""
    ledger.mark()
    there = taut.repo.read("taut/applications.yaml").decode()
    await _taken_in(
        taut, taut.repo, {"taut/applications.yaml": "# every document is a line further down now\n" + there}
    )
    await _taken_in(taut, taut.repo, {"taut/applications.yaml": None, "taut/moved.yaml": there})
    counts = (ledger.searched, ledger.ran, ledger.planned, ledger.told)
    assert [dict(c) for c in counts] == [{}, {}, {}, {}]
    assert ledger.asked() == set()
    state = taut.state("ka")
    assert state is not None
    assert state.app.origin_file == "taut/moved.yaml"


async def _taken_in(taut: Taut, repo: GitRepo, files: dict[str, Content]) -> None:
    """Commit, tell taut, and wait until nothing is left to do because of it."""
    sources, watch = taut.controller.sources, taut.controller.watch
    before = sources.moves(repo.url)
    repo.commit(files)
    watch.poke([repo.url])

    def taken_in() -> bool:
        return sources.moves(repo.url) > before and repo.url not in watch.looking | watch.owed

    await taut.until(taken_in, "the commit is taken in")
    await _quiet(taut)


async def _quiet(taut: Taut) -> None:
    """Nothing is left to do, and the API server has written down what it was asked: it does so after its answer."""
    await taut.until(lambda: taut.controller.queue.idle, "nothing is left to do")
    log = taut.plane.audit_log
    assert log is not None
    before, size = -1, log.stat().st_size
    while size != before:
        await asyncio.sleep(0.1)
        before, size = size, log.stat().st_size


def _data(taut: Taut, name: str) -> dict[str, str] | None:
    return (taut.get("configmaps", name) or {}).get("data")
