"""The kinds of taut's own documents, as structs: the checker, the schemas and the reference all read them from here."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from taut.model.alerts import AlertReceiverSpec, AlertRuleSpec
from taut.model.application import ApplicationSpec, Spec
from taut.model.project import ProjectSpec

API_GROUP = "taut.dev"
API_VERSION = "taut.dev/v1"
WAIVER = "PolicyWaiver"
"""A kind that is kept beside policies, and read with them."""

DNS_NAME = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$(?!\n)"
"""A DNS-1123 subdomain, as Kubernetes asks for names. (`$` alone would let a line break follow.)"""
DNS_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$(?!\n)"
"""A DNS-1123 label, as Kubernetes asks for namespaces."""

PlainName = Annotated[str, Meta(min_length=1, max_length=63, pattern=DNS_LABEL)]
DocumentName = Annotated[str, Meta(min_length=1, max_length=253, pattern=DNS_NAME)]
Namespace = Annotated[str, Meta(max_length=63, pattern=r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$(?!\n)")]


class Metadata(Spec, frozen=True):
    """What a document is called. Together with its root, namespace and name identify an application."""

    name: DocumentName
    """Lower-case letters, digits, `-` and `.` (a DNS-1123 subdomain)."""
    namespace: Namespace = ""
    """Tells applications of one root apart that have the same name. It is not where the objects go: that is `spec.target.namespace`."""
    labels: dict[str, str] = field(default_factory=dict)
    """Shown, and used to select applications."""
    annotations: dict[str, str] = field(default_factory=dict)
    """Anything else that people or tools note on the document."""


class ApplicationDocument(Spec, frozen=True):
    """One application, or with `forEach` many: what to take from where, how to render it, where to run it, and how to keep it so."""

    api_version: Literal["taut.dev/v1"]
    """Always `taut.dev/v1`."""
    kind: Literal["Application"]
    """Always `Application`."""
    metadata: Metadata
    """What it is called."""
    spec: ApplicationSpec
    """What it says."""


class ProjectDocument(Spec, frozen=True):
    """What applications of a project may use: repositories, clusters, namespaces, kinds, and as whom they write."""

    api_version: Literal["taut.dev/v1"]
    """Always `taut.dev/v1`."""
    kind: Literal["Project"]
    """Always `Project`."""
    metadata: Metadata
    """What it is called; the namespace is not used."""
    spec: ProjectSpec = ProjectSpec()
    """What it allows."""


class AlertRuleDocument(Spec, frozen=True):
    """Who is told when something happens to applications. Of a root without `alerts: true` it is about that root's own applications."""

    api_version: Literal["taut.dev/v1"]
    """Always `taut.dev/v1`."""
    kind: Literal["AlertRule"]
    """Always `AlertRule`."""
    metadata: Metadata
    """What it is called; the namespace is not used."""
    spec: AlertRuleSpec
    """What it says."""


class AlertReceiverDocument(Spec, frozen=True):
    """Somebody who is told. Its secrets are files that taut's configuration names; they never stand in a document."""

    api_version: Literal["taut.dev/v1"]
    """Always `taut.dev/v1`."""
    kind: Literal["AlertReceiver"]
    """Always `AlertReceiver`."""
    metadata: Metadata
    """What it is called; the namespace is not used."""
    spec: AlertReceiverSpec
    """What it says."""


DOCUMENTS: dict[str, type[ApplicationDocument | ProjectDocument | AlertRuleDocument | AlertReceiverDocument]] = {
    "Application": ApplicationDocument,
    "Project": ProjectDocument,
    "AlertRule": AlertRuleDocument,
    "AlertReceiver": AlertReceiverDocument,
}
