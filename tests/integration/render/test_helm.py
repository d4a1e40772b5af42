"""Helm, through the engine: dependencies, values, hooks, CRDs, capabilities, randomness."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from taut.model.application import HelmOptions, HelmParameter, Source, ValuesFrom
from taut.model.errors import BadInput, RenderError
from taut.model.live import Capabilities
from taut.model.snapshot import Snapshot, Tree
from taut.render.engine import RandomField, Rendered, RenderEngine, RenderJob, RenderSource
from taut.render.protocols import Allowed
from taut.render.worktree import WorkTree

pytestmark = pytest.mark.integration

CHART: Mapping[str, str] = {
    "chart/Chart.yaml": "apiVersion: v2\nname: shop\nversion: 1.2.3\nappVersion: '9'\n",
    "chart/values.yaml": "replicas: 1\nname: a\nlist: [x, y]\nnested: {keep: 1, drop: 2}\n",
    "chart/templates/_helpers.tpl": '{{- define "shop.name" -}}{{ .Release.Name }}-shop{{- end }}\n',
    "chart/templates/web.yaml": """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ include "shop.name" . }}
  namespace: {{ .Release.Namespace }}
data:
  values: {{ .Values | toJson | quote }}
  version: {{ .Capabilities.KubeVersion.Version }}
  route: {{ .Capabilities.APIVersions.Has "example.org/v1/Route" | quote }}
  install: "{{ .Release.IsInstall }} {{ .Release.IsUpgrade }} {{ .Release.Revision }}"
  file: {{ .Files.Get "files/note.txt" | quote }}
  lookup: {{ lookup "v1" "Secret" "kube-system" "x" | toJson | quote }}
