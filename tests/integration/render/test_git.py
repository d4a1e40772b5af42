"""On real Git trees: a commit changes exactly the applications that read what it changed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from taut.model.application import KustomizeOptions, Source
from taut.model.errors import TautError
from taut.model.snapshot import Revision, Snapshot
from taut.render.engine import RenderEngine, RenderJob, RenderSource
from taut.sources.tree import GitTree, ObjectStore

pytestmark = pytest.mark.integration

MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: NAME}\n"
APPS = ("apps/plain", "apps/overlay", "apps/chart", "apps/linked")


class Repository:
    """A repository made with the git program."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        self.git("init", "-q", "-b", "main")

    def git(self, *arguments: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
        done = subprocess.run(["git", *identity, *arguments], cwd=self.path, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def commit(self, files: dict[str, str | None]) -> Snapshot:
        for name, text in files.items():
            target = self.path / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if text is None:
                target.unlink()
            elif text.startswith("-> "):
                target.symlink_to(text[3:])
            else:
                target.write_text(text)
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "change")
        tree = GitTree(ObjectStore(self.path / ".git"), self.git("rev-parse", "HEAD^{tree}"))
        return Snapshot("https://git.example/r", Revision(self.git("rev-parse", "HEAD")), tree)


FILES: dict[str, str | None] = {
    "apps/plain/a.yaml": MAP.replace("NAME", "plain"),
    "apps/overlay/kustomization.yaml": "resources: [../../base]\ncomponents: [../../component]\nnamePrefix: o-\n",
    "base/kustomization.yaml": "resources: [a.yaml]\n",
    "base/a.yaml": MAP.replace("NAME", "base"),
    "component/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\ncommonAnnotations: {c: d}\n",
    "apps/chart/Chart.yaml": "apiVersion: v2\nname: c\nversion: 1.0.0\n",
    "apps/chart/templates/a.yaml": MAP.replace("NAME", "{{ .Release.Name }}")
    + 'data: {r: {{ .Files.Get "shared.txt" | quote }}}\n',
    "apps/chart/shared.txt": "-> ../../shared.txt",
    "apps/linked/a.yaml": "-> ../../shared.yaml",
    "shared.txt": "shared",
    "shared.yaml": MAP.replace("NAME", "linked"),
}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"README.md": "x"}, set()),
        ({"apps/plain/a.yaml": MAP.replace("NAME", "b")}, {"apps/plain"}),
        ({"apps/plain/b.yaml": MAP.replace("NAME", "b")}, {"apps/plain"}),
        ({"base/a.yaml": MAP.replace("NAME", "b")}, {"apps/overlay"}),
        ({"base/unused.yaml": "x"}, set()),
        (
            {
                "component/kustomization.yaml": None,
                "component/kustomization.yml": FILES["component/kustomization.yaml"],
            },
            {"apps/overlay"},
        ),
        ({"apps/chart/values.yaml": "a: 1\n"}, {"apps/chart"}),
        ({"shared.txt": "changed"}, {"apps/chart"}),
        ({"shared.yaml": MAP.replace("NAME", "c")}, {"apps/linked"}),
        ({"apps/linked/a.yaml": None, "apps/linked/b.yaml": MAP}, {"apps/linked"}),
    ],
)
async def test_a_commit_touches_who_reads_it(
    tmp_path: Path, engine: RenderEngine, change: dict[str, str | None], expected: set[str]
) -> None:
    repository = Repository(tmp_path / "r")
    first = repository.commit(FILES)
    rendered = {app: await engine.render(job(app, first)) for app in APPS}
    assert [len(r.manifests) for r in rendered.values()] == [1, 1, 1, 1]
    later = repository.commit(change)
    assert {app for app, r in rendered.items() if not r.closure.same_in([later.tree])} == expected
    for app in set(APPS) - expected:
        assert (await engine.render(job(app, later))).key == rendered[app].key


def job(app: str, snapshot: Snapshot) -> RenderJob:
    return RenderJob("app", "ns", (RenderSource(Source(git=snapshot.url, path=app), snapshot),))


@pytest.mark.parametrize("how", ["wide", "deep"])
@pytest.mark.parametrize("path", ["chart", "plain", "generated"])
async def test_a_tree_that_is_endless_when_walked(tmp_path: Path, engine: RenderEngine, how: str, path: str) -> None:
    repository = Repository(tmp_path / "r")

    def tree(lines: str) -> str:
        command = ["git", "mktree"]
        return subprocess.run(
            command, cwd=repository.path, input=lines, capture_output=True, text=True, check=True
        ).stdout.strip()

    def blob(text: str) -> str:
        command = ["git", "hash-object", "-w", "--stdin"]
        return subprocess.run(
            command, cwd=repository.path, input=text, capture_output=True, text=True, check=True
        ).stdout.strip()

    inner = tree("")
    for _ in range(12 if how == "wide" else 400):
        inner = tree("".join(f"040000 tree {inner}\td{n}\n" for n in range(10 if how == "wide" else 1)))
    chart = tree(
        f"100644 blob {blob('apiVersion: v2' + chr(10) + 'name: c' + chr(10) + 'version: 1.0.0' + chr(10))}\tChart.yaml\n040000 tree {inner}\tx\n"
    )
    root = tree(f"040000 tree {chart}\tchart\n040000 tree {inner}\tgenerated\n040000 tree {inner}\tplain\n")
    snapshot = Snapshot("https://git.example/r", Revision("x"), GitTree(ObjectStore(repository.path / ".git"), root))
    options = KustomizeOptions(name_prefix="a-") if path == "generated" else None
    with pytest.raises(TautError, match=r"more folders|nested too deeply"):
        await engine.render(RenderJob("app", "ns", (RenderSource(Source(path=path, kustomize=options), snapshot),)))
