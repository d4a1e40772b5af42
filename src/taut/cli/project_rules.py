"""What of a working copy its projects forbid, as verdicts beside those of policies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from taut.dialects.projects import Violation, check_application, check_manifests
from taut.dialects.working_copy import Projects
from taut.model.application import Application
from taut.model.manifests import Manifest
from taut.model.project import Project
from taut.model.verdict import Outcome, Subject, Verdict
from taut.policy.plurals import CLUSTER_SCOPED, KINDS
from taut.policy.waiving import PROJECT

_KUBERNETES = frozenset(kind for kinds in KINDS.values() for kind in kinds.split())


def outside(
    projects: Projects, objects: Sequence[tuple[Application, Manifest]], applications: Iterable[Application] = ()
) -> Iterator[tuple[Verdict, str]]:
    """What the projects of applications forbid of their documents and objects, each with `file:line`.

    `applications` are those that render to nothing here. Projects that are declared elsewhere are not judged by.
    """
    by_app: dict[str, tuple[Application, list[Manifest]]] = {str(a.key): (a, []) for a in applications}
    for app, manifest in objects:
        by_app.setdefault(str(app.key), (app, []))[1].append(manifest)
    scopes = _scopes(m for _, m in objects)
    for app, manifests in by_app.values():
        project = projects.of(app)
        if project is None:
            continue
        own = f"{app.origin_file}:{app.origin_line or 1}"
        about = Subject("taut.dev/v1", "Application", "", app.key.name)
        if isinstance(project, Violation):
            yield _verdict(project, about), own
            continue
        for violation in check_application(project, app):
            yield _verdict(violation, about), own
        for manifest in manifests:
            for violation in _violations(project, app, manifest, _scope(manifest, scopes)):
                yield _verdict(violation, _subject(manifest, app)), _place(manifest, own)


def _scopes(manifests: Iterable[Manifest]) -> dict[tuple[str, str], bool]:
    """Group and kind → whether it lives in namespaces, of the custom kinds that are defined among objects."""
    found: dict[tuple[str, str], bool] = {}
    for manifest in manifests:
        spec = manifest.body.get("spec")
        names = spec.get("names") if manifest.kind == "CustomResourceDefinition" and isinstance(spec, dict) else None
        if isinstance(spec, dict) and isinstance(names, dict):
            found[str(spec.get("group")), str(names.get("kind"))] = spec.get("scope") != "Cluster"
    return found


def _scope(manifest: Manifest, scopes: Mapping[tuple[str, str], bool]) -> bool | None:
    """Whether an object lives in a namespace. None: neither its kind is known nor does it say."""
    if (manifest.group, manifest.kind) in scopes:
        return scopes[manifest.group, manifest.kind]
    if manifest.kind in CLUSTER_SCOPED:
        return False
    return True if manifest.kind in _KUBERNETES or manifest.namespace else None


def _violations(project: Project, app: Application, manifest: Manifest, namespaced: bool | None) -> list[Violation]:
    """What the project forbids of an object; where its scope is not known, only what it would forbid in either."""
    if namespaced is not None:
        return check_manifests(project, app, [(manifest, namespaced)])
    inside, outside = (check_manifests(project, app, [(manifest, scope)]) for scope in (True, False))
    return inside if outside else []


def _subject(manifest: Manifest, app: Application) -> Subject:
    namespace = "" if manifest.kind in CLUSTER_SCOPED else manifest.namespace or app.spec.target.namespace or ""
    return Subject(manifest.api_version, manifest.kind, namespace, manifest.name)


def _place(manifest: Manifest, own: str) -> str:
    origin = manifest.origin
    return f"{origin.file}:{origin.line or 1}" if origin.file else own


def _verdict(violation: Violation, subject: Subject) -> Verdict:
    message = f"{violation.what}; {violation.advice}" if violation.advice else violation.what
    return Verdict(PROJECT, "", "taut", subject, Outcome.FAIL, message, path=violation.where.field)