""",
    "chart/templates/hook.yaml": "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: migrate\n  annotations: {helm.sh/hook: 'pre-install,pre-upgrade', helm.sh/hook-weight: '-5'}\n---# a separator as cert-manager writes it\napiVersion: v1\nkind: Pod\nmetadata:\n  name: try\n  annotations: {helm.sh/hook: test}\n",
    "chart/templates/NOTES.txt": "Thank you for installing.\n",
    "chart/crds/route.yaml": "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: routes.example.org}\n",
    "chart/files/note.txt": "noted",
    "values/a.yaml": "replicas: 2\nnested: {drop: null, added: a}\n",
    "values/b.yaml": "replicas: 3\nlist: [z]\n",
}


def job(snapshot: Snapshot, options: HelmOptions | None = None, path: str = "chart", **more: Any) -> RenderJob:
    return RenderJob("app", "ns", (RenderSource(Source(path=path, helm_options=options), snapshot),), **more)


def data(rendered: Rendered) -> dict[str, str]:
    (found,) = [m for m in rendered.manifests if m.kind == "ConfigMap"]
    return found.body["data"]


def values(rendered: Rendered) -> dict[str, Any]:
    import json

    return json.loads(data(rendered)["values"])


async def test_a_chart_with_hooks_crds_and_notes(plant, engine: RenderEngine) -> None:
    rendered = await engine.render(job(plant(CHART), capabilities=Capabilities("v1.31.4", ("example.org/v1/Route",))))
    assert [(m.kind, m.name) for m in rendered.manifests] == [
        ("CustomResourceDefinition", "routes.example.org"),
        ("Job", "migrate"),
        ("ConfigMap", "app-shop"),
    ]
    assert rendered.manifests[1].annotations["helm.sh/hook"] == "pre-install,pre-upgrade"
    assert rendered.manifests[1].origin.file == "chart/templates/hook.yaml"
    assert rendered.manifests[2].namespace == "ns"
    found = data(rendered)
    assert found["version"] == "v1.31.4"
    assert found["route"] == "true"
    assert found["install"] == "true false 1"
    assert found["file"] == "noted"
    assert found["lookup"] == "{}"


async def test_switches_leave_things_out(plant, engine: RenderEngine) -> None:
    snapshot = plant(CHART)
    everything = await engine.render(
        job(snapshot, HelmOptions(skip_tests=False, release_name="other", namespace="elsewhere"))
    )
    assert [m.name for m in everything.manifests] == ["routes.example.org", "migrate", "try", "other-shop"]
    assert everything.manifests[-1].namespace == "elsewhere"
    little = await engine.render(job(snapshot, HelmOptions(skip_crds=True, skip_hooks=True)))
    assert [m.kind for m in little.manifests] == ["ConfigMap"]


class Target:
    """ConfigMaps and Secrets in memory, with a record of what was read."""

    def __init__(self, held: Mapping[tuple[str, str, str], dict[str, bytes]]) -> None:
        self.held = held
        self.read_: list[tuple[str, str, str]] = []

    async def read(self, kind: str, namespace: str, name: str) -> dict[str, bytes] | None:
        self.read_.append((kind, namespace, name))
        return self.held.get((kind, namespace, name))


async def test_later_values_win_in_the_order_of_the_model(plant, engine: RenderEngine) -> None:
    target = Target(
        {
            ("ConfigMap", "ns", "more"): {"values.yaml": b"replicas: 4\nfromMap: yes\n", "token": b"1,2"},
            ("Secret", "ns", "s"): {"password": b"'007'\n"},
        }
    )
    options = HelmOptions(
        value_files=("../values/a.yaml", "/values/b.yaml"),
        values_from=(
            ValuesFrom(kind="ConfigMap", name="more"),
            ValuesFrom(kind="Secret", name="s", key="password", target_path="auth.password"),
            ValuesFrom(kind="ConfigMap", name="more", key="token", target_path="auth.token"),
            ValuesFrom(kind="ConfigMap", name="gone", optional=True),
        ),
        values={"replicas": 5, "inline": {"a": 1}},
        file_parameters=(HelmParameter(name="note", value="files/note.txt"),),
        parameters=(
            HelmParameter(name="replicas", value="6"),
            HelmParameter(name="list[0]", value="first"),
            HelmParameter(name="inline.b", value="08", force_string=True),
        ),
    )
    rendered = await engine.render(job(plant(CHART), options), target)
    assert values(rendered) == {
        "replicas": 6,
        "name": "a",
        "list": ["first"],
        "nested": {"keep": 1, "added": "a"},
        "fromMap": True,
        "auth": {"password": "007", "token": "1,2"},
        "inline": {"a": 1, "b": "08"},
        "note": "noted",
    }
    assert [(r.kind, r.name, r.hash is None) for r in rendered.target_reads] == [
        ("ConfigMap", "gone", True),
        ("ConfigMap", "more", False),
        ("Secret", "s", False),
    ]
    assert target.read_.count(("ConfigMap", "ns", "more")) == 1


async def test_what_the_target_holds_is_part_of_the_key(plant, engine: RenderEngine) -> None:
    options = HelmOptions(values_from=(ValuesFrom(kind="Secret", name="s"),))
    snapshot = plant(CHART)
    one = await engine.render(job(snapshot, options), Target({("Secret", "ns", "s"): {"values.yaml": b"name: one"}}))
    two = await engine.render(job(snapshot, options), Target({("Secret", "ns", "s"): {"values.yaml": b"name: two"}}))
    same = await engine.render(job(snapshot, options), Target({("Secret", "ns", "s"): {"values.yaml": b"name: one"}}))
    assert values(two)["name"] == "two"
    assert one.key == same.key != two.key
    assert (two.cached, same.cached) == (False, True)
    assert one.target_reads[0].hash != two.target_reads[0].hash


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        (ValuesFrom(kind="Secret", name="nothing"), "Secret nothing does not exist in the namespace ns"),
        (ValuesFrom(kind="Secret", name="s", key="other"), "Secret s has no key other"),
    ],
)
async def test_missing_values_of_the_target(plant, engine: RenderEngine, reference: ValuesFrom, words: str) -> None:
    target = Target({("Secret", "ns", "s"): {"values.yaml": b"name: secret-word"}})
    with pytest.raises(RenderError, match=words):
        await engine.render(job(plant(CHART), HelmOptions(values_from=(reference,))), target)
    with pytest.raises(RenderError, match="no target is connected"):
        await engine.render(job(plant(CHART), HelmOptions(values_from=(reference,))))


async def test_values_of_another_source(plant, engine: RenderEngine) -> None:
    chart = plant(CHART)
    config = plant({"prod/values.yaml": "name: elsewhere\n"}, name="config")
    sources = (
        RenderSource(Source(path="chart", helm_options=HelmOptions(value_files=("$config/prod/values.yaml",))), chart),
        RenderSource(Source(name="config"), config),
    )
    rendered = await engine.render(RenderJob("app", "ns", sources))
    assert values(rendered)["name"] == "elsewhere"
    assert set(rendered.closure.sources[1].files) == {"prod/values.yaml"}
    assert rendered.closure.same_in([chart.tree, plant({"other": "x"}, name="config").tree])
    assert not rendered.closure.same_in([chart.tree, plant({"prod/values.yaml": "name: b\n"}, name="config").tree])
    wrong = Source(path="chart", helm_options=HelmOptions(value_files=("$nobody/a.yaml",)))
    with pytest.raises(RenderError, match=r"named 'nobody', which does not exist \(named sources: config\)"):
        await engine.render(RenderJob("app", "ns", (RenderSource(wrong, chart), sources[1])))


async def test_an_optional_values_file_that_appears_and_vanishes(plant, engine: RenderEngine) -> None:
    options = HelmOptions(value_files=("../values/maybe.yaml",), ignore_missing_value_files=True)
    without = await engine.render(job(plant(CHART), options))
    appeared = plant({"values/maybe.yaml": "name: appeared\n"})
    assert not without.closure.same_in([appeared.tree])
    there = await engine.render(job(appeared, options))
    assert values(there)["name"] == "appeared"
    gone = plant({}, remove=("values/maybe.yaml",))
    assert not there.closure.same_in([gone.tree])
    assert (await engine.render(job(gone, options))).key == without.key
    with pytest.raises(RenderError, match=r"maybe\.yaml does not exist"):
        await engine.render(job(gone, HelmOptions(value_files=("../values/maybe.yaml",))))


async def test_globs_of_values_files(plant, engine: RenderEngine) -> None:
    rendered = await engine.render(job(plant(CHART), HelmOptions(value_files=("../values/*.yaml",))))
    assert values(rendered)["replicas"] == 3
    assert not rendered.closure.same_in([plant({"values/c.yaml": "replicas: 7\n"}).tree])


async def test_the_chart_folder_is_the_closure(plant, engine: RenderEngine) -> None:
    rendered = await engine.render(job(plant(CHART)))
    assert rendered.closure.same_in([plant({"values/a.yaml": "changed: 1\n", "README.md": "x"}).tree])
    assert not rendered.closure.same_in([plant({"chart/files/note.txt": "changed"}).tree])


async def test_capabilities_are_part_of_a_charts_key_only(plant, engine: RenderEngine) -> None:
    snapshot = plant({**CHART, "plain/a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"})
    keys = set()
    for version in ("v1.30.0", "v1.31.0"):
        capabilities = Capabilities(version)
        chart = await engine.render(job(snapshot, capabilities=capabilities))
        plain = await engine.render(job(snapshot, path="plain", capabilities=capabilities))
        keys |= {("chart", chart.key), ("plain", plain.key)}
    assert len(keys) == 3


SUBCHART: Mapping[str, str] = {
    "Chart.yaml": "apiVersion: v2\nname: sub\nversion: 0.1.0\n",
    "templates/s.yaml": "apiVersion: v1\nkind: Service\nmetadata: {name: {{ .Release.Name }}-{{ .Chart.Name }}}\n",
    "crds/c.yaml": "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: subs.example.org}\n",
    "values.schema.json": '{"type": "object", "properties": {"size": {"type": "integer"}}}',
}


def packed(files: Mapping[str, str], top: str) -> bytes:
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as zipped, tarfile.open(fileobj=zipped, mode="w") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(f"{top}/{name}")
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


def with_dependency(repository: str = "https://charts.example", extra: str = "") -> dict[str, str]:
    line = f"dependencies:\n- {{name: sub, version: 0.x.x, repository: '{repository}'{extra}}}\n"
    return {**CHART, "chart/Chart.yaml": CHART["chart/Chart.yaml"] + line}


@pytest.mark.parametrize("how", ["folder", "archive", "local"])
async def test_dependencies_that_are_in_the_repository(plant, engine: RenderEngine, how: str) -> None:
    files: dict[str, Any] = with_dependency("file://../libs/sub" if how == "local" else "https://charts.example")
    if how == "archive":
        files["chart/charts/sub-0.1.0.tgz"] = packed(SUBCHART, "sub")
    else:
        files |= {
            f"{'chart/charts' if how == 'folder' else 'libs'}/sub/{name}": text for name, text in SUBCHART.items()
        }
    rendered = await engine.render(job(plant(files)))
    assert {"app-sub", "subs.example.org"} <= {m.name for m in rendered.manifests}
    if how == "local":
        changed = plant({"libs/sub/templates/s.yaml": SUBCHART["templates/s.yaml"] + "# changed\n"})
        assert not rendered.closure.same_in([changed.tree])


async def test_a_dependency_that_is_switched_off_brings_no_crds(plant, engine: RenderEngine) -> None:
    files = with_dependency(extra=", alias: nick, condition: nick.enabled") | {
        f"chart/charts/sub/{n}": t for n, t in SUBCHART.items()
    }
    snapshot = plant(files)
    on = await engine.render(job(snapshot))
    off = await engine.render(job(snapshot, HelmOptions(values={"nick": {"enabled": False}})))
    assert {"app-nick", "subs.example.org"} <= {m.name for m in on.manifests}
    assert not {"app-nick", "app-sub", "subs.example.org"} & {m.name for m in off.manifests}


@dataclass(frozen=True)
class _Filled:
    tree: Tree
    warnings: tuple[str, ...] = ()


class Filler:
    """Supplies dependencies from another folder, as a tree that holds them."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.asked = 0

    async def chart_with_dependencies(
        self, tree: Tree, path: str, *, allowed: Allowed, credentials: str | None = None
    ) -> _Filled:
        assert allowed("https://charts.example")
        self.asked += 1
        return _Filled(self.tree, ("from a range",))

    async def remote_base(self, url: str, *, allowed: Allowed) -> Any:
        raise AssertionError(url)


