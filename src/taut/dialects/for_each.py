"""`forEach`: one document, many applications. Pure: what a generator found comes in as data.

Variables are written `{{ folder.name }}` and replaced in every text of `metadata` and `spec`, nothing more: there are no expressions, and
what is no name (`{{ .Values.x }}`) is left to whom it is meant for. A text that is one variable and nothing else becomes the variable's value, so
that a number of a list stays a number.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from taut.dialects.globs import match_any_path
from taut.dialects.native import ApplicationTemplate, metadata_of, read_application
from taut.dialects.problems import DocumentProblem, Finding, Path, one_of
from taut.model.application import Application, Folders, ForEach
from taut.model.errors import Where
from taut.model.manifests import canonical

_VARIABLE = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_.-]*)\s*\}\}")
_SLUG = re.compile(r"[^a-z0-9]+")
_MOST = 10_000
_MOST_BYTES = 64 * 1024 * 1024
"""What all applications of one document may come to: a short list and a long document multiply."""
_SAMPLE_COMMIT = "0" * 40

type Variables = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Needs:
    """What a generator has to be told: the folders, or the branches, of a repository that match."""

    kind: str
    """`folders` or `branches`."""
    git: str
    ref: str | None
    include: tuple[str, ...]
    exclude: tuple[str, ...] = ()
    credentials: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """The answer to `Needs`: folders (paths) or branches (name → commit); `failed` says why there is none."""

    folders: Sequence[str] | None = None
    branches: Mapping[str, str] | None = None
    failed: str = ""


@dataclass(frozen=True, slots=True)
class Expansion:
    """The applications of one document.

    `complete` tells whether they are all that the document declares. When it is False (a generator failed or found nothing, an element is
    faulty), nothing that came from this document before may be deleted.
    """

    applications: tuple[Application, ...]
    problems: tuple[DocumentProblem, ...] = ()
    complete: bool = True


def generator_needs(template: ApplicationTemplate) -> Needs | None:
    """Which repository the template's generator looks into, and for what; None when it needs none (a list, or no forEach)."""
    each = template.for_each
    if each is None or each.list is not None:
        return None
    source = next((s for s in _raw_sources(template.body) if isinstance(s.get("git"), str)), {})
    git = each.git or source.get("git") or ""
    ref = each.ref or (source.get("ref") if not each.git or each.git == source.get("git") else None)
    if each.branches is not None:
        return Needs("branches", git, None, _texts(each.branches), credentials=source.get("credentials"))
    folders = each.folders if isinstance(each.folders, Folders) else Folders(include=_texts(each.folders or ()))
    return Needs("folders", git, ref, folders.include, folders.exclude, source.get("credentials"))


def match_folders(paths: Iterable[str], include: Sequence[str], exclude: Sequence[str] = ()) -> list[str]:
    """The folders that match an include pattern and no exclude pattern, sorted. `*` is one level, `**` any number of them.

    Patterns are those of .gitignore for folders: a closing `/` changes nothing, a leading one neither, `apps/**` is everything below `apps`. A
    folder below an excluded one is excluded too. The top of the repository never matches.
    """
    wanted, unwanted = [_folder_glob(p) for p in include], [_folder_glob(p) for p in exclude]
    found: set[str] = set()
    for path in map(_tidy, paths):
        if path and match_any_path(wanted, path) and not any(match_any_path(unwanted, p) for p in _upwards(path)):
            found.add(path)
    return sorted(found)


def match_branches(names: Iterable[str], patterns: Sequence[str]) -> list[str]:
    """The branches that match one of the patterns and none that begins with `!`, sorted. `*` ends at `/`, `**` does not."""
    include = [p for p in patterns if not p.startswith("!")] or ["**"]
    exclude = [p[1:] for p in patterns if p.startswith("!")]
    return sorted(n for n in names if match_any_path(include, n) and not match_any_path(exclude, n))


def expand(template: ApplicationTemplate, found: Found | None = None) -> Expansion:
    """The applications of a template, in the order of what its generator found.

    `found` answers `generator_needs`; it is not needed for a list, or without a forEach. Never raises: what is wrong is in the problems, and
    `complete` is False.
    """
    if template.for_each is None:
        return _expand_one(template)
    elements, why = _elements(template.for_each, found)
    why = why or _too_much(template.body, elements)
    if why:
        finding = Finding(
            ("spec", "forEach"), why, "nothing is deleted because of this; look at the repository and the patterns"
        )
        return Expansion((), (template.place.problem(finding, f"Application {template.name}"),), complete=False)
    return _expand_all(template, elements)


