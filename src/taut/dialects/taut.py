"""taut's own documents (`taut.dev/v1`): documents come in, applications, projects, alert rules and problems go out. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from taut.dialects.check import check
from taut.dialects.for_each import template_findings
from taut.dialects.kinds import API_GROUP, API_VERSION, DOCUMENTS, WAIVER
from taut.dialects.native import (
    ApplicationTemplate,
    Place,
    metadata_of,
    read_alert_receiver,
    read_alert_rule,
    read_application,
    read_project,
)
from taut.dialects.problems import DocumentProblem, Finding, one_of
from taut.dialects.semantics import for_each_findings
from taut.documents.yaml import Document, Locator, repeated_key
from taut.model.alerts import AlertReceiver, AlertRule
from taut.model.application import ForEach
from taut.model.errors import Where
from taut.model.project import Project

MOST_PROBLEMS = 100
"""A file tells of this many problems at most: nobody reads more, and a hostile file has no end of them."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """What documents hold. `doubtful` are the files with problems: what came from them before is not known to be gone."""

    applications: tuple[ApplicationTemplate, ...] = ()
    projects: tuple[Project, ...] = ()
    problems: tuple[DocumentProblem, ...] = ()
    alert_rules: tuple[AlertRule, ...] = ()
    alert_receivers: tuple[AlertReceiver, ...] = ()

    @property
    def doubtful(self) -> frozenset[str]:
        """The files with problems. An application that came from one of them must not be taken for removed."""
        return frozenset(problem.where.file for problem in self.problems)


def parse(documents: Iterable[Document], *, root: str, file: str, data: bytes) -> Parsed:
    """Read the documents of one file. Never raises: each fault is a problem with its line, and hides no other document.

    `file` is the name to show, relative to the repository; `data` is the file itself, to find lines in.
    """
    locator = Locator(data)
    applications: list[ApplicationTemplate] = []
    projects: list[Project] = []
    rules: list[AlertRule] = []
    receivers: list[AlertReceiver] = []
    problems: list[DocumentProblem] = []
    found = list(documents)
    twice = repeated_key(data)
    if twice is not None:
        key, line = twice
        problems.append(
            DocumentProblem("it is written twice", Where(file=file, line=line, field=key), "keep one of them")
        )
        found = _without(found, line)
    for document in found:
        place = Place(root, file, document.line, document.index, locator)
        findings = list(_header(document.body))
        if not findings and document.body["kind"] == "Project":
            project, findings = read_project(document.body, root)
            projects += [project] if project else []
        elif not findings and document.body["kind"] == "AlertRule":
            rule, findings = read_alert_rule(document.body, root)
            rules += [rule] if rule else []
        elif not findings and document.body["kind"] == "AlertReceiver":
            receiver, findings = read_alert_receiver(document.body, root)
            receivers += [receiver] if receiver else []
        elif not findings:
            template, findings = _template(document.body, place)
            applications += [template] if template else []
        problems += (
            place.problem(finding, _title(document.body)) for finding in findings[: MOST_PROBLEMS - len(problems)]
        )
    return Parsed(tuple(applications), tuple(projects), tuple(problems), tuple(rules), tuple(receivers))


def _without(documents: list[Document], line: int) -> list[Document]:
    """All but the document that this line is in: which of its two values is meant, nobody knows."""
    before = [d for d in documents if d.line <= line]
    return [d for d in documents if not before or d is not before[-1]]


def _header(body: Any) -> Iterator[Finding]:
    """Whether this is a document of taut's at all; what it is instead, else."""
    if not isinstance(body, dict):
        yield Finding((), "this is no document: apiVersion and kind are missing", "move it out of the root's folder")
        return
    version, kind = body.get("apiVersion"), body.get("kind")
    known = isinstance(kind, str) and kind in DOCUMENTS
    ours = isinstance(version, str) and version.partition("/")[0] == API_GROUP
    if ours and version != API_VERSION:
        yield Finding(("apiVersion",), f"there is no {version}", f"write apiVersion: {API_VERSION}")
    elif ours and kind == WAIVER:
        yield Finding(
            ("kind",), "a waiver counts beside the policies, not in a root", "move it to a folder of policies"
        )
    elif ours and not known:
        yield Finding(("kind",), f"taut has no kind {kind!r}", one_of(str(kind), DOCUMENTS))
    elif not ours and known and (version is None or not isinstance(version, str) or "/" not in version):
        yield Finding(("apiVersion",), f"apiVersion is {version!r}", f"write apiVersion: {API_VERSION}")
    elif not ours:
        what = f"a {kind} ({version}) is none of taut's documents" if kind else "apiVersion and kind are missing"
        advice = "a root's folder holds documents of apiVersion taut.dev/v1 only; move this where an application's source.path points"
        yield Finding((), what, advice)


def _template(body: dict[str, Any], place: Place) -> tuple[ApplicationTemplate | None, list[Finding]]:
    spec = body.get("spec")
    raw = spec.get("forEach") if isinstance(spec, dict) else None
    if raw is None:
        application, findings = read_application(body, place)
        return (ApplicationTemplate(body, place) if application else None), findings
    each, findings = check(raw, ForEach)
    findings = findings or list(for_each_findings(each)) if each else findings
    findings = [finding.under("spec", "forEach") for finding in findings]
    if each is None or findings:
        return None, findings
    template = ApplicationTemplate(body, place, each)
    findings = template_findings(template)
    return (None, findings) if findings else (template, [])


def _title(body: Any) -> str:
    name = metadata_of(body).get("name")
    kind = body.get("kind") if isinstance(body, dict) else None
    return f"{kind} {name}" if isinstance(name, str) and isinstance(kind, str) else ""