async def test_missing_dependencies_are_named_or_fetched(plant, engine: RenderEngine) -> None:
    snapshot = plant(with_dependency())
    with pytest.raises(
        RenderError, match=r"dependencies are missing: sub 0\.x\.x from https://charts\.example"
    ) as caught:
        await engine.render(job(snapshot))
    assert (caught.value.where.file, caught.value.where.line) == ("chart/Chart.yaml", 6)
    filled = plant({**with_dependency(), **{f"chart/charts/sub/{n}": t for n, t in SUBCHART.items()}}, name="filled")
    filler = Filler(filled.tree)
    async with RenderEngine(fetcher=filler) as other:
        rendered = await other.render(job(snapshot, allowed=lambda _: True))
    assert "app-sub" in {m.name for m in rendered.manifests}
    assert rendered.warnings == ("from a range",)
    assert filler.asked == 1
    assert rendered.closure.same_in([WorkTree(__import__("pathlib").Path(snapshot.url))])


async def test_a_schema_is_enforced_unless_told(plant, engine: RenderEngine) -> None:
    files = with_dependency() | {
        "chart/values.schema.json": '{"type": "object", "properties": {"replicas": {"type": "integer"}}}'
    }
    files["chart/charts/sub-0.1.0.tgz"] = packed(SUBCHART, "sub")  # type: ignore[assignment]
    snapshot = plant(files)
    for wrong in ({"replicas": "many"}, {"sub": {"size": "big"}}):
        with pytest.raises(RenderError, match="don't meet the specifications"):
            await engine.render(job(snapshot, HelmOptions(values=wrong)))
        rendered = await engine.render(job(snapshot, HelmOptions(values=wrong, skip_schema_validation=True)))
        assert "app-sub" in {m.name for m in rendered.manifests}


