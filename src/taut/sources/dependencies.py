"""A chart's dependencies: what it names, what lies in `charts/`, and how the missing ones get there."""

from __future__ import annotations

import asyncio
import posixpath
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from taut.documents.yaml import load_one
from taut.model.errors import BadInput, SourceError, Where
from taut.model.snapshot import Entry, EntryKind, Snapshot, Tree
from taut.sources.semver_range import is_range, parse_range, parse_version
from taut.sources.tree import GitTree

_LARGEST = 2**20
_MOST = 100
_DEEPEST = 8

type FetchChart = Callable[[str, str, str], Awaitable[Snapshot]]
"""(repository URL, chart, version or range) → the chart."""


@dataclass(frozen=True, slots=True)
class Dependency:
    """A dependency as Chart.yaml (or requirements.yaml) names it."""

    name: str
    version: str
    repository: str


@dataclass(frozen=True, slots=True)
class PinnedChart:
    """A dependency that was filled in: which version it became."""

    name: str
    version: str
    repository: str
    tree: str


@dataclass(frozen=True, slots=True)
class FilledChart:
    """The tree with `charts/` filled, what was put in, and what deserves a warning."""

    tree: GitTree
    pinned: tuple[PinnedChart, ...] = ()
    warnings: tuple[str, ...] = ()


async def chart_with_dependencies(tree: Tree, path: str, fetch_chart: FetchChart, *, depth: int = 0) -> FilledChart:
    """Fill `charts/` of the chart at `path` with the dependencies that are missing there.

    Versions come from Chart.lock (requirements.lock) where it fits Chart.yaml, else from the range, with a warning. `file://` dependencies are copied
    from the same tree. Conditions and tags are not looked at. Raises SourceError for a dependency without a repository or one that leads out of the
    tree, BadInput for a Chart.yaml that cannot be read, and whatever `fetch_chart` raises.
    """
    if not isinstance(tree, GitTree):
        raise TypeError("chart dependencies are filled into trees of this package")
    folder = posixpath.normpath(path).removeprefix("./") if path not in {"", "."} else ""
    missing, warnings = await asyncio.to_thread(_missing, tree, folder)
    entries: dict[str, Entry] = {}
    pinned: list[PinnedChart] = []
    for dependency in missing:
        found, more = await _obtain(tree, folder, dependency, fetch_chart, depth)
        await asyncio.to_thread(tree.store.copy_tree, found.tree.store, found.tree.hash)
        target = _free_place(folder, dependency, found.version, entries)
        entries[target] = Entry(posixpath.basename(target), EntryKind.FOLDER, found.tree.hash)
        pinned.append(PinnedChart(dependency.name, found.version, dependency.repository, found.tree.hash))
        warnings += more
    if not entries:
        return FilledChart(tree, (), tuple(warnings))
    oid = await asyncio.to_thread(_grafted, tree, entries)
    return FilledChart(GitTree(tree.store, oid), tuple(pinned), tuple(warnings))


def _grafted(tree: GitTree, entries: dict[str, Entry]) -> str:
    oid = tree.store.graft(tree.hash, entries)
    tree.store.keep(oid)
    return oid


@dataclass(frozen=True, slots=True)
class _Obtained:
    tree: GitTree
    version: str


async def _obtain(
    tree: GitTree, folder: str, wanted: Dependency, fetch_chart: FetchChart, depth: int
) -> tuple[_Obtained, list[str]]:
    if wanted.repository.startswith("file://"):
        return await _neighbour(tree, folder, wanted, fetch_chart, depth)
    snapshot = await fetch_chart(wanted.repository, wanted.name, wanted.version)
    if not isinstance(snapshot.tree, GitTree):
        raise TypeError("charts are trees of this package")
    version = await asyncio.to_thread(_version_of, snapshot.tree, snapshot.revision.label or snapshot.revision.id)
    return _Obtained(snapshot.tree, version), []


async def _neighbour(
    tree: GitTree, folder: str, wanted: Dependency, fetch_chart: FetchChart, depth: int
) -> tuple[_Obtained, list[str]]:
    """A chart elsewhere in the same tree, with its own dependencies filled."""
    where = Where(file=posixpath.join(folder, "Chart.yaml"), field=f"dependencies[{wanted.name}]")
    relative = wanted.repository.removeprefix("file://")
    place = posixpath.normpath(posixpath.join(folder, relative))
    if relative.startswith("/") or place == ".." or place.startswith("../"):
        raise SourceError(
            f"the dependency {wanted.name!r} leads out of the repository",
            where=where,
            advice="keep the chart in this repository",
        )
    if depth >= _DEEPEST:
        raise SourceError("charts depend on each other in a circle", where=where)
    entry = tree.entry(place)
    if entry is None or entry.kind is not EntryKind.FOLDER:
        raise SourceError(
            f"the dependency {wanted.name!r} is not at {place!r}", where=where, advice="check the path after file://"
        )
    filled = await chart_with_dependencies(tree, place, fetch_chart, depth=depth + 1)
    chart = filled.tree.subtree(place)
    return _Obtained(chart, await asyncio.to_thread(_version_of, chart, wanted.version)), list(filled.warnings)


def _missing(tree: GitTree, folder: str) -> tuple[list[Dependency], list[str]]:
    chart = _mapping(tree, posixpath.join(folder, "Chart.yaml"))
    if chart is None:
        raise SourceError("there is no chart here: no Chart.yaml", where=Where(file=folder or "."))
    named = _dependencies(tree, folder, chart)
    present = _present(tree, folder)
    warnings: list[str] = []
    locked = _locked(tree, folder)
    missing: list[Dependency] = []
    for dependency in named:
        if any(name == dependency.name and _fits(version, dependency.version) for name, version in present):
            continue
        _check_repository(dependency, folder)
        version, warning = _version(dependency, locked)
        missing.append(Dependency(dependency.name, version, dependency.repository))
        warnings += [warning] if warning else []
    return missing, warnings


