"""Kustomize, through the engine, on repositories as people have them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from taut.model.application import (
    KustomizeImage,
    KustomizeOptions,
    KustomizePatch,
    KustomizeReplicas,
    PatchTarget,
    Renderer,
    Source,
)
from taut.model.errors import RenderError, SourceError
from taut.model.manifests import Manifest
from taut.model.snapshot import Snapshot
from taut.render.engine import Rendered, RenderEngine, RenderJob, RenderSource
from taut.render.protocols import Allowed

pytestmark = pytest.mark.integration

BASE: Mapping[str, str] = {
    "base/kustomization.yaml": "resources: [web.yaml, more]\nconfigMapGenerator:\n- name: settings\n  files: [app.conf=conf/app.conf]\n  envs: [conf/app.env]\n",
    "base/web.yaml": """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "example/web:1"}]}
""",
    "base/more/kustomization.yml": "resources: [service.yaml]\n",
    "base/more/service.yaml": "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {selector: {app: web}, ports: [{port: 80}]}\n",
    "base/conf/app.conf": "a=1\n",
    "base/conf/app.env": "LEVEL=info\n",
    "component/kustomization.yaml": """\
apiVersion: kustomize.config.k8s.io/v1alpha1
kind: Component
patches:
- path: patch.yaml
  target: {kind: Deployment}
""",
    "component/patch.yaml": "- op: add\n  path: /metadata/labels\n  value: {component: 'yes'}\n",
    "prod/kustomization.yaml": """\