async def test_random_output_is_found(plant, engine: RenderEngine) -> None:
    files = {
        **CHART,
        "chart/templates/secret.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {fixed: a, password: '{{ randAlphaNum 12 }}'}\n",
    }
    snapshot = plant(files)
    rendered = await engine.render(job(snapshot))
    assert rendered.random == (RandomField("/Secret:/s", "stringData.password"),)
    again = await engine.render(job(snapshot))
    assert again.cached
    assert again.manifests == rendered.manifests
    assert again.random == rendered.random
    assert (await engine.render(job(plant(CHART, remove=("chart/templates/secret.yaml",))))).random == ()


@pytest.mark.parametrize(
    ("files", "words", "file", "line"),
    [
        ({"chart/templates/bad.yaml": "a: 1\nb: {{ .Values.x.y.z }}\n"}, "nil pointer", "chart/templates/bad.yaml", 2),
        (
            {"chart/templates/bad.yaml": "a: 1\n\nb: {{ nothing }}\n"},
            "not defined",
            "chart/templates/bad.yaml",
            3,
        ),
        ({"chart/templates/bad.yaml": '{{ fail "no, not so" }}'}, "no, not so", "chart/templates/bad.yaml", 1),
        (
            {"chart/templates/bad.yaml": "a: b: c\n"},
            "cannot be read, in line 1 of its output",
            "chart/templates/bad.yaml",
            0,
        ),
        (
            {"chart/templates/bad.yaml": "kind: A\nmetadata: {name: a}\n"},
            "has no apiVersion",
            "chart/templates/bad.yaml",
            0,
        ),
        ({"chart/templates/bad.yaml": '{{ env "HOME" }}'}, "not defined", "chart/templates/bad.yaml", 1),
    ],
)
async def test_what_is_wrong_in_a_template_is_said_with_its_place(
    plant, engine: RenderEngine, files: dict[str, str], words: str, file: str, line: int
) -> None:
    with pytest.raises(RenderError, match=words) as caught:
        await engine.render(job(plant({**CHART, **files})))
    assert (caught.value.where.file, caught.value.where.line) == (file, line)
    assert "taut.work" not in str(caught.value)


