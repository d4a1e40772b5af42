"""Which application a folder of a working copy is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import pygit2

from taut.dialects.problems import DocumentProblem
from taut.dialects.working_copy import check_folder
from taut.model.application import Application, ApplicationSpec, Source, Target
from taut.model.errors import TautError
from taut.model.manifests import Manifest
from taut.model.refs import AppKey
from taut.render.decryption import hidden, warnings_of
from taut.render.engine import Rendered, RenderEngine, RenderJob, RenderSource
from taut.render.protocols import Decrypter
from taut.render.worktree import snapshot
from taut.sources.webhook import same_repository

HERE = "working copy"
"""The address that stands for the working copy itself."""


def working_copy_of(path: Path) -> tuple[Path, str]:
    """The folder that `path` may refer to (its Git working copy, else itself), and `path` in it."""
    full = path.resolve()
    root = next((p for p in (full, *full.parents) if (p / ".git").exists()), full)
    inside = full.relative_to(root).as_posix()
    return root, inside


def application_for(path: Path, namespace: str | None) -> tuple[Application, Path, str]:
    """The application that the folder `path` is, the working copy it is in, and the address of that repository in the application.

    The document of the working copy whose source is this folder, when there is exactly one; else an application with nothing but the folder.
    `namespace` wins over the document's.
    """
    root, inside = working_copy_of(path)
    declared = [a for a in check_folder(root).applications if any(_is(s, inside) for s in a.spec.all_sources)]
    if len(declared) == 1:
        app = declared[0]
        repository = next(s.git or "" for s in app.spec.all_sources if _is(s, inside))
    else:
        repository = HERE
        spec = ApplicationSpec(source=Source(git=HERE, path=inside), target=Target(namespace="default"))
        app = Application(key=AppKey("local", "", path.resolve().name or "local"), spec=spec)
    if namespace:
        target = msgspec.structs.replace(app.spec.target, namespace=namespace)
        app = msgspec.structs.replace(app, spec=msgspec.structs.replace(app.spec, target=target))
    return app, root, repository


@dataclass(frozen=True)
class Rendering:
    """What became of rendering a working copy's applications: problems, the applications whose sources are elsewhere, and the objects of the others."""

    rendered: int
    elsewhere: tuple[str, ...]
    problems: tuple[DocumentProblem, ...]
    objects: tuple[tuple[Application, Manifest], ...] = ()
    warnings: tuple[str, ...] = ()
    """Where values of encrypted files came to."""


async def render_applications(
    path: Path, applications: Iterable[Application], kustomize: Path | None = None, decrypter: Decrypter | None = None
) -> Rendering:
    """Render every application whose sources are all in the working copy around `path`, with the controller's own engine.

    `decrypter` opens encrypted files, whose values are hidden in the objects; without one what is encrypted stays so.
    """
    root, _ = working_copy_of(path)
    every = list(applications)
    own = _own_addresses(root, every)
    problems: list[DocumentProblem] = []
    elsewhere: list[str] = []
    objects: list[tuple[Application, Manifest]] = []
    warnings: list[str] = []
    rendered = 0
    async with RenderEngine(kustomize=kustomize, workers=2) as engine:
        for app in every:
            sources = app.spec.all_sources
            if not all(s.git in own for s in sources):
                elsewhere.append(app.key.name)
                continue
            here = snapshot(root)
            pairs = tuple(RenderSource(s, here) for s in sources)
            job = RenderJob(
                app.key.name,
                app.spec.target.namespace,
                pairs,
                substitute=app.spec.substitute,
                decrypter=decrypter,
                keep_encrypted=decrypter is None,
            )
            try:
                found = await engine.render(job, None)
                objects += ((app, m) for m in without_values(found))
                warnings += (f"{app.key.name}: {w}" for w in warnings_of(found.decrypted, found.manifests))
                rendered += 1
            except TautError as error:
                where = replace(error.where, repository="", file=error.where.file or app.origin_file)
                problems.append(DocumentProblem(f"{app.key.name} does not render: {error.what}", where, error.advice))
    return Rendering(rendered, tuple(elsewhere), tuple(problems), tuple(objects), tuple(warnings))


def without_values(rendered: Rendered) -> Iterator[Manifest]:
    """The objects as what judges them may see them: a policy's message may quote any field."""
    paths: dict[str, set[str]] = {}
    for found in rendered.decrypted:
        if not found.short:
            paths.setdefault(found.object, set()).add(found.path)
    for manifest in rendered.manifests:
        places = paths.get(manifest.ref("").id)
        yield Manifest(hidden(manifest, places), manifest.origin) if places else manifest


def _own_addresses(root: Path, applications: Iterable[Application]) -> frozenset[str]:
    """The addresses that mean this working copy: its remotes, in any spelling; without a remote, the one that most applications name."""
    named = Counter(s.git for a in applications for s in a.spec.all_sources if s.git)
    try:
        remotes = [r.url for r in pygit2.Repository(str(root)).remotes if r.url]
    except pygit2.GitError:
        remotes = []
    if remotes:
        return frozenset(url for url in named if any(same_repository(url, r) for r in remotes))
    return frozenset(url for url, _ in named.most_common(1))


def _is(source: Source, inside: str) -> bool:
    return source.git is not None and source.path.strip("/").removeprefix("./") == inside
