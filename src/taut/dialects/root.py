"""A root: a folder of a repository that holds taut's documents. Everything in it is read, and each fault stays with its file."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from taut.dialects.native import ApplicationTemplate
from taut.dialects.problems import DocumentProblem
from taut.dialects.taut import Parsed, parse
from taut.documents.yaml import Limits, load_documents
from taut.model.errors import BadInput, Where
from taut.model.project import Project
from taut.model.snapshot import EntryKind, Tree

ENDINGS = (".yaml", ".yml", ".json")
FILE_LIMITS = Limits(bytes=4 * 1024 * 1024)
"""Documents of taut's are written by hand: a larger file is a mistake, and costs its own application only."""
MOST_FILES = 10_000


def read_root(tree: Tree, path: str, *, root: str, limits: Limits = FILE_LIMITS) -> Parsed:
    """All documents below the folder `path` of `tree`, in the order of their files.

    Never raises for what the repository holds: a missing folder, a symbolic link, a file that is too large or no YAML is a problem of its own,
    and so are two documents of the same name. Hidden files and folders are left alone.
    """
    folder = posixpath.normpath(path).strip("/") if path not in {"", "."} else ""
    entry = tree.entry(folder) if folder else None
    if folder and (entry is None or entry.kind is not EntryKind.FOLDER):
        what = f"there is no folder {folder!r} in the repository" if entry is None else f"{folder!r} is no folder"
        problem = DocumentProblem(what, Where(file=folder), f"check the path of root {root}, and its ref")
        return Parsed(problems=(problem,))
    parts = list(_parts(tree, folder, root, limits))
    return _merged(parts)


def _parts(tree: Tree, folder: str, root: str, limits: Limits) -> Iterator[Parsed]:
    count = 0
    for name, entry in tree.walk(folder):
        if not name.endswith(ENDINGS) or _hidden(name, folder):
            continue
        count += 1
        if count > MOST_FILES:
            what = f"more than {MOST_FILES} files of documents"
            yield Parsed(
                problems=(DocumentProblem(what, Where(file=folder or "."), "use forEach, or a smaller folder"),)
            )
            return
        yield _file(tree, name, entry.kind, root, limits)


def _file(tree: Tree, name: str, kind: EntryKind, root: str, limits: Limits) -> Parsed:
    try:
        if kind not in {EntryKind.FILE, EntryKind.EXECUTABLE}:
            what = (
                "a symbolic link is not followed" if kind is EntryKind.SYMLINK else f"this is a {kind.value}, no file"
            )
            raise BadInput(what, where=Where(file=name), advice="put the document itself here")
        size = tree.size(name)
        if size > limits.bytes:
            what = f"the file has {size} bytes, more than {limits.bytes}"
            raise BadInput(what, where=Where(file=name), advice="split the file, or move it out of the root's folder")
        data = tree.read(name)
        return parse(load_documents(data, file=name, limits=limits), root=root, file=name, data=data)
    except BadInput as error:
        return Parsed(problems=(DocumentProblem.of(error),))


def _merged(parts: list[Parsed]) -> Parsed:
    """All parts as one; documents that claim the same name are problems, and none of them counts."""
    applications = [template for part in parts for template in part.applications]
    projects = [project for part in parts for project in part.projects]
    problems = [problem for part in parts for problem in part.problems]
    by_name: dict[tuple[str, str], list[ApplicationTemplate]] = {}
    for template in applications:
        # What a generator fills in has no name yet: whether two come to the same one is seen when both are expanded.
        if template.for_each is None:
            by_name.setdefault((template.namespace, template.name), []).append(template)
    for same in by_name.values():
        if len(same) > 1:
            problems += _claimed(same)
    taken = {id(t) for same in by_name.values() if len(same) > 1 for t in same}
    kept = tuple(t for t in applications if id(t) not in taken)
    names = [project.name for project in projects]
    twice = {name for name in names if names.count(name) > 1}
    problems += [
        DocumentProblem(f"several documents declare the project {name!r}", Where(object=f"Project {name}"), "keep one")
        for name in sorted(twice)
    ]
    good: tuple[Project, ...] = tuple(project for project in projects if project.name not in twice)
    rules = tuple(rule for part in parts for rule in part.alert_rules)
    receivers = tuple(receiver for part in parts for receiver in part.alert_receivers)
    return Parsed(kept, good, tuple(problems), rules, receivers)


def _claimed(same: list[ApplicationTemplate]) -> Iterator[DocumentProblem]:
    for number, template in enumerate(same):
        other = (same[0] if number else same[1]).place
        line = template.place.locator.line(("metadata", "name"), document=template.place.index)
        where = Where(file=template.place.file, line=line, object=f"Application {template.name}", field="metadata.name")
        what = f"the name {template.name!r} is taken here and in {other.file}:{other.line}"
        yield DocumentProblem(what, where, "give each its own name or namespace")


def _hidden(name: str, folder: str) -> bool:
    below = name.removeprefix(folder).strip("/") if folder else name
    return any(part.startswith(".") for part in below.split("/"))