async def test_bad_values_and_names(plant, engine: RenderEngine) -> None:
    snapshot = plant({**CHART, "values/bad.yaml": "a: 1\nb: [\n", "values/list.yaml": "- a\n"})
    with pytest.raises(BadInput) as caught:
        await engine.render(job(snapshot, HelmOptions(value_files=("/values/bad.yaml",))))
    assert caught.value.where.file == "values/bad.yaml"
    assert caught.value.where.line >= 2
    with pytest.raises(BadInput, match="must be a mapping"):
        await engine.render(job(snapshot, HelmOptions(value_files=("/values/list.yaml",))))
    with pytest.raises(RenderError, match="set releaseName"):
        await engine.render(job(snapshot, HelmOptions(release_name="Not A Name")))
    with pytest.raises(RenderError, match="is not fetched"):
        await engine.render(job(snapshot, HelmOptions(value_files=("https://example.org/v.yaml",))))


async def test_a_link_inside_the_chart_works_and_one_that_leaves_is_refused(plant, engine: RenderEngine) -> None:
    snapshot = plant({**CHART, "shared/note.txt": "linked"}, {"chart/files/note.txt": "../../shared/note.txt"})
    rendered = await engine.render(job(snapshot))
    assert data(rendered)["file"] == "linked"
    assert not rendered.closure.same_in([plant({"shared/note.txt": "changed"}).tree])
    out = plant({}, {"chart/files/note.txt": "/etc/hostname"})
    with pytest.raises(RenderError, match="link leaves the repository") as caught:
        await engine.render(job(out))
    assert caught.value.where.file == "chart/files/note.txt"
    circle = plant({}, {"chart/files/note.txt": "../.."})
    with pytest.raises(RenderError, match="circle"):
        await engine.render(job(circle))


async def test_a_folder_without_a_chart(plant, engine: RenderEngine) -> None:
    from taut.model.application import Renderer

    source = Source(path="values", renderer=Renderer.HELM)
    with pytest.raises(RenderError, match=r"no Chart\.yaml"):
        await engine.render(RenderJob("app", "ns", (RenderSource(source, plant(CHART)),)))


async def test_a_secret_does_not_reach_an_error(plant, engine: RenderEngine) -> None:
    target = Target({("Secret", "ns", "s"): {"values.yaml": b"auth: {password: hunter2-very-secret}\n"}})
    snapshot = plant({**CHART, "chart/templates/bad.yaml": '{{ fail (printf "weak: %s" .Values.auth.password) }}'})
    with pytest.raises(RenderError, match="weak: •••") as caught:
        await engine.render(job(snapshot, HelmOptions(values_from=(ValuesFrom(kind="Secret", name="s"),))), target)
    assert "hunter2" not in str(caught.value)