def without_duplicates(
    applications: Iterable[Application],
) -> tuple[tuple[Application, ...], tuple[DocumentProblem, ...]]:
    """The applications whose name is theirs alone, and a problem for every name that several documents claim: then none has it."""
    by_key: dict[Any, list[Application]] = {}
    for application in applications:
        by_key.setdefault(application.key, []).append(application)
    problems = [_claimed(same) for same in by_key.values() if len(same) > 1]
    return tuple(same[0] for same in by_key.values() if len(same) == 1), tuple(p for group in problems for p in group)


def template_findings(template: ApplicationTemplate) -> list[Finding]:
    """What is wrong in a template whatever its generator finds: unknown variables, a name without one, a spec that no value makes good."""
    each = template.for_each
    assert each is not None  # noqa: S101 - only templates with a forEach come here
    elements = list(_samples(each))
    findings: list[Finding] = []
    needs = generator_needs(template)
    if needs is not None and (not needs.git or _VARIABLE.search(needs.git) or _VARIABLE.search(needs.ref or "")):
        what = "it is not known in which repository to look"
        findings.append(
            Finding(("spec", "forEach"), what, "add git (and ref) to forEach: the source's holds a variable")
        )
    if not elements:
        return [Finding(("spec", "forEach", "list"), "the list is empty", "add elements, or remove the document")]
    if _too_much(template.body, elements):
        return [Finding(("spec", "forEach"), _too_much(template.body, elements), "write several documents")]
    if (needs is not None or len(elements) > 1) and not _name_varies(template.body):
        advice = f"write a variable in it, such as {{{{ {next(iter(elements[0]))} }}}}"
        findings.append(Finding(("metadata", "name"), "every element would get the same name", advice))
    for variables in elements:
        body, unknown = substitute(template.body, variables)
        faults = unknown or read_application(body, template.place)[1]
        findings += [fault for fault in faults if fault not in findings]
    return findings


def substitute(body: dict[str, Any], variables: Variables) -> tuple[dict[str, Any], list[Finding]]:
    """The document with all variables replaced and without its forEach, and the variables that there are none of."""
    findings: list[Finding] = []
    result: dict[str, Any] = dict(body)
    for part in ("metadata", "spec"):
        value = body.get(part)
        if isinstance(value, dict):
            value = {key: item for key, item in value.items() if part != "spec" or key != "forEach"}
            result[part] = _replace(value, (part,), variables, findings)
    return result, findings


def _expand_one(template: ApplicationTemplate) -> Expansion:
    application, findings = read_application(template.body, template.place)
    if application:
        return Expansion((application,))
    return Expansion(
        (), tuple(template.place.problem(f, f"Application {template.name}") for f in findings), complete=False
    )


def _expand_all(template: ApplicationTemplate, elements: list[Variables]) -> Expansion:
    applications: list[Application] = []
    problems: list[DocumentProblem] = []
    for variables in elements:
        body, findings = substitute(template.body, variables)
        application = None
        if not findings:
            application, findings = read_application(body, template.place)
        if application:
            applications.append(application)
        else:
            title = f"Application {metadata_of(body).get('name', template.name)}, for {_shown(variables)}"
            problems += [template.place.problem(finding, title) for finding in findings]
    unique, claimed = without_duplicates(applications)
    return Expansion(unique, (*problems, *claimed), complete=not problems and not claimed)


def _elements(each: ForEach, found: Found | None) -> tuple[list[Variables], str]:
    """The variables of every element, or why there are none."""
    if each.list is not None:
        return [_of_list(element) for element in each.list], "" if each.list else "the list is empty"
    kind = "folders" if each.folders is not None else "branches"
    if found is None or found.failed:
        return [], f"the {kind} could not be listed: {found.failed if found else 'the repository was not asked'}"
    if kind == "folders":
        elements = [_of_folder(path) for path in found.folders or ()]
    else:
        elements = [_of_branch(name, commit) for name, commit in (found.branches or {}).items()]
    return elements, "" if elements else f"no {'folder' if kind == 'folders' else 'branch'} matches"