def _dependencies(tree: GitTree, folder: str, chart: dict[str, object]) -> list[Dependency]:
    requirements = _mapping(tree, posixpath.join(folder, "requirements.yaml")) or {}
    listed = _listed(chart) or _listed(requirements)
    if len(listed) > _MOST:
        raise SourceError(
            f"the chart has more than {_MOST} dependencies", where=Where(file=posixpath.join(folder, "Chart.yaml"))
        )
    unique: dict[Dependency, None] = {}
    for item in listed:
        unique[item] = None
    return list(unique)


def _listed(body: dict[str, object]) -> list[Dependency]:
    raw = body.get("dependencies")
    found: list[Dependency] = []
    for item in raw if isinstance(raw, list) else []:
        name = str(item.get("name") or "") if isinstance(item, dict) else ""
        if name in {"", ".", ".."} or "/" in name or "\\" in name or not name.isprintable():
            raise BadInput(
                f"a dependency of the chart has no usable name: {name[:80]!r}",
                where=Where(file="Chart.yaml", field="dependencies"),
            )
        found.append(Dependency(name, str(item.get("version") or ""), str(item.get("repository") or "").strip()))
    return found


def _locked(tree: GitTree, folder: str) -> list[Dependency]:
    for file in ("Chart.lock", "requirements.lock"):
        body = _mapping(tree, posixpath.join(folder, file))
        if body:
            return _listed(body)
    return []


def _version(wanted: Dependency, locked: list[Dependency]) -> tuple[str, str]:
    """The version to fetch, and a warning when it is not pinned."""
    for entry in locked:
        if (entry.name, entry.repository.rstrip("/")) == (wanted.name, wanted.repository.rstrip("/")) and _fits(
            entry.version, wanted.version
        ):
            return entry.version, ""
    if wanted.repository.startswith("file://") or (
        parse_version(wanted.version.removeprefix("=")) and wanted.version.count(".") >= 2
    ):
        return wanted.version, ""
    reason = "Chart.lock does not fit Chart.yaml" if locked else "there is no Chart.lock"
    return (
        wanted.version,
        f"the dependency {wanted.name!r} is not pinned ({reason}): run `helm dependency update` and commit Chart.lock",
    )


def _fits(version: str, wanted: str) -> bool:
    """Whether a version is in the wanted range; what cannot be judged fits, as Helm judges by the name alone when it renders."""
    parsed = parse_version(version)
    return (
        parsed is None or not wanted or not is_range(wanted) or parse_range(wanted).matches(parsed) or version == wanted
    )


def _present(tree: GitTree, folder: str) -> list[tuple[str, str]]:
    """Name and version of what lies in `charts/`: folders with a Chart.yaml, and archives by their file names."""
    base = posixpath.join(folder, "charts")
    entry = tree.entry(base)
    if entry is None or entry.kind is not EntryKind.FOLDER:
        return []
    found: list[tuple[str, str]] = []
    for item in tree.folder(base):
        if item.kind is EntryKind.FOLDER:
            body = _mapping(tree, f"{base}/{item.name}/Chart.yaml")
            if body:
                found.append((str(body.get("name") or item.name), str(body.get("version") or "")))
        elif item.name.endswith((".tgz", ".tar.gz")):
            found += _archive_names(item.name.removesuffix(".tgz").removesuffix(".tar.gz"))
    return found


def _archive_names(stem: str) -> list[tuple[str, str]]:
    """`redis-cluster-1.2.3` is redis-cluster 1.2.3: every cut after which a version stands."""
    parts = stem.split("-")
    cuts = [("-".join(parts[:at]), "-".join(parts[at:])) for at in range(1, len(parts))]
    return [(name, version) for name, version in cuts if parse_version(version)]


def _check_repository(dependency: Dependency, folder: str) -> None:
    where = Where(file=posixpath.join(folder, "Chart.yaml"), field=f"dependencies[{dependency.name}].repository")
    if not dependency.repository:
        raise SourceError(
            f"the chart needs {dependency.name!r}, which is not in charts/",
            where=where,
            advice="put it there, or name its repository",
        )
    if dependency.repository.startswith(("@", "alias:")):
        raise SourceError(
            f"the dependency {dependency.name!r} names a repository by an alias of somebody's machine",
            where=where,
            advice="write the repository's URL",
        )


def _free_place(folder: str, dependency: Dependency, version: str, taken: dict[str, Entry]) -> str:
    """`charts/<name>`; a second version of the same chart (under an alias) goes beside it."""
    place = posixpath.join(folder, "charts", dependency.name)
    return place if place not in taken else f"{place}-{version}"


def _version_of(chart: GitTree, otherwise: str) -> str:
    body = _mapping(chart, "Chart.yaml")
    return str((body or {}).get("version") or otherwise)


def _mapping(tree: GitTree, path: str) -> dict[str, object] | None:
    entry = tree.entry(path)
    if entry is None or entry.kind not in {EntryKind.FILE, EntryKind.EXECUTABLE}:
        return None
    if tree.size(path) > _LARGEST:
        raise BadInput("the file is too large", where=Where(file=path))
    body = load_one(tree.read(path), file=path)
    if body is None:
        return {}
    if not isinstance(body, dict):
        raise BadInput("this file must hold a mapping", where=Where(file=path))
    return body
