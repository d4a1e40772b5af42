"""Plain YAML and JSON: every file of a folder, read as it is. No worker is needed: nothing is run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from taut.documents.yaml import Document, load_documents
from taut.documents.yaml import Limits as DocumentLimits
from taut.model.application import PlainOptions
from taut.model.errors import BadInput, RenderError, Where
from taut.model.manifests import Manifest, Origin
from taut.model.snapshot import EntryKind
from taut.prison.limits import Limits
from taut.render.closure import SourceClosure
from taut.render.globs import matches
from taut.render.reach import Reach

_ENDINGS = (".yaml", ".yml", ".json")
_TOOL_GROUPS = ("kustomize.config.k8s.io/",)
_MAX_DEPTH = 64
_LFS = b"version https://git-lfs.github.com/spec/"


@dataclass(frozen=True)
class PlainResult:
    """What was read."""

    manifests: tuple[Manifest, ...]
    closure: SourceClosure
    warnings: tuple[str, ...]


def render_plain(reach: Reach, path: str, options: PlainOptions) -> PlainResult:
    """All objects below `path`, in the order of the paths.

    Names that begin with a dot are left out. A file in which nothing is an object is skipped with a warning; one that holds objects and
    other things is an error. Raises RenderError and BadInput with file and line.
    """
    found = reach.find(path)
    if found is None:
        raise RenderError(
            "there is no such folder",
            where=Where(repository=reach.repository, file=path),
            advice="check the source's path and ref",
        )
    manifests: list[Manifest] = []
    warnings: list[str] = []
    files = [found.path] if found.is_file else sorted(_files(reach, found.path, options, warnings))
    for file in files:
        data = reach.take(file)
        if data is None:
            continue
        if data.startswith(_LFS):
            # Left out as a file without objects, it would have everything deleted that it really holds.
            raise BadInput(
                "this is a pointer to a file in Git LFS, which is not fetched",
                where=Where(repository=reach.repository, file=file),
                advice="commit the file itself",
            )
        documents = load_documents(data, file=file, limits=document_limits(reach.limits))
        _read(file, documents, reach.repository, manifests, warnings)
    if not files:
        warnings.append(f"no YAML or JSON file was found in {path or '.'}")
    return PlainResult(tuple(manifests), reach.closure(), tuple(warnings))


def document_limits(limits: Limits) -> DocumentLimits:
    """The limits of one file's documents."""
    default = DocumentLimits()
    return replace(default, bytes=min(default.bytes, limits.file_bytes))


def _files(reach: Reach, root: str, options: PlainOptions, warnings: list[str]) -> Iterator[str]:
    """The paths of the files to read. Folders that are links are entered once; a circle is an error."""
    seen: set[str] = set()
    pending: list[tuple[str, int]] = [(root, 0)]
    while pending:
        folder, depth = pending.pop()
        if depth > _MAX_DEPTH:
            raise RenderError(
                "the folders are nested too deeply", where=Where(repository=reach.repository, file=folder)
            )
        if folder in seen:
            continue
        seen.add(folder)
        for entry in reach.listing(folder):
            if entry.name.startswith("."):
                continue
            path = f"{folder}/{entry.name}" if folder else entry.name
            if entry.kind is EntryKind.SUBMODULE:
                continue
            found = reach.find(path) if entry.kind is EntryKind.SYMLINK else None
            is_folder = entry.kind is EntryKind.FOLDER or (found is not None and found.is_folder)
            if is_folder and options.recurse:
                pending.append((found.path if found else path, depth + 1))
            elif entry.name.endswith(".jsonnet"):
                warnings.append(
                    f"{path} is Jsonnet and was skipped: set renderer: jsonnet, or give it a folder of its own"
                )
            elif not is_folder and _wanted(path[len(root) :].lstrip("/"), options):
                yield path


def _wanted(path: str, options: PlainOptions) -> bool:
    if not path.endswith(_ENDINGS):
        return False
    if options.include and not matches(path, options.include):
        return False
    return not matches(path, options.exclude)


def _read(
    file: str, documents: list[Document], repository: str, manifests: list[Manifest], warnings: list[str]
) -> None:
    if not any(_is_meant(d.body) for d in documents):
        warnings.append(f"{file} holds no Kubernetes object and was skipped")
        return
    for document in documents:
        if not is_object(document.body):
            raise BadInput(
                "this document is no Kubernetes object: it needs apiVersion and kind",
                where=Where(repository=repository, file=file, line=document.line),
                advice="complete it, or move it to a file that is excluded",
            )
        if str(document.body["apiVersion"]).startswith(_TOOL_GROUPS):
            warnings.append(f"{file}:{document.line} is for a tool ({document.body['kind']}) and was skipped")
            continue
        manifests.append(Manifest(document.body, Origin(repository, file, document.line)))


def _is_meant(body: object) -> bool:
    """Whether somebody meant to write an object, perhaps one with a slip: leaving that out would delete what it was."""
    return isinstance(body, dict) and ("apiVersion" in body or {"kind", "metadata"} <= body.keys())


def is_object(body: object) -> bool:
    """Whether a document says what it is."""
    return isinstance(body, dict) and bool(body.get("apiVersion")) and bool(body.get("kind"))
