"""The engine as a whole: several sources, plain folders, substitution, keys across restarts, the command line."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from taut.cli.ending import run_command
from taut.cli.render import render as render_command
from taut.model.application import PlainOptions, Source, Substitute, ValuesFrom
from taut.model.errors import BadInput, RenderError
from taut.render.closure import Closure
from taut.render.engine import RenderEngine, RenderJob, RenderSource, closure_of

pytestmark = pytest.mark.integration

MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: NAME}\n"
CHART = {
    "chart/Chart.yaml": "apiVersion: v2\nname: c\nversion: 1.0.0\n",
    "chart/templates/a.yaml": MAP.replace("NAME", "{{ .Release.Name }}")
    + "data: {v: {{ .Values.v | quote }}, k: {{ .Capabilities.KubeVersion.Version }}}\n",
    "chart/values.yaml": "v: default\n",
}


def one(snapshot, **source) -> RenderJob:
    return RenderJob("app", "ns", (RenderSource(Source(**source), snapshot),))


async def test_several_sources_are_put_together(plant, engine: RenderEngine) -> None:
    snapshot = plant(
        {
            **CHART,
            "plain/a.yaml": MAP.replace("NAME", "plain"),
            "k/kustomization.yaml": "resources: [a.yaml]\nnamePrefix: k-\n",
            "k/a.yaml": MAP.replace("NAME", "a"),
        }
    )
    sources = tuple(RenderSource(Source(path=p), snapshot) for p in ("chart", "plain", "k"))
    rendered = await engine.render(RenderJob("app", "ns", sources))
    assert [m.name for m in rendered.manifests] == ["app", "plain", "k-a"]
    assert len(rendered.closure.sources) == 3
    assert Closure.from_json(rendered.closure.to_json()) == rendered.closure


async def test_the_same_object_from_two_sources_names_both(plant, engine: RenderEngine) -> None:
    snapshot = plant({"a/one.yaml": MAP.replace("NAME", "x"), "b/two.yaml": "# comment\n" + MAP.replace("NAME", "x")})
    with pytest.raises(RenderError, match=r"twice, the first time in a/one\.yaml:1") as caught:
        await engine.render(RenderJob("app", "ns", tuple(RenderSource(Source(path=p), snapshot) for p in "ab")))
    assert (caught.value.where.file, caught.value.where.line) == ("b/two.yaml", 2)


async def test_results_outlive_the_engine_when_the_secret_does(plant, memory) -> None:
    snapshot = plant(CHART)
    keys = []
    for secret in (b"a", b"a", b"b"):
        async with RenderEngine(cache=memory, secret=secret) as engine:
            rendered = await engine.render(one(snapshot, path="chart"))
            keys.append((rendered.key, rendered.cached))
    assert keys[0][0] == keys[1][0] != keys[2][0]
    assert [cached for _, cached in keys] == [False, True, False]


async def test_a_damaged_cache_is_rendered_again(plant, memory) -> None:
    async with RenderEngine(cache=memory, secret=b"a") as engine:
        first = await engine.render(one(plant(CHART), path="chart"))
        for key in memory.values:
            memory.values[key] = b"\x00broken"
        again = await engine.render(one(plant(CHART), path="chart"))
    assert not again.cached
    assert again.manifests == first.manifests


async def test_a_plain_folder(plant, engine: RenderEngine) -> None:
    files = {
        "app/b.yml": "---\n---\n# nothing\n---\n" + MAP.replace("NAME", "b"),
        "app/a.json": '[{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "never"}}]',
        "app/deep/list.yaml": "apiVersion: v1\nkind: ConfigMapList\nitems:\n- metadata: {name: l1}\n- metadata: {name: l2}\n",
        "app/skip/x.yaml": "a: [",
        "app/values.yaml": "a: 1\n",
        "app/.hidden/x.yaml": "a: [",
        "app/README.md": "text",
    }
    options = PlainOptions(exclude=("{skip,other}/**", "a.json"))
    rendered = await engine.render(one(plant(files), path="app", plain=options))
    assert [(m.name, m.origin.file, m.origin.line) for m in rendered.manifests] == [
        ("b", "app/b.yml", 5),
        ("l1", "app/deep/list.yaml", 1),
        ("l2", "app/deep/list.yaml", 1),
    ]
    assert [m.kind for m in rendered.manifests] == ["ConfigMap"] * 3
    assert rendered.warnings == ("app/values.yaml holds no Kubernetes object and was skipped",)
    assert rendered.closure.same_in([plant({"app/README.md": "changed", "app/skip/x.yaml": "b: ["}).tree])
    assert not rendered.closure.same_in([plant({"app/deep/new.yaml": MAP}).tree])
    flat = await engine.render(one(plant(files), path="app", plain=PlainOptions(recurse=False, include=("*.yml",))))
    assert [m.name for m in flat.manifests] == ["b"]


@pytest.mark.parametrize(
    ("text", "words", "line"),
    [
        (MAP.replace("NAME", "a") + "---\nkind: Secret\n", "needs apiVersion and kind", 5),
        (MAP.replace("NAME", "a") + "---\na: [\n", "no YAML", 5),
        ("apiVersion: v1\nkind: Secret\n", "has no metadata", 1),
        ("# a\napiVersion: v1\nkind: Secret\nmetadata: {generateName: a-}\n", "generateName works in hooks only", 2),
        ("apiVersion: v1\nkind: Secret\nmetadata: {name: 7}\n", "must be text", 1),
        ("apiVersion: v1\nkind: Secret\nmetadata: {name: a, annotations: {b: true}}\n", "annotations\\['b'\\] of", 1),
    ],
)
async def test_a_broken_document_is_said_with_its_place(
    plant, engine: RenderEngine, text: str, words: str, line: int
) -> None:
    with pytest.raises((RenderError, BadInput), match=words) as caught:
        await engine.render(one(plant({"app/a.yaml": text}), path="app"))
    assert caught.value.where.file == "app/a.yaml"
    assert caught.value.where.repository
    assert caught.value.where.line in {line, line + 1}


async def test_a_folder_that_is_not_there(plant, engine: RenderEngine) -> None:
    with pytest.raises(RenderError, match="no such folder"):
        await engine.render(one(plant({"a": "b"}), path="nothing"))


async def test_a_failed_render_tells_what_would_have_to_change(plant, engine: RenderEngine) -> None:
    with pytest.raises(RenderError) as caught:
        await engine.render(one(plant({"k/kustomization.yaml": "resources: [a.yaml]\n"}), path="k"))
    closure = closure_of(caught.value)
    assert closure is not None
    assert closure.same_in([plant({"other": "x"}).tree])
    assert not closure.same_in([plant({"k/a.yaml": MAP}).tree])
    assert closure_of(ValueError()) is None


class Target:
    async def read(self, kind: str, namespace: str, name: str) -> dict[str, bytes] | None:
        held = {
            ("ConfigMap", "ns", "vars"): {"n": b"3\n", "host": b"map"},
            ("Secret", "other", "vars"): {"host": b"secret", "token": b"t"},
        }
        return held.get((kind, namespace, name))


async def test_substitution_from_the_target_with_inline_winning(plant, engine: RenderEngine) -> None:
    text = (
        MAP.replace("NAME", "'${host}'")
        + "data: {token: '${token}', zone: '${zone:=none}', literal: '$${kept}'}\nspec: {replicas: '${n}'}\n---\n"
        + MAP.replace("NAME", "off")
        + "data: {a: '${unknown}'}\n"
    )
    files = {"app/a.yaml": text.replace("{name: off}", "{name: 'off', annotations: {taut.dev/substitute: disabled}}")}
    snapshot = plant(files)
    variables = Substitute(
        vars={"host": "inline"},
        vars_from=(
            ValuesFrom(kind="ConfigMap", name="vars"),
            ValuesFrom(kind="Secret", name="vars", namespace="other"),
            ValuesFrom(kind="Secret", name="gone", optional=True),
        ),
    )
    job = RenderJob("app", "ns", (RenderSource(Source(path="app"), snapshot),), substitute=variables)
    rendered = await engine.render(job, Target())
    assert rendered.manifests[0].body == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "inline"},
        "data": {"token": "t", "zone": "none", "literal": "${kept}"},
        "spec": {"replicas": 3},
    }
    assert rendered.manifests[1].body["data"] == {"a": "${unknown}"}
    assert len(rendered.target_reads) == 3
    with pytest.raises(RenderError, match="variable token is not set"):
        await engine.render(
            RenderJob("app", "ns", job.sources, substitute=Substitute(vars={"n": "1", "host": "h"})), None
        )


def test_the_command_renders_a_working_copy(
    plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plant(
        {
            **CHART,
            "base/kustomization.yaml": "resources: [a.yaml]\n",
            "base/a.yaml": MAP.replace("NAME", "a"),
            "over/kustomization.yaml": "resources: [../base]\nnameSuffix: -o\n",
            "v.yaml": "v: file\n",
            "bad/a.yaml": "a: [",
            "broken/kustomization.yaml": "resources: [x.yaml]\n",
        }
    )
    root = tmp_path / "repository"
    monkeypatch.chdir(root)

    def run(*arguments: str) -> tuple[int, str, str]:
        code = run_command(render_command, arguments)
        said = capsys.readouterr()
        return code, said.out, said.err

    code, out, _ = run("chart", "-o", "json", "--kube-version", "v1.29.1", "-f", "v.yaml")
    (body,) = json.loads(out)
    assert code == 0
    assert body["data"] == {"v": "file", "k": "v1.29.1"}
    assert body["metadata"]["name"] == "chart"
    (body,) = json.loads(run("chart", "-o", "json", "-f", "v.yaml", "--set", "v=set", "--name", "x")[1])
    assert (body["data"]["v"], body["metadata"]["name"]) == ("set", "x")
    overlay = run("over")
    assert "name: a-o" in overlay[1]
    assert run("over") == overlay
    code, out, err = run("broken")
    assert (code, out) == (1, "")
    assert "broken/kustomization.yaml:1" in err
    assert run("bad")[0] == 2
    assert run("nothing")[0] == 2
    assert run("chart", "--set", "x")[0] == 2
    assert os.listdir(root / "over") == ["kustomization.yaml"]


@pytest.mark.parametrize("how", ["kubectl", "landlock"])
async def test_other_tools_and_fewer_walls_give_the_same(plant, how: str) -> None:
    """The kubectl of the package instead of kustomize; a prison without namespaces instead of one with them."""
    import sysconfig

    kubectl = Path(sysconfig.get_path("scripts"), "kubectl")
    files = {
        **CHART,
        "k/kustomization.yaml": "resources: [a.yaml]\nnamePrefix: k-\nconfigMapGenerator: [{name: g, literals: [a=b]}]\n",
        "k/a.yaml": MAP.replace("NAME", "a"),
        "j/a.jsonnet": "{apiVersion: 'v1', kind: 'ConfigMap', metadata: {name: 'j'}}",
    }
    snapshot = plant(files)
    sources = tuple(RenderSource(Source(path=p), snapshot) for p in ("chart", "k", "j"))
    job = RenderJob("app", "ns", sources)
    async with (
        RenderEngine() as usual,
        RenderEngine(kustomize=kubectl if how == "kubectl" else None, namespaces=how == "kubectl") as other,
    ):
        one, two = await usual.render(job), await other.render(job)
        assert usual.held is not None
        assert other.held is not None
        assert other.held.namespaces == (usual.held.namespaces if how == "kubectl" else ())
    assert one.manifests == two.manifests
    assert [m.name for m in one.manifests] == ["app", "k-a", one.manifests[2].name, "j"]


async def test_two_renders_at_once(plant) -> None:
    import asyncio

    snapshots = [plant({**CHART, "chart/values.yaml": f"v: v{n}\n"}, name=f"r{n}") for n in range(6)]
    async with RenderEngine(workers=2) as engine:
        results = await asyncio.gather(*(engine.render(one(s, path="chart")) for s in snapshots))
        assert len(engine._pool.pids) <= 2
    assert [r.manifests[0].body["data"]["v"] for r in results] == [f"v{n}" for n in range(6)]


async def test_a_named_source_is_files_only_unless_something_is_to_be_rendered(plant, engine: RenderEngine) -> None:
    snapshot = plant({"a.yaml": MAP.replace("NAME", "a")})
    assert (await engine.render(one(snapshot, name="x"))).manifests == ()
    assert len((await engine.render(one(snapshot, name="x", plain=PlainOptions()))).manifests) == 1
    assert (await engine.render(one(snapshot, files_only=True))).manifests == ()


async def test_a_kustomize_that_cannot_be_run(plant, tmp_path: Path) -> None:
    (tmp_path / "kustomize").write_text("no program")
    async with RenderEngine(kustomize=tmp_path / "kustomize") as engine:
        with pytest.raises(BadInput, match="cannot be run"):
            await engine.render(one(plant({"k/kustomization.yaml": "resources: []\n"}), path="k"))
        assert (await engine.render(one(plant(CHART), path="chart"))).manifests
