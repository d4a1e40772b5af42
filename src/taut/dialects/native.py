"""One document of taut's at a time: where it stands, what it says in the model, and how the model is written as one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from taut.dialects.alerts import receiver_findings, rule_findings
from taut.dialects.check import check
from taut.dialects.kinds import (
    API_VERSION,
    AlertReceiverDocument,
    AlertRuleDocument,
    ApplicationDocument,
    Metadata,
    ProjectDocument,
)
from taut.dialects.problems import DocumentProblem, Finding, field_name
from taut.dialects.semantics import application_findings, project_findings
from taut.documents.yaml import Locator
from taut.model.alerts import AlertReceiver, AlertRule
from taut.model.application import Application, ForEach
from taut.model.errors import Where
from taut.model.project import Project
from taut.model.refs import AppKey


@dataclass(frozen=True, slots=True)
class Place:
    """Where a document stands, and how to find the lines inside it."""

    root: str
    file: str
    line: int
    index: int
    locator: Locator = field(repr=False, compare=False)

    def problem(self, finding: Finding, name: str = "") -> DocumentProblem:
        """The finding with its file, line, field and the document's name."""
        line = self.locator.line(finding.path, document=self.index) if finding.path else self.line
        where = Where(file=self.file, line=line, object=name, field=field_name(finding.path))
        return DocumentProblem(finding.what, where, finding.advice)


@dataclass(frozen=True, slots=True)
class ApplicationTemplate:
    """An Application document as it is written. With a `forEach` it stands for many (`taut.dialects.for_each.expand`)."""

    body: dict[str, Any]
    place: Place
    for_each: ForEach | None = None

    @property
    def name(self) -> str:
        """`metadata.name` as it is written, variables included."""
        return str(metadata_of(self.body).get("name", ""))

    @property
    def namespace(self) -> str:
        """`metadata.namespace` as it is written, empty when it is not."""
        return str(metadata_of(self.body).get("namespace") or "")


def read_application(
    body: dict[str, Any], place: Place
) -> tuple[Application, list[Finding]] | tuple[None, list[Finding]]:
    """The application that a document (without `forEach`) describes, or None and all that is wrong with it."""
    document, findings = check(body, ApplicationDocument)
    if document is None:
        return None, findings
    findings = application_findings(document.spec)
    key = AppKey(place.root, document.metadata.namespace, document.metadata.name)
    findings += _own_dependencies(key, document.spec.depends_on)
    if findings:
        return None, findings
    meta = document.metadata
    application = Application(
        key=key,
        spec=document.spec,
        labels=meta.labels,
        annotations=meta.annotations,
        origin_file=place.file,
        origin_line=place.line,
    )
    return application, []


def read_project(body: dict[str, Any], root: str) -> tuple[Project | None, list[Finding]]:
    """The project that a document describes, or None and all that is wrong with it."""
    document, findings = check(body, ProjectDocument)
    if document is None:
        return None, findings
    findings = project_findings(document.spec)
    return (None, findings) if findings else (Project(name=document.metadata.name, spec=document.spec, root=root), [])


def read_alert_rule(body: dict[str, Any], root: str) -> tuple[AlertRule | None, list[Finding]]:
    """The alert rule that a document describes, or None and all that is wrong with it."""
    document, findings = check(body, AlertRuleDocument)
    if document is None:
        return None, findings
    findings = [finding.under("spec") for finding in rule_findings(document.spec)]
    rule = AlertRule(name=document.metadata.name, spec=document.spec, root=root)
    return (None, findings) if findings else (rule, [])


def read_alert_receiver(body: dict[str, Any], root: str) -> tuple[AlertReceiver | None, list[Finding]]:
    """The receiver of alerts that a document describes, or None and all that is wrong with it."""
    document, findings = check(body, AlertReceiverDocument)
    if document is None:
        return None, findings
    findings = [finding.under("spec") for finding in receiver_findings(document.spec)]
    receiver = AlertReceiver(name=document.metadata.name, spec=document.spec, root=root)
    return (None, findings) if findings else (receiver, [])


def application_body(application: Application) -> dict[str, Any]:
    """The document that describes `application`, with defaults left out; `read_application` of it gives the same again."""
    key = application.key
    metadata = Metadata(
        name=key.name, namespace=key.namespace, labels=application.labels, annotations=application.annotations
    )
    document = ApplicationDocument(
        api_version=API_VERSION, kind="Application", metadata=metadata, spec=application.spec
    )
    return msgspec.to_builtins(document)


def project_body(project: Project) -> dict[str, Any]:
    """The document that describes `project`, with defaults left out."""
    metadata = Metadata(name=project.name)
    return msgspec.to_builtins(
        ProjectDocument(api_version=API_VERSION, kind="Project", metadata=metadata, spec=project.spec)
    )


def metadata_of(body: Any) -> dict[str, Any]:
    """The document's metadata, empty when it has none that is a mapping."""
    metadata = body.get("metadata") if isinstance(body, dict) else None
    return metadata if isinstance(metadata, dict) else {}


def _own_dependencies(key: AppKey, depends_on: tuple[str, ...]) -> Iterator[Finding]:
    own = {key.name} if not key.namespace else {f"{key.namespace}/{key.name}"}
    own |= {f"{key.root}/{key.namespace}/{key.name}"}
    for number, text in enumerate(depends_on):
        if text in own:
            yield Finding(("spec", "dependsOn", number), "the application depends on itself", "remove this line")