resources: [../base]
components: [../component]
namePrefix: prod-
patches:
- path: replicas.yaml
replacements:
- path: replacement.yaml
""",
    "prod/replicas.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {replicas: 3}\n",
    "prod/replacement.yaml": "- source: {kind: Service, name: web, fieldPath: metadata.name}\n  targets:\n  - select: {kind: Deployment}\n    fieldPaths: [metadata.annotations.service]\n    options: {create: true}\n",
    "other/README.md": "not an input\n",
}


def job(snapshot: Snapshot, path: str, options: KustomizeOptions | None = None, **more: Any) -> RenderJob:
    return RenderJob("app", "ns", (RenderSource(Source(path=path, kustomize=options, **more), snapshot),))


def by_kind(rendered: Rendered, kind: str) -> Manifest:
    (found,) = [m for m in rendered.manifests if m.kind == kind]
    return found


async def test_nested_overlays_with_a_component_generators_and_replacements(plant, engine: RenderEngine) -> None:
    rendered = await engine.render(job(plant(BASE), "prod"))
    deployment = by_kind(rendered, "Deployment")
    assert deployment.name == "prod-web"
    assert deployment.body["spec"]["replicas"] == 3
    assert deployment.labels == {"component": "yes"}
    assert deployment.annotations == {"service": "prod-web"}
    settings = by_kind(rendered, "ConfigMap")
    assert settings.body["data"] == {"app.conf": "a=1\n", "LEVEL": "info"}
    assert rendered.warnings == ()
    assert engine.held is not None
    assert engine.held.complete


async def test_the_closure_is_what_was_read_and_what_was_looked_for(plant, engine: RenderEngine) -> None:
    rendered = await engine.render(job(plant(BASE), "prod"))
    (closure,) = rendered.closure.sources
    assert set(closure.files) == {p for p in BASE if not p.startswith("other/")}
    assert {"prod/kustomization.yml", "prod/Kustomization", "base/more/kustomization.yaml"} <= closure.absent


@pytest.mark.parametrize(
    ("change", "remove", "same"),
    [
        ({"other/README.md": "changed"}, (), True),
        ({"new/folder.yaml": "x"}, (), True),
        ({"base/web.yaml": BASE["base/web.yaml"] + "# comment\n"}, (), False),
        ({"base/conf/app.env": "LEVEL=debug\n"}, (), False),
        ({"component/patch.yaml": "[]"}, (), False),
        ({"prod/replacement.yaml": "[]"}, (), False),
        ({"base/Kustomization": "resources: []"}, (), False),
        ({}, ("base/more/service.yaml",), False),
    ],
)
async def test_exactly_the_right_changes_change_the_closure(
    plant, engine: RenderEngine, change: dict[str, str], remove: tuple[str, ...], same: bool
) -> None:
    rendered = await engine.render(job(plant(BASE), "prod"))
    later = plant(change, remove=remove)
    assert rendered.closure.same_in([later.tree]) is same


async def test_a_result_is_kept_by_content(plant, engine: RenderEngine, memory) -> None:
    first = await engine.render(job(plant(BASE), "prod"))
    again = await engine.render(job(plant({"other/README.md": "changed"}), "prod"))
    assert (first.cached, again.cached) == (False, True)
    assert first.key == again.key
    assert first.manifests == again.manifests
    changed = await engine.render(job(plant({"base/conf/app.env": "LEVEL=debug\n"}), "prod"))
    assert not changed.cached
    assert changed.key != first.key
    assert len(memory.values) == 2


async def test_options_are_set_in_the_kustomization_as_the_peers_do(plant, engine: RenderEngine) -> None:
    options = KustomizeOptions(
        name_prefix="x-",
        namespace="shop",
        images=(KustomizeImage(name="example/web", new_name="mirror/web", new_tag="2"),),
        replicas=(KustomizeReplicas(name="web", count=5),),
        common_labels={"team": "a"},
        label_without_selector=True,
        common_annotations={"note": "n"},
        patches=(
            KustomizePatch(
                patch='[{"op": "add", "path": "/metadata/annotations/p", "value": "q"}]',
                target=PatchTarget(kind="Service"),
            ),
        ),
    )
    rendered = await engine.render(job(plant(BASE), "prod", options))
    deployment, service = by_kind(rendered, "Deployment"), by_kind(rendered, "Service")
    assert deployment.name == "x-web", "the prefix replaces the one in the file, it is not put before it"
    assert deployment.namespace == "shop"
    assert deployment.body["spec"]["template"]["spec"]["containers"][0]["image"] == "mirror/web:2"
    assert deployment.body["spec"]["replicas"] == 5
    assert deployment.labels["team"] == "a"
    assert deployment.body["spec"]["selector"]["matchLabels"] == {"app": "web"}
    assert service.annotations == {"note": "n", "p": "q"}


async def test_an_image_override_replaces_the_one_of_the_same_name(plant, engine: RenderEngine) -> None:
    files = {
        **BASE,
        "prod/kustomization.yaml": "resources: [../base]\nimages: [{name: example/web, newName: kept/web, newTag: '1'}]\n",
    }
    rendered = await engine.render(
        job(
            plant(files),
            "prod",
            KustomizeOptions(images=(KustomizeImage(name="example/web", digest="sha256:" + "a" * 64),)),
        )
    )
    assert (
        by_kind(rendered, "Deployment").body["spec"]["template"]["spec"]["containers"][0]["image"]
        == "kept/web@sha256:" + "a" * 64
    )


async def test_components_of_the_options_may_be_missing(plant, engine: RenderEngine) -> None:
    files = {**BASE, "prod/kustomization.yaml": "resources: [../base]\n"}
    options = KustomizeOptions(components=("../component", "../nothing"), ignore_missing_components=True)
    snapshot = plant(files)
    rendered = await engine.render(job(snapshot, "prod", options))
    assert by_kind(rendered, "Deployment").labels == {"component": "yes"}
    assert not rendered.closure.same_in([plant({"nothing/kustomization.yaml": "resources: []"}).tree])
    with pytest.raises(RenderError, match="nothing2 does not exist"):
        await engine.render(job(snapshot, "prod", KustomizeOptions(components=("../nothing2",))))


async def test_without_a_kustomization_one_is_made_as_flux_does(plant, engine: RenderEngine) -> None:
    files = {
        "app/a/web.yaml": BASE["base/web.yaml"],
        "app/values.yaml": "a: 1\n",
        "app/k/kustomization.yaml": "resources: [s.yaml]\nnamePrefix: k-\n",
        "app/k/s.yaml": BASE["base/more/service.yaml"],
    }
    rendered = await engine.render(
        job(plant(files), "app", KustomizeOptions(name_suffix="-s"), renderer=Renderer.KUSTOMIZE)
    )
    assert {m.name for m in rendered.manifests} == {"web-s", "k-web-s"}


async def test_the_origin_is_the_file_where_build_metadata_is_asked(plant, engine: RenderEngine) -> None:
    rendered = await engine.render(job(plant(BASE), "prod", KustomizeOptions(build_metadata=("originAnnotations",))))
    assert by_kind(rendered, "Service").origin.file == "base/more/service.yaml"
    plain = await engine.render(job(plant(BASE), "prod"))
    assert by_kind(plain, "Service").origin.file == "prod"


@pytest.mark.parametrize(
    ("files", "words", "line"),
    [
        (
            {
                "app/kustomization.yaml": "namePrefix: a-\nresources:\n- there.yaml\n- missing.yaml\n",
                "app/there.yaml": BASE["base/more/service.yaml"],
            },
            "missing.yaml does not exist",
            4,
        ),
        ({"app/kustomization.yaml": "resources:\n- empty\n", "app/empty/readme": ""}, "has no kustomization.yaml", 2),
        ({"app/kustomization.yaml": "patches:\n- path: p.yaml\n"}, "p.yaml does not exist", 2),
        ({"app/kustomization.yaml": "resources:\n- ../../../etc\n"}, "leaves the repository", 2),
        ({"app/kustomization.yaml": "configMapGenerator:\n- name: a\n  files: [/etc/passwd]\n"}, "absolute path", 3),
        ({"app/kustomization.yaml": "helmCharts:\n- name: a\n"}, "charts inside a kustomization", 1),
        (
            {
                "app/kustomization.yaml": 'transformers:\n- |-\n  apiVersion: x/v1\n  kind: Exec\n  metadata:\n    name: x\n    annotations: {config.kubernetes.io/function: "exec: {path: ./run.sh}"}\n',
                "app/run.sh": "#!/bin/sh\n",
            },
            "programs of a repository are not run",
            2,
        ),
        ({"app/kustomization.yaml": "resources: {a: b}\n"}, "resources must be a list", 1),
        ({"app/kustomization.yaml": "resources: []", "app/Kustomization": "resources: []"}, "only one may exist", 0),
    ],
)
async def test_what_is_wrong_is_said_with_file_and_line(
    plant, engine: RenderEngine, files: dict[str, str], words: str, line: int
) -> None:
    with pytest.raises(RenderError, match=words) as caught:
        await engine.render(job(plant(files), "app"))
    assert caught.value.where.line == line
    assert caught.value.where.repository


async def test_kustomizes_own_errors_are_passed_on_without_our_paths(plant, engine: RenderEngine) -> None:
    files = {**BASE, "prod/replicas.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: nobody}\n"}
    with pytest.raises(RenderError, match="nobody") as caught:
        await engine.render(job(plant(files), "prod"))
    assert "taut.work" not in str(caught.value)


async def test_symbolic_links_inside_the_repository_work_and_both_ends_count(plant, engine: RenderEngine) -> None:
    files = {
        "shared/web.yaml": BASE["base/web.yaml"],
        "app/kustomization.yaml": "resources: [web.yaml, linked]\n",
        "real/kustomization.yaml": "resources: [../near/s.yaml]\n",
        "near/s.yaml": BASE["base/more/service.yaml"],
    }
    snapshot = plant(files, {"app/web.yaml": "../shared/web.yaml", "app/linked": "../real"})
    rendered = await engine.render(job(snapshot, "app"))
    assert {m.kind for m in rendered.manifests} == {"Deployment", "Service"}
    (closure,) = rendered.closure.sources
    assert {"app/web.yaml", "shared/web.yaml", "app/linked", "real/kustomization.yaml"} <= set(closure.files)
    assert not rendered.closure.same_in([plant({"near/s.yaml": "x"}).tree])
    later = plant(files, {"app/web.yaml": "../near/s.yaml"})
    assert not rendered.closure.same_in([later.tree])


async def test_a_link_that_leaves_the_repository_is_named(plant, engine: RenderEngine) -> None:
    snapshot = plant({"app/kustomization.yaml": "resources: [out.yaml]\n"}, {"app/out.yaml": "../../../etc/hostname"})
    with pytest.raises(RenderError, match="link leaves the repository") as caught:
        await engine.render(job(snapshot, "app"))
    assert caught.value.where.file == "app/out.yaml"


async def test_a_plugin_of_kustomize_may_read_files(plant, engine: RenderEngine) -> None:
    files = {
        "app/kustomization.yaml": "resources: [web.yaml]\ntransformers: [t.yaml]\ngenerators: [gen]\n",
        "app/web.yaml": BASE["base/web.yaml"],
        "app/t.yaml": "apiVersion: builtin\nkind: PatchTransformer\nmetadata: {name: p}\npath: patches/p.yaml\ntarget: {kind: Deployment}\n",
        "app/patches/p.yaml": "- op: replace\n  path: /spec/replicas\n  value: 9\n",
        "app/gen/kustomization.yaml": "resources: [g.yaml]\n",
        "app/gen/g.yaml": "apiVersion: builtin\nkind: ConfigMapGenerator\nmetadata: {name: made}\nfiles: [data.txt]\n",
        "app/data.txt": "hello",
    }
    rendered = await engine.render(job(plant(files), "app"))
    assert by_kind(rendered, "Deployment").body["spec"]["replicas"] == 9
    assert by_kind(rendered, "ConfigMap").body["data"] == {"data.txt": "hello"}
    assert rendered.warnings == ()


@dataclass(frozen=True)
class _Base:
    snapshot: Snapshot
    path: str
    warnings: tuple[str, ...] = ()


class LocalFetcher:
    """Fetches from folders of this machine, asks what is allowed first, and counts."""

    def __init__(self, known: Mapping[str, _Base]) -> None:
        self.known = known
        self.asked: list[str] = []

    async def remote_base(self, url: str, *, allowed: Allowed) -> _Base:
        if not allowed(url):
            raise SourceError(f"{url} is not allowed")
        self.asked.append(url)
        return self.known[url]

    async def chart_with_dependencies(
        self, tree: Any, path: str, *, allowed: Allowed, credentials: str | None = None
    ) -> Any:
        raise SourceError("charts are not asked for here")


async def test_remote_bases_come_from_the_fetcher_and_only_if_allowed(plant, tmp_path: Path) -> None:
    url, file_url = "https://git.example/bases//web?ref=v1", "https://files.example/extra.yaml"
    remote = plant(
        {
            "web/kustomization.yaml": "resources: [../common, s.yaml]\n",
            "web/s.yaml": BASE["base/more/service.yaml"],
            "common/kustomization.yaml": "resources: [w.yaml]\n",
            "common/w.yaml": BASE["base/web.yaml"],
        },
        name="remote",
    )
    extra = plant({"extra.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: extra}\n"}, name="files")
    fetcher = LocalFetcher({url: _Base(remote, "web", ("follows a branch",)), file_url: _Base(extra, "extra.yaml")})
    snapshot = plant({"app/kustomization.yaml": f"namePrefix: r-\nresources:\n- {url}\n- {file_url}\n"})
    source = RenderSource(Source(path="app"), snapshot)
    async with RenderEngine(fetcher=fetcher) as engine:
        with pytest.raises(SourceError, match="not allowed"):
            await engine.render(RenderJob("app", "ns", (source,)))
        rendered = await engine.render(RenderJob("app", "ns", (source,), allowed=lambda u: u.startswith("https://")))
    assert {m.name for m in rendered.manifests} == {"r-web", "r-extra"}
    assert len(rendered.manifests) == 3
    assert rendered.warnings == ("follows a branch",)
    assert set(rendered.closure.sources[0].remote) == {url, file_url}


async def test_a_remote_base_without_a_fetcher_is_an_error(plant, engine: RenderEngine) -> None:
    with pytest.raises(RenderError, match="is elsewhere"):
        await engine.render(job(plant({"app/kustomization.yaml": "resources: ['github.com/a/b//c?ref=v1']\n"}), "app"))


async def test_a_gap_in_the_resolver_is_filled_with_the_whole_tree_and_said(
    plant, engine: RenderEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gap is made here, by taking away one kind of reference from the resolver that runs."""
    from taut.render import inputs_kustomize

    original = inputs_kustomize._plain_files
    monkeypatch.setattr(
        inputs_kustomize, "_plain_files", lambda file: ((w, r) for w, r in original(file) if w[0] != "replacements")
    )
    rendered = await engine.render(job(plant(BASE), "prod"))
    assert by_kind(rendered, "Deployment").annotations == {"service": "prod-web"}
    (warning,) = rendered.warnings
    assert "prod/replacement.yaml" in warning
    assert rendered.closure.sources[0].folders.keys() == {""}
    assert not rendered.closure.same_in([plant({"other/README.md": "changed"}).tree])
    again = await engine.render(job(plant({"other/README.md": "again"}), "prod"))
    assert not again.cached
