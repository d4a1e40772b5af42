"""What a chart's render reads: the chart's folder with its dependencies, and the values files beside it. Pure on trees."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from taut.documents.yaml import line_of, load_one
from taut.model.application import HelmOptions
from taut.model.errors import RenderError, Where
from taut.model.snapshot import EntryKind
from taut.render.globs import compile_glob
from taut.render.reach import Reach, join, leaves, normal
from taut.render.wire import InFile, InLink, ValuesLayer

_WILD = re.compile(r"[*?\[{]")
_MAX_DEPTH = 8
_URL = re.compile(r"^[a-z][a-z0-9+.-]*://", re.IGNORECASE)


@dataclass(frozen=True)
class Dependency:
    """A dependency as Chart.yaml (or requirements.yaml) declares it."""

    name: str
    repository: str
    version: str
    file: str
    line: int

    @property
    def is_local(self) -> bool:
        """Whether it is a folder of the repository."""
        return self.repository.startswith("file://")


@dataclass(frozen=True)
class ChartInputs:
    """The closed directory of a chart: it is laid below `folder`."""

    folder: str
    files: list[InFile]
    links: list[InLink]


def chart_folder(reach: Reach, path: str) -> str:
    """The folder with Chart.yaml at `path`. Raises RenderError when there is none."""
    found = reach.find(path)
    if found is None or not found.is_folder:
        raise RenderError(
            "there is no such folder",
            where=Where(repository=reach.repository, file=path),
            advice="check the source's path and ref",
        )
    if reach.take(_in(found.path, "Chart.yaml")) is None:
        raise RenderError(
            "there is no Chart.yaml in this folder", where=Where(repository=reach.repository, file=path or ".")
        )
    return found.path


def declared(reach: Reach, chart: str) -> list[Dependency]:
    """The dependencies that the chart declares. Raises BadInput for a Chart.yaml that cannot be read."""
    result: list[Dependency] = []
    for name in ("Chart.yaml", "requirements.yaml"):
        path = _in(chart, name)
        data = reach.take(path)
        body = load_one(data, file=path) if data else None
        entries = body.get("dependencies") if isinstance(body, dict) else None
        for number, entry in enumerate(entries if isinstance(entries, list) else []):
            if isinstance(entry, dict) and entry.get("name"):
                line = line_of(data or b"", ("dependencies", number))
                result.append(
                    Dependency(
                        str(entry["name"]),
                        str(entry.get("repository") or ""),
                        str(entry.get("version") or ""),
                        path,
                        line,
                    )
                )
    return result


def missing(reach: Reach, chart: str) -> list[Dependency]:
    """The declared dependencies that are not below `charts/`, where Helm looks for them."""
    wanted = declared(reach, chart)
    if not wanted:
        return []
    there: set[str] = set()
    for entry in reach.listing(_in(chart, "charts")):
        path = _in(chart, f"charts/{entry.name}")
        if entry.name.endswith((".tgz", ".tar.gz")):
            there.add(entry.name)
        elif entry.kind in {EntryKind.FOLDER, EntryKind.SYMLINK}:
            there.add(_chart_name(reach, path) or entry.name)
    return [d for d in wanted if d.name not in there and not any(_is_archive_of(d.name, name) for name in there)]


def _is_archive_of(name: str, file: str) -> bool:
    return re.fullmatch(re.escape(name) + r"-v?\d.*\.(tgz|tar\.gz)", file) is not None


def _chart_name(reach: Reach, folder: str) -> str:
    data = reach.take(_in(folder, "Chart.yaml"))
    body = load_one(data, file=_in(folder, "Chart.yaml")) if data else None
    return str(body.get("name") or "") if isinstance(body, dict) else ""


def resolve_chart(reach: Reach, chart: str, *, schema: bool) -> ChartInputs:
    """The chart's closed directory: all that was taken. Dependencies with `file://` are linked into `charts/`, which Helm follows.

    Raises RenderError naming the dependencies that are missing.
    """
    links = _take_chart(reach, chart, depth=0)
    files = [f for f in reach.files() if schema or f.path.rpartition("/")[2] != "values.schema.json"]
    return ChartInputs(chart, files, [*reach.links(), *links])


def _take_chart(reach: Reach, chart: str, *, depth: int) -> list[InLink]:
    if depth > _MAX_DEPTH:
        raise RenderError(
            "the chart's local dependencies lead in a circle", where=Where(repository=reach.repository, file=chart)
        )
    reach.take_folder(chart)
    lacking = missing(reach, chart)
    elsewhere = [d for d in lacking if not d.is_local]
    if elsewhere:
        raise missing_error(reach, elsewhere)
    links: list[InLink] = []
    for dependency in lacking:
        place = join(chart, dependency.repository.removeprefix("file://"))
        if leaves(place):
            raise RenderError(
                f"the dependency {dependency.name} leaves the repository",
                where=Where(repository=reach.repository, file=dependency.file, line=dependency.line),
                advice="keep the chart in this repository",
            )
        found = reach.find(place)
        if found is None or reach.take(_in(found.path, "Chart.yaml")) is None:
            raise RenderError(
                f"there is no chart at {dependency.repository}, where the dependency {dependency.name} should be",
                where=Where(repository=reach.repository, file=dependency.file, line=dependency.line),
            )
        links.append(
            InLink(_in(chart, f"charts/{dependency.name}"), posixpath.relpath(found.path or ".", _in(chart, "charts")))
        )
        links += _take_chart(reach, found.path, depth=depth + 1)
    return links


def missing_error(reach: Reach, dependencies: Sequence[Dependency]) -> RenderError:
    """The error for dependencies that nobody supplied."""
    names = ", ".join(
        f"{d.name} {d.version}".strip() + (f" from {d.repository}" if d.repository else "") for d in dependencies
    )
    first = dependencies[0]
    return RenderError(
        f"the chart's dependencies are missing: {names}",
        where=Where(repository=reach.repository, file=first.file, line=first.line),
        advice="run `helm dependency build` and commit charts/, or allow their repositories in the project",
    )


def values_layers(reach: Reach, chart: str, options: HelmOptions, others: Mapping[str, Reach]) -> list[ValuesLayer]:
    """The values files in order. `others` are the sources that `$name/path` refers to.

    Raises RenderError for a file that does not exist (unless ignore_missing_value_files is set), leaves the repository, or is a URL.
    """
    layers: list[ValuesLayer] = []
    for reference in options.value_files:
        where, path = locate(reach, chart, reference, others)
        paths = _expand(where, path) if _WILD.search(path) and where.find(path) is None else [path]
        for found in paths:
            data = where.take(found)
            if data is not None:
                layers.append(ValuesLayer(data, found))
            elif not options.ignore_missing_value_files:
                raise RenderError(
                    f"the values file {reference} does not exist",
                    where=Where(repository=where.repository, file=found),
                    advice="add it, or set ignoreMissingValueFiles: true",
                )
    return layers


def file_parameters(reach: Reach, chart: str, options: HelmOptions, others: Mapping[str, Reach]) -> list[ValuesLayer]:
    """The layers of `--set-file`. Raises RenderError for a file that does not exist."""
    layers: list[ValuesLayer] = []
    for parameter in options.file_parameters:
        where, path = locate(reach, chart, parameter.value, others)
        data = where.take(path)
        if data is None:
            raise RenderError(
                f"the file {parameter.value} of the parameter {parameter.name} does not exist",
                where=Where(repository=where.repository, file=path),
                advice="add it, or remove the parameter",
            )
        layers.append(ValuesLayer(data, f"parameter {parameter.name}", parameter.name, "file"))
    return layers


def locate(reach: Reach, chart: str, reference: str, others: Mapping[str, Reach]) -> tuple[Reach, str]:
    """Where a reference of the options points to: in the chart's folder, the repository (`/`), or another source (`$name/`)."""
    if _URL.match(reference):
        raise RenderError(f"{reference} is not fetched", advice="keep values files in a repository that is a source")
    if reference.startswith("$"):
        name, _, path = reference[1:].partition("/")
        if name not in others:
            known = ", ".join(sorted(others)) or "none"
            raise RenderError(
                f"{reference} refers to a source named {name!r}, which does not exist (named sources: {known})"
            )
        return others[name], normal(path)
    path = normal(reference) if reference.startswith("/") else join(chart, reference)
    if leaves(path):
        raise RenderError(
            f"{reference} leaves the repository",
            where=Where(repository=reach.repository, file=chart or "."),
            advice="refer to files of the repository only",
        )
    return reach, path


def _expand(reach: Reach, pattern: str) -> list[str]:
    """The files that a pattern matches, in name order. Every folder that could hold one becomes an input by its listing."""
    fixed = pattern[: _WILD.search(pattern).start()].rpartition("/")[0] if _WILD.search(pattern) else pattern  # pyright: ignore[reportOptionalMemberAccess] (searched just before)
    glob = compile_glob(pattern)
    found: list[str] = []
    pending = [fixed]
    while pending:
        folder = pending.pop()
        for entry in reach.listing(folder, every=True):
            path = _in(folder, entry.name)
            if entry.kind is EntryKind.FOLDER:
                pending.append(path)
            elif glob.matches(path):
                found.append(path)
    return sorted(found)


def _in(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name
