"""Which files a kustomization reads: all references are followed, and nothing else goes into the closed directory.

Pure on trees. What is elsewhere (remote bases) cannot be read here: those references are returned as `wanted`, and the caller fetches
them and asks again. Fields: https://kubectl.docs.kubernetes.io/references/kustomize/kustomization/.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from taut.documents.yaml import load_documents
from taut.model.application import KustomizeOptions
from taut.model.errors import RenderError, Where
from taut.model.snapshot import EntryKind, Snapshot
from taut.render.closure import SourceClosure
from taut.render.kustomization import NAMES, Kustomization, Path, as_bytes, find_kustomization, lay_over
from taut.render.plain import is_object
from taut.render.reach import Reach, join, leaves
from taut.render.wire import InFile, InLink

MAIN = "src/"
_REMOTE = re.compile(
    r"^(git::|[a-z][a-z0-9+.-]*://|[\w.-]+@[\w.-]+:|gh:|(www\.)?(github|gitlab)\.com[:/])", re.IGNORECASE
)
_FUNCTION_ANNOTATIONS = ("config.kubernetes.io/function", "config.k8s.io/function")
_HELM_ADVICE = "render the chart as a source of its own (helm), or commit its output"
_MAX_FOLDERS = 2000
_MAX_REMOTES = 200


@dataclass(frozen=True)
class Remote:
    """A base that was fetched: its snapshot, the folder or file in it, and what deserves a warning."""

    snapshot: Snapshot
    path: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class KustomizeInputs:
    """A closed directory for one build. When `wanted` is not empty, these references have to be fetched first."""

    folder: str
    files: list[InFile]
    links: list[InLink]
    closure: SourceClosure
    wanted: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Place:
    """A tree that takes part: the main one or a remote base."""

    reach: Reach
    prefix: str


@dataclass
class _Resolver:
    options: KustomizeOptions
    remotes: Mapping[str, Remote]
    main: _Place
    places: dict[str, _Place] = field(default_factory=dict[str, _Place])
    edited: dict[str, bytes] = field(default_factory=dict[str, bytes])
    wanted: list[str] = field(default_factory=list[str])
    visited: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])

    def top(self, path: str) -> str:
        """Resolve the application's folder; returns it below the closed directory."""
        reach = self.main.reach
        found = reach.find(path)
        if found is None or not found.is_folder:
            raise RenderError(
                "there is no such folder",
                where=Where(repository=reach.repository, file=path),
                advice="check the source's path and ref",
            )
        file = find_kustomization(reach, found.path)
        if file is None:
            name = f"{found.path}/{NAMES[0]}" if found.path else NAMES[0]
            file = Kustomization(name, as_bytes(generate(reach, found.path)), reach.repository)
            self.edited[self.main.prefix + name] = file.data
        if self.options != KustomizeOptions():
            body = lay_over(file.body, self.options, lambda c: reach.is_folder(join(found.path, c)))
            self.edited[self.main.prefix + file.path] = as_bytes(body)
            file = Kustomization(file.path, as_bytes(body), reach.repository, written=file.data)
        self.visited.add((self.main.prefix, found.path))
        self._follow(self.main, file)
        return found.path

    def _visit(self, place: _Place, folder: str, at: Kustomization, where: Path) -> None:
        if (place.prefix, folder) in self.visited:
            return
        self.visited.add((place.prefix, folder))
        if len(self.visited) > _MAX_FOLDERS:
            raise at.error(f"more than {_MAX_FOLDERS} folders take part in this kustomization", ())
        file = find_kustomization(place.reach, folder)
        if file is None:
            raise at.error(
                f"the folder {folder or '.'} has no {NAMES[0]}", where, "name its files one by one, or add one"
            )
        self._follow(place, file)

    def _follow(self, place: _Place, file: Kustomization) -> None:
        self._refuse(file)
        rewritten: dict[Path, str] = {}
        for key in ("resources", "bases", "components"):
            for where, text in file.texts(key):
                elsewhere = self._resource(place, file, where, text)
                if elsewhere:
                    rewritten[where] = elsewhere
        for key in ("generators", "transformers", "validators"):
            for where, text in file.texts(key):
                self._plugin(place, file, where, text)
        for where, reference in _plain_files(file):
            self._file(place, file, where, reference)
        for where, text in file.texts("patchesStrategicMerge"):
            inline = "\n" in text or text.lstrip().startswith("{")
            if not inline:
                self._file(place, file, where, text)
        if rewritten:
            self._rewrite(place, file, rewritten)

    def _refuse(self, file: Kustomization) -> None:
        for key in ("helmCharts", "helmChartInflationGenerator"):
            if file.body.get(key):
                raise file.error("charts inside a kustomization are not rendered", (key,), _HELM_ADVICE)

    def _resource(self, place: _Place, file: Kustomization, where: Path, text: str) -> str | None:
        """Follow one resource; returns what has to be written in its place when it is elsewhere."""
        if _REMOTE.match(text):
            return self._remote(place, file, where, text)
        self._inside(file, where, text)
        found = place.reach.find(join(file.folder, text))
        if found is None:
            if "?ref=" in text or ".git" in text:
                return self._remote(place, file, where, text)
            raise file.error(f"{text} does not exist", where, "add it, or remove the reference")
        if found.is_folder:
            self._visit(place, found.path, file, where)
        else:
            place.reach.take(found.path)
        return None

    def _remote(self, place: _Place, file: Kustomization, where: Path, text: str) -> str | None:
        remote = self.remotes.get(text)
        if remote is None:
            if text not in self.wanted:
                if len(self.wanted) + len(self.remotes) >= _MAX_REMOTES:
                    raise file.error(
                        f"more than {_MAX_REMOTES} bases are elsewhere", where, "copy them into the repository"
                    )
                self.wanted.append(text)
            return None
        key = f"{remote.snapshot.url}@{remote.snapshot.revision.id}"
        if key not in self.places:
            known = place.reach
            reach = Reach(remote.snapshot.tree, remote.snapshot.url, known.limits, decryption=known.decryption)
            self.places[key] = _Place(reach, f"remote/{len(self.places)}/")
        other = self.places[key]
        self.main.reach.remember(text, remote.snapshot.revision.id)
        found = other.reach.find(remote.path)
        if found is None:
            raise file.error(f"{text}: there is no {remote.path or '.'} in it", where)
        if found.is_folder:
            self._visit(other, found.path, file, where)
        else:
            other.reach.take(found.path)
        return posixpath.relpath(other.prefix + found.path, place.prefix + (file.folder or "."))

    def _file(self, place: _Place, file: Kustomization, where: Path, text: str) -> None:
        self._inside(file, where, text)
        if place.reach.take(join(file.folder, text)) is None:
            raise file.error(f"{text} does not exist", where, "add it, or remove the reference")

    def _inside(self, file: Kustomization, where: Path, text: str) -> None:
        if text.startswith("/"):
            raise file.error("an absolute path cannot be read", where, "write it relative to the kustomization")
        if leaves(join(file.folder, text)):
            raise file.error("the path leaves the repository", where, "refer to files of the repository only")

    def _plugin(self, place: _Place, file: Kustomization, where: Path, text: str) -> None:
        """A generator, transformer or validator: inline, a file, or a folder of them. Only kustomize's own run."""
        if "\n" in text or text.lstrip().startswith("{"):
            self._plugin_files(place, file, where, text.encode())
            return
        before = set(place.reach.paths)
        if _REMOTE.match(text):
            raise file.error(
                "plugins are not fetched from elsewhere", where, "copy its configuration into the repository"
            )
        self._resource(place, file, where, text)
        target = join(file.folder, text)
        new = [p for p in place.reach.paths if p not in before or p == target]
        for path in new:
            if path.rpartition("/")[2] not in NAMES:
                self._plugin_files(place, file, where, place.reach.take(path) or b"")

    def _plugin_files(self, place: _Place, file: Kustomization, where: Path, data: bytes) -> None:
        for document in load_documents(data, file=file.path):
            body = document.body
            if not isinstance(body, dict):
                continue
            metadata = body.get("metadata")
            annotations = str(metadata.get("annotations")) if isinstance(metadata, dict) else ""
            if body.get("apiVersion") != "builtin" or any(a in annotations for a in _FUNCTION_ANNOTATIONS):
                raise file.error(
                    f"the plugin {body.get('kind', '?')} is a program, and programs of a repository are not run",
                    where,
                    "use kustomize's own plugins",
                )
            if body.get("kind") == "HelmChartInflationGenerator":
                raise file.error("charts inside a kustomization are not rendered", where, _HELM_ADVICE)
            for reference in _plugin_references(body):
                place.reach.take(join(file.folder, reference))

    def _rewrite(self, place: _Place, file: Kustomization, rewritten: Mapping[Path, str]) -> None:
        body = {
            k: list(v) if k in {"resources", "bases", "components"} and isinstance(v, list) else v
            for k, v in file.body.items()
        }
        for where, text in rewritten.items():
            body[str(where[0])][int(where[1])] = text
        if body.get("bases"):
            body["resources"] = [*(body.get("resources") or []), *body.pop("bases")]
        self.edited[place.prefix + file.path] = as_bytes(body)


