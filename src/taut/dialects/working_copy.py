"""Checks a working copy: every YAML and JSON file in it, whatever it is for. Reads files, writes nothing, asks nobody."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from taut.dialects.config import Config, read_config
from taut.dialects.for_each import Found, expand, generator_needs, match_folders, without_duplicates
from taut.dialects.kinds import API_GROUP, WAIVER
from taut.dialects.native import ApplicationTemplate
from taut.dialects.problems import DocumentProblem
from taut.dialects.projects import DEFAULT_PROJECT, Violation, project_of, usable_projects
from taut.dialects.taut import Parsed, parse
from taut.documents.yaml import Document, Limits, load_documents
from taut.model.application import Application
from taut.model.errors import BadInput, Where
from taut.model.manifests import Body
from taut.model.project import Project

ENDINGS = (".yaml", ".yml", ".json")
SKIPPED = frozenset({".git", ".hg", ".svn", "node_modules", ".venv", "__pycache__"})
CONFIG_NAMES = frozenset({"taut.yaml", "taut.yml"})
_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Projects:
    """The projects that a working copy declares, by name. `allowed`: root → the projects that it may use (globs), where a configuration is here (`whole`)."""

    named: Mapping[str, Project] = field(default_factory=dict[str, Project])
    allowed: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    whole: bool = False

    def of(self, app: Application) -> Project | Violation | None:
        """The project of an application, or why it has none; None where it is declared elsewhere, so that nothing can be told."""
        if not self.whole and app.spec.project not in self.named:
            return None
        return project_of(app, dict(self.named), self.allowed.get(app.key.root, ("*",)))


@dataclass(frozen=True, slots=True)
class Report:
    """What a check found. `applications` are those of the working copy, expanded over its own folders where that is possible."""

    files: int
    documents: int
    applications: tuple[Application, ...] = ()
    problems: tuple[DocumentProblem, ...] = ()
    projects: Projects = Projects()
    waivers: tuple[tuple[Body, str, int], ...] = ()
    """Waivers of policies, with their files and lines: who reads policies reads them."""

    @property
    def good(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def check_folder(path: Path) -> Report:
    """Check a folder, or one file. Never raises for what the files hold; problems are in the order of the files.

    Documents of taut's are checked whole. Others have to be good YAML, as kubectl reads it; files of charts' templates are no YAML and are
    left out, and so are hidden folders.
    """
    base = path if path.is_dir() else path.parent
    files = list(_files(base)) if path.is_dir() else [path]
    config = _config(base)
    roots = {root.path.strip("./"): root.name for root in config.roots} if config else {}
    problems: list[DocumentProblem] = []
    templates: list[ApplicationTemplate] = []
    declared: list[Project] = []
    waivers: list[tuple[Body, str, int]] = []
    documents = 0
    for file in files:
        found, count, beside = _check_file(file, file.relative_to(base).as_posix(), roots)
        templates += found.applications
        declared += found.projects
        documents += count
        waivers += beside
        problems += found.problems
    applications, faults = _expanded(templates, _folders(base) if path.is_dir() else [])
    projects, more = _projects(config, declared)
    return Report(
        len(files),
        documents,
        applications,
        tuple(sorted([*problems, *faults, *more], key=_order)),
        projects,
        tuple(waivers),
    )


def _config(base: Path) -> Config | None:
    """The configuration of taut in a working copy, if there is one that can be read."""
    for name in sorted(CONFIG_NAMES):
        if (base / name).is_file():
            try:
                return read_config(_read(base / name, name), name)[0]
            except BadInput:
                return None
    return None


def _projects(config: Config | None, declared: list[Project]) -> tuple[Projects, list[DocumentProblem]]:
    """The projects that count. Without a configuration nobody knows which roots may declare any, and all are believed."""
    if config is None:
        named, problems = usable_projects((), declared, {project.root for project in declared})
        if not any(project.name == DEFAULT_PROJECT for project in declared):
            named.pop(DEFAULT_PROJECT, None)
        return Projects(named), problems
    trusted = {root.name for root in config.roots if root.projects}
    named, problems = usable_projects(config.configured_projects(), declared, trusted)
    return Projects(named, {root.name: root.allowed_projects for root in config.roots}, whole=True), problems


def _root_of(name: str, roots: dict[str, str]) -> str:
    """The root that a file belongs to, the innermost; without a configuration each folder is taken for one."""
    folder = name.rpartition("/")[0]
    parents = [folder, *(folder[:at] for at in range(len(folder) - 1, -1, -1) if folder[at] == "/"), ""]
    return next((roots[parent] for parent in parents if parent in roots), folder or ".")


def _check_file(file: Path, name: str, roots: dict[str, str]) -> tuple[Parsed, int, list[tuple[Body, str, int]]]:
    """What a file declares and what is wrong with it, how many documents it holds, and waivers among them."""
    try:
        data = _read(file, name)
        if file.name in CONFIG_NAMES and not _is_document(data, name):
            return Parsed(problems=tuple(read_config(data, name)[1])), 1, []
        documents = load_documents(data, file=name, limits=_LIMITS)
    except BadInput as error:
        return Parsed(problems=(DocumentProblem.of(error),)), 0, []
    ours = [document for document in documents if _ours(document)]
    waivers = [d for d in ours if isinstance(d.body, dict) and d.body.get("kind") == WAIVER]
    ours = [d for d in ours if d not in waivers]
    parsed = parse(ours, root=_root_of(name, roots), file=name, data=data) if ours else Parsed()
    return parsed, len(documents), [(d.body, name, d.line) for d in waivers]


def _is_document(data: bytes, name: str) -> bool:
    """Whether a file that is called like a configuration holds documents all the same."""
    return any(isinstance(d.body, dict) and "kind" in d.body for d in load_documents(data, file=name, limits=_LIMITS))


def _read(file: Path, name: str) -> bytes:
    try:
        size = file.stat().st_size
        if size > _LIMITS.bytes:
            what = f"the file has {size} bytes, more than {_LIMITS.bytes}"
            raise BadInput(what, where=Where(file=name), advice="split the file")
        return file.read_bytes()
    except OSError as error:
        raise BadInput(f"the file cannot be read: {error.strerror or error}", where=Where(file=name)) from None


def _ours(document: Document) -> bool:
    body: Any = document.body
    version = body.get("apiVersion") if isinstance(body, dict) else None
    return isinstance(version, str) and version.partition("/")[0] == API_GROUP


def _expanded(
    templates: Iterable[ApplicationTemplate], folders: list[str]
) -> tuple[tuple[Application, ...], list[DocumentProblem]]:
    """The applications, with folders looked for in the working copy itself: most generators look into their own repository.

    When nothing matches there the generator looks elsewhere, which is no fault here; branches are not known here at all.
    """
    applications: list[Application] = []
    problems: list[DocumentProblem] = []
    for template in templates:
        needs = generator_needs(template)
        if needs is None:
            expansion = expand(template)
        else:
            matching = match_folders(folders, needs.include, needs.exclude) if needs.kind == "folders" else []
            if not matching:
                continue
            expansion = expand(template, Found(folders=matching))
        applications += expansion.applications
        problems += expansion.problems
    unique, claimed = without_duplicates(applications)
    return unique, [*problems, *claimed]


def _files(base: Path) -> Iterator[Path]:
    for folder, names, files in os.walk(base):
        names[:] = sorted(n for n in names if n not in SKIPPED and not n.startswith("."))
        here = Path(folder)
        if here.name == "templates" and (here.parent / "Chart.yaml").exists():
            names.clear()
            continue
        for name in sorted(files):
            if name.endswith(ENDINGS) and not name.startswith(".") and not (here / name).is_symlink():
                yield here / name


def _folders(base: Path) -> list[str]:
    found: list[str] = []
    for folder, names, _ in os.walk(base):
        names[:] = sorted(n for n in names if n not in SKIPPED and not n.startswith("."))
        found += [PurePosixPath((Path(folder) / n).relative_to(base)).as_posix() for n in names]
    return found


def _order(problem: DocumentProblem) -> tuple[str, int]:
    return problem.where.file, problem.where.line