def _too_much(body: dict[str, Any], elements: list[Variables]) -> str:
    """Why the elements are more than one document may stand for; empty when they are not. Counted before anything grows."""
    if len(elements) > _MOST:
        return f"there are {len(elements)} elements, more than {_MOST}"
    text = canonical(body)
    longest = max((len(str(value)) for variables in elements for value in variables.values()), default=0)
    size = len(elements) * (len(text) + text.count(b"{{") * longest)
    return (
        f"the applications would come to {size >> 20} MiB, more than {_MOST_BYTES >> 20}" if size > _MOST_BYTES else ""
    )


def _samples(each: ForEach) -> Iterator[Variables]:
    if each.list is not None:
        yield from (_of_list(element) for element in each.list)
    elif each.folders is not None:
        yield _of_folder("sample")
    else:
        yield _of_branch("sample", _SAMPLE_COMMIT)


def _of_folder(path: str) -> Variables:
    path = _tidy(path)
    return {"folder.name": path.rpartition("/")[2], "folder.path": path}


def _of_branch(name: str, commit: str) -> Variables:
    return {
        "branch.name": name,
        "branch.slug": _SLUG.sub("-", name.lower()).strip("-")[:50].rstrip("-"),
        "branch.commit": commit,
    }


def _of_list(element: Mapping[str, Any]) -> Variables:
    flat = dict(_flattened(element))
    return {**flat, "element": dict(element), **{f"element.{name}": value for name, value in flat.items()}}


def _flattened(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, item in value.items():
        yield prefix + key, item
        if isinstance(item, Mapping):
            yield from _flattened(item, f"{prefix}{key}.")


def _replace(value: Any, path: Path, variables: Variables, findings: list[Finding]) -> Any:
    if isinstance(value, dict):
        return {key: _replace(item, (*path, key), variables, findings) for key, item in value.items()}
    if isinstance(value, list):
        return [_replace(item, (*path, n), variables, findings) for n, item in enumerate(value)]
    return _replace_text(value, path, variables, findings) if isinstance(value, str) and "{{" in value else value


def _replace_text(text: str, path: Path, variables: Variables, findings: list[Finding]) -> Any:
    whole = _VARIABLE.fullmatch(text)
    if whole and whole[1] in variables:
        return variables[whole[1]]

    def put(found: re.Match[str]) -> str:
        name = found[1]
        if name not in variables:
            findings.append(Finding(path, f"there is no variable {name!r}", one_of(name, variables)))
            return found[0]
        value = variables[name]
        if isinstance(value, dict | list) or value is None:
            findings.append(
                Finding(path, f"the variable {name!r} is no text", "let it stand alone, or name a key of it")
            )
            return found[0]
        return ("true" if value else "false") if isinstance(value, bool) else str(value)

    return _VARIABLE.sub(put, text)


def _claimed(same: list[Application]) -> Iterator[DocumentProblem]:
    for number, application in enumerate(same):
        other = same[0] if number else same[1]
        place = f"{other.origin_file}:{other.origin_line}"
        where = Where(
            file=application.origin_file,
            line=application.origin_line,
            object=f"Application {application.key.name}",
            field="metadata.name",
        )
        both = "by this document twice" if place == f"{where.file}:{where.line}" else f"here and in {place}"
        yield DocumentProblem(
            f"the name {application.key.name!r} is taken {both}", where, "give each its own name or namespace"
        )
        if both.startswith("by this"):
            return


def _name_varies(body: dict[str, Any]) -> bool:
    metadata = metadata_of(body)
    values = (metadata.get("name"), metadata.get("namespace"))
    return any(isinstance(value, str) and _VARIABLE.search(value) for value in values)


def _shown(variables: Variables) -> str:
    name, value = next(iter(variables.items()), ("", ""))
    return f"{name} {value}" if not isinstance(value, dict | list) else name


def _raw_sources(body: dict[str, Any]) -> list[dict[str, Any]]:
    spec = body.get("spec")
    if not isinstance(spec, dict):
        return []
    several = spec.get("sources")
    found = [spec.get("source"), *(several if isinstance(several, list) else [])]
    return [source for source in found if isinstance(source, dict)]


def _texts(value: str | tuple[str, ...] | Folders) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value if isinstance(value, tuple) else value.include


def _tidy(path: str) -> str:
    path = path.removeprefix("./").strip("/")
    return "" if path == "." else path


def _folder_glob(pattern: str) -> str:
    """`apps/**` is what is below `apps`, not `apps` itself."""
    pattern = _tidy(pattern)
    return pattern + "/*" if pattern.endswith("/**") else pattern


def _upwards(path: str) -> Iterator[str]:
    while path:
        yield path
        path = path.rpartition("/")[0]