def resolve(
    reach: Reach, path: str, options: KustomizeOptions, remotes: Mapping[str, Remote], *, whole: bool = False
) -> KustomizeInputs:
    """The closed directory for the kustomization in `path`. With `whole` the repository's whole tree goes in.

    Raises RenderError with file and line for what is missing everywhere, is refused, or leaves the repository; BadInput for bad YAML.
    """
    resolver = _Resolver(options, remotes, _Place(reach, MAIN))
    folder = resolver.top(path)
    if whole:
        reach.take_folder("")
    files = {f.path: f for f in reach.files(MAIN)}
    links = reach.links(MAIN)
    for place in resolver.places.values():
        files.update({f.path: f for f in place.reach.files(place.prefix)})
        links += place.reach.links(place.prefix)
    files.update({name: InFile(name, data) for name, data in resolver.edited.items()})
    return KustomizeInputs(
        (MAIN + folder).rstrip("/"), list(files.values()), links, reach.closure(), tuple(resolver.wanted)
    )


def generate(reach: Reach, folder: str) -> dict[str, Any]:
    """The kustomization that Flux makes where there is none: all files with objects, folders that have one as bases."""
    resources: list[str] = []
    pending = [folder]
    while pending:
        current = pending.pop()
        for entry in reach.listing(current):
            path = f"{current}/{entry.name}" if current else entry.name
            relative = path[len(folder) :].lstrip("/")
            if entry.name.startswith("."):
                continue
            if entry.kind is EntryKind.FOLDER:
                if any(reach.find(f"{path}/{name}") for name in NAMES):
                    resources.append(relative)
                else:
                    pending.append(path)
            elif entry.name.endswith((".yaml", ".yml")) and _has_objects(reach.take(path) or b"", path):
                resources.append(relative)
    return {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": sorted(resources)}


def _has_objects(data: bytes, path: str) -> bool:
    return any(is_object(d.body) for d in load_documents(data, file=path))


def _plain_files(file: Kustomization) -> Iterator[tuple[Path, str]]:
    """The references that are files and nothing else."""
    for key in ("crds", "configurations"):
        yield from file.texts(key)
    for key in ("patches", "patchesJson6902", "replacements"):
        for where, item in file.items(key):
            if isinstance(item, dict) and isinstance(item.get("path"), str) and item["path"]:
                yield (*where, "path"), item["path"]
    openapi = file.body.get("openapi")
    if isinstance(openapi, dict) and isinstance(openapi.get("path"), str):
        yield ("openapi", "path"), openapi["path"]
    for key in ("configMapGenerator", "secretGenerator"):
        for where, item in file.items(key):
            if isinstance(item, dict):
                yield from _generator(where, item)


def _generator(where: Path, item: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    for key in ("files", "envs"):
        value = item.get(key)
        for number, text in enumerate(value if isinstance(value, list) else []):
            if isinstance(text, str):
                yield (*where, key, number), text.partition("=")[2] if key == "files" and "=" in text else text
    if isinstance(item.get("env"), str):
        yield (*where, "env"), item["env"]


def _plugin_references(body: Mapping[str, Any]) -> Iterator[str]:
    """The files that the configuration of one of kustomize's own plugins names."""
    for _, text in _generator((), body):
        yield text
    values = [body.get("path"), *(body.get("paths") or [] if isinstance(body.get("paths"), list) else [])]
    replacements = body.get("replacements")
    for item in replacements if isinstance(replacements, list) else []:
        values.append(item.get("path") if isinstance(item, dict) else None)
    yield from (
        v
        for v in values
        if isinstance(v, str) and v and not v.startswith("/") and "\n" not in v and not v.lstrip().startswith("{")
    )
