"""What a schema cannot say: fields that exclude or need each other, names that must exist, texts with a grammar of their own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import jq

from taut.dialects.cron import cron_fault, zone_fault
from taut.dialects.globs import fault as glob_fault
from taut.dialects.kinds import DNS_LABEL, DNS_NAME
from taut.dialects.problems import Finding, one_of
from taut.model.application import (
    ApplicationSpec,
    ForEach,
    HelmOptions,
    IgnoreRule,
    Renderer,
    Source,
    SyncWindow,
    ValuesFrom,
)
from taut.model.durations import seconds
from taut.model.project import ProjectSpec

_GIT_URL = re.compile(
    r"(?:https?|ssh)://(?:[^/@\s]*@)?[^-/@\s][^/@\s]*/\S+|file:///\S*|(?!-)(?:[^/@:\s]+@)?[^-/@:\s][^/@:\s]*:(?!//|:)\S+"
)
_PASSWORD = re.compile(r"^([a-z+]+://[^/@:]*):[^/@]*@", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SOURCE_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?")
_REFERENCE = re.compile(r"\$([^/]+)(/.*)?")
_DEPENDENCY = re.compile(r"(?:[^/\s]+/)?(?:[^/\s]+/)?[^/\s]+|[^/\s]+//[^/\s]+")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ACCOUNT = re.compile(r"(?:[a-z0-9{}]([-a-z0-9{}]*[a-z0-9{}])?:)?[a-z0-9{}]([-a-z0-9.{}]*[a-z0-9{}])?")


def application_findings(spec: ApplicationSpec) -> list[Finding]:
    """Everything that is wrong in an application's spec and that its schema cannot tell. `forEach` is looked at, not expanded."""
    found = [*_sources(spec), *_sync(spec), *_target(spec)]
    for number, text in enumerate(spec.depends_on):
        if not _DEPENDENCY.fullmatch(text):
            advice = "write name, namespace/name, root/namespace/name or root//name"
            found.append(Finding(("dependsOn", number), f"{text!r} names no application", advice))
    for number, rule in enumerate(spec.ignore):
        found += [finding.under("ignore", number) for finding in _ignore(rule)]
    if spec.substitute:
        found += [
            Finding(("substitute", "vars", name), f"{name!r} is no variable name", "use letters, digits and _")
            for name in spec.substitute.vars
            if not _VARIABLE.fullmatch(name)
        ]
        found += _values_from(spec.substitute.vars_from, "substitute", "varsFrom")
    return [finding.under("spec") for finding in found]


def project_findings(spec: ProjectSpec) -> list[Finding]:
    """Everything that is wrong in a project's spec and that its schema cannot tell."""
    found: list[Finding] = []
    globs: list[tuple[tuple[str | int, ...], str]] = [(("repositories", n), r) for n, r in enumerate(spec.repositories)]
    for n, rule in enumerate(spec.destinations):
        globs += [(("destinations", n, "cluster"), rule.cluster), (("destinations", n, "namespace"), rule.namespace)]
    for n, rule in enumerate(spec.service_accounts):
        globs += [
            (("serviceAccounts", n, "cluster"), rule.cluster),
            (("serviceAccounts", n, "namespace"), rule.namespace),
        ]
        found += _account(rule.service_account, "serviceAccounts", n, "serviceAccount")
    kinds = {
        "clusterKinds": spec.cluster_kinds,
        "deniedClusterKinds": spec.denied_cluster_kinds,
        "namespacedKinds": spec.namespaced_kinds,
        "deniedNamespacedKinds": spec.denied_namespaced_kinds,
    }
    for name, rules in kinds.items():
        for n, rule in enumerate(rules):
            globs += [((name, n, "kind"), rule.kind), *([((name, n, "group"), rule.group)] if rule.group else [])]
    for path, pattern in globs:
        found += _glob(pattern.removeprefix("!"), *path)
    found += _signatures(spec)
    for number, window in enumerate(spec.windows):
        found += [finding.under("windows", number) for finding in _window(window)]
    return [finding.under("spec") for finding in found]


def git_url_fault(url: str) -> str:
    """Why `url` is no address of a Git repository that may stand in a file; empty when it is one. Never tells a password."""
    if _PASSWORD.match(url):
        return "a password stands in the URL"
    return "" if _GIT_URL.fullmatch(url) else f"{url!r} is no repository's URL"


def git_url_advice(url: str) -> str:
    """What to do about a fault of `git_url_fault`."""
    if _PASSWORD.match(url):
        return "remove it, change it, and let credentials in taut's configuration name the file that holds it"
    return (
        "use oci for an OCI registry"
        if url.startswith("oci://")
        else "write https://…, ssh://…, file://… or git@host:path"
    )


def for_each_findings(each: ForEach) -> Iterator[Finding]:
    """What is wrong in a `forEach`: not exactly one generator, an empty one, globs that are none."""
    generators = [name for name in ("folders", "branches", "list") if getattr(each, name) is not None]
    if len(generators) != 1:
        what = "there is no generator" if not generators else f"{' and '.join(generators)} exclude each other"
        yield Finding((), what, "write exactly one of folders, branches, list")
    if each.list is not None and (each.git or each.ref):
        yield Finding(("git" if each.git else "ref",), "a list is not looked for in a repository", "remove it")
    patterns: Iterable[str] = ()
    for name in ("folders", "branches"):
        value = getattr(each, name)
        if value is not None:
            patterns = (
                (value,)
                if isinstance(value, str)
                else value
                if isinstance(value, tuple)
                else (*value.include, *value.exclude)
            )
            if not patterns:
                yield Finding((name,), "there is no pattern", "write a glob, such as apps/*")
            for pattern in patterns:
                yield from _glob(pattern, name)
    if each.git is not None and not _GIT_URL.fullmatch(each.git):
        yield Finding(
            ("git",), f"{each.git!r} is no repository's URL", "write https://…, ssh://…, file://… or git@host:path"
        )


def _sources(spec: ApplicationSpec) -> Iterator[Finding]:
    if spec.source and spec.sources:
        yield Finding(("sources",), "source and sources exclude each other", "keep one of them")
    if not spec.all_sources:
        yield Finding((), "there is no source", "add source, or sources")
    names = {source.name: source for source in spec.all_sources if source.name}
    seen: set[str] = set()
    for number, source in enumerate(spec.all_sources):
        path: tuple[str | int, ...] = (
            ("source",) if spec.source and number == 0 else ("sources", number - bool(spec.source))
        )
        yield from (finding.under(*path) for finding in _source(source))
        yield from (finding.under(*path, "helmOptions") for finding in _references(source, names))
        if source.name and source.name in seen:
            yield Finding((*path, "name"), f"two sources are called {source.name!r}", "give each its own name")
        seen.add(source.name or "")
    if spec.all_sources and all(source.files_only for source in spec.all_sources):
        yield Finding((), "nothing is rendered: every source is filesOnly", "remove filesOnly from one of them")


def _source(source: Source) -> Iterator[Finding]:
    kinds = [kind for kind in ("git", "helm", "oci") if getattr(source, kind) is not None]
    if len(kinds) != 1:
        what = "it is not said where this comes from" if not kinds else f"{' and '.join(kinds)} exclude each other"
        yield Finding((), what, "write exactly one of git, helm, oci")
        return
    yield from _address(source, kinds[0])
    yield from _revision(source, kinds[0])
    for field in ("ref", "path", "chart", "version"):
        text = getattr(source, field) or ""
        if _CONTROL.search(text) or text.startswith("-"):
            yield Finding((field,), f"{text!r} is no {field}", "it may not begin with - or hold control characters")
    if source.path.startswith("/") or ".." in source.path.split("/"):
        yield Finding(
            ("path",), f"{source.path!r} leaves the repository", "write a path relative to its top, without .."
        )
    if source.name is not None and not _SOURCE_NAME.fullmatch(source.name):
        yield Finding(("name",), f"{source.name!r} is no name for a source", "use letters, digits, - and _")
    yield from _renderer(source)
    yield from _options(source)


def _address(source: Source, kind: str) -> Iterator[Finding]:
    url = source.url
    if kind == "git":
        if git_url_fault(url):
            yield Finding(("git",), git_url_fault(url), git_url_advice(url))
        return
    if _PASSWORD.match(url):
        yield Finding((kind,), "a password stands in the URL", git_url_advice(url))
        return
    if kind == "helm" and not re.match(r"https?://.", url):
        advice = "write it as oci: instead of helm:" if url.startswith("oci://") else "write https://…"
        yield Finding(("helm",), f"{url!r} is no Helm repository's URL", advice)
    if kind == "oci" and not re.fullmatch(r"oci://[^/\s]+/\S+", url):
        yield Finding(("oci",), f"{url!r} is no OCI repository", "write oci://registry/repository")
    if kind == "oci" and re.search(r"(@sha256:|:[^/:@]+$)", url.removeprefix("oci://").partition("/")[2]):
        yield Finding(("oci",), "the tag or digest does not belong here", "write it as ref")


def _revision(source: Source, kind: str) -> Iterator[Finding]:
    if kind == "helm":
        if not source.chart:
            yield Finding((), "the chart is missing", "add chart: the chart's name in the repository")
        if source.ref is not None:
            yield Finding(("ref",), "a Helm repository has no refs", "write the chart's version as version")
    else:
        if source.version is not None:
            yield Finding(("version",), "version is for charts of a Helm repository", f"write it as ref ({kind})")
        if source.chart is not None:
            advice = "write the chart's folder as path" if kind == "git" else "make it part of the oci address"
            yield Finding(("chart",), "chart is for Helm repositories", advice)
    if source.tag_prefix is not None and kind != "git":
        yield Finding(("tagPrefix",), "tagPrefix is for git", "remove it")
    if source.tag_prefix is not None and source.ref is None:
        yield Finding(("tagPrefix",), "tagPrefix needs a range of tags", "add ref, such as >=1.0.0")
    if source.submodules and kind != "git":
        yield Finding(("submodules",), "submodules are for git", "remove it")


_OPTIONS = {
    "plain": Renderer.PLAIN,
    "kustomize": Renderer.KUSTOMIZE,
    "helmOptions": Renderer.HELM,
    "jsonnet": Renderer.JSONNET,
}


def _renderer(source: Source) -> Iterator[Finding]:
    given = {
        "plain": source.plain,
        "kustomize": source.kustomize,
        "helmOptions": source.helm_options,
        "jsonnet": source.jsonnet,
    }
    present = [name for name, value in given.items() if value is not None]
    if len(present) > 1:
        yield Finding((present[1],), f"{' and '.join(present)} exclude each other", "keep the options of one renderer")
    elif present and source.renderer not in {Renderer.AUTO, _OPTIONS[present[0]]}:
        what = f"{present[0]} does not belong to the renderer {source.renderer.value}"
        yield Finding((present[0],), what, "change renderer, or remove the options")
    elif source.helm and source.renderer not in {Renderer.AUTO, Renderer.HELM}:
        yield Finding(("renderer",), "a Helm repository holds charts only", "remove renderer")


def _options(source: Source) -> Iterator[Finding]:
    if source.helm_options:
        yield from _values_from(source.helm_options.values_from, "helmOptions", "valuesFrom")
    for name, options in (("plain", source.plain), ("jsonnet", source.jsonnet)):
        for field in ("include", "exclude") if options else ():
            for number, pattern in enumerate(getattr(options, field)):
                yield from _glob(pattern, name, field, number)


def _references(source: Source, names: dict[str, Source]) -> Iterator[Finding]:
    """The `$name/path` of values and parameter files: the name is another source's, and that one holds files."""
    options = source.helm_options or HelmOptions()
    places = [(("valueFiles", n), text) for n, text in enumerate(options.value_files)]
    places += [(("fileParameters", n, "value"), p.value) for n, p in enumerate(options.file_parameters)]
    for path, text in places:
        found = _REFERENCE.fullmatch(text)
        if not found:
            continue
        if found[1] not in names:
            known = [f"${name}" for name in names]
            advice = one_of(f"${found[1]}", known) if known else f"add a source with name: {found[1]}"
            yield Finding(path, f"no source is called {found[1]!r}", advice)
        elif names[found[1]].helm:
            yield Finding(
                path,
                f"the source {found[1]!r} is a chart, whose files others cannot read",
                "refer to a git or oci source",
            )
        elif not found[2] or found[2] == "/":
            yield Finding(path, "the file in the source is missing", f"write ${found[1]}/path/to/values.yaml")


def _sync(spec: ApplicationSpec) -> Iterator[Finding]:
    retry = spec.sync.retry
    if retry.limit < -1:
        yield Finding(
            ("sync", "retry", "limit"), f"{retry.limit} is out of range", "write a number from 0, or -1 to try for ever"
        )
    if retry.backoff.factor < 1:
        yield Finding(
            ("sync", "retry", "backoff", "factor"), f"{retry.backoff.factor:g} is out of range", "write a number from 1"
        )
    for number, window in enumerate(spec.sync.windows):
        yield from (finding.under("sync", "windows", number) for finding in _window(window))


def _window(window: SyncWindow) -> Iterator[Finding]:
    if cron_fault(window.schedule):
        yield Finding(("schedule",), cron_fault(window.schedule), "for example 0 22 * * mon-fri")
    if zone_fault(window.time_zone):
        yield Finding(("timeZone",), zone_fault(window.time_zone), "for example Europe/Zurich, or UTC")
    yield from _duration(window)


def _duration(window: SyncWindow) -> Iterator[Finding]:
    if seconds(window.duration) <= 0:
        yield Finding(("duration",), "the window is never open", "write a duration such as 8h")


def _target(spec: ApplicationSpec) -> Iterator[Finding]:
    target = spec.target
    if not target.cluster:
        yield Finding(("target", "cluster"), "this is empty", "name a cluster of taut's configuration")
    if target.namespace and (len(target.namespace) > 63 or not re.fullmatch(DNS_LABEL, target.namespace)):
        advice = "use lower-case letters, digits and - (at most 63)"
        yield Finding(("target", "namespace"), f"{target.namespace!r} is no name of a namespace", advice)
    if target.service_account is not None:
        yield from _account(target.service_account, "target", "serviceAccount")
    if not re.fullmatch(DNS_NAME, spec.project):
        yield Finding(
            ("project",), f"{spec.project!r} is no name of a project", "use lower-case letters, digits, - and ."
        )


def _account(text: str, *path: str | int) -> Iterator[Finding]:
    if not _ACCOUNT.fullmatch(text):
        yield Finding(path, f"{text!r} is no service account", "write its name, or namespace:name")


def _ignore(rule: IgnoreRule) -> Iterator[Finding]:
    if not (rule.pointers or rule.jq or rule.managers):
        yield Finding((), "this rule ignores nothing", "add pointers, jq or managers")
    for number, pointer in enumerate(rule.pointers):
        if not pointer.startswith("/"):
            yield Finding(
                ("pointers", number),
                f"{pointer!r} is no JSON pointer",
                f"write /{pointer.strip('.').replace('.', '/')}",
            )
    for number, expression in enumerate(rule.jq):
        try:
            jq.compile(expression)
        except ValueError as error:
            yield Finding(("jq", number), f"this is no jq: {str(error).splitlines()[0]}", "for example .spec.replicas")
    for field in ("group", "kind", "name", "namespace"):
        pattern: str = getattr(rule, field)
        yield from _glob(pattern, field) if pattern else ()


def _values_from(references: Iterable[ValuesFrom], *path: str) -> Iterator[Finding]:
    for number, reference in enumerate(references):
        if reference.kind not in {"ConfigMap", "Secret"}:
            what = f"values cannot be read from a {reference.kind}"
            yield Finding((*path, number, "kind"), what, one_of(reference.kind, ["ConfigMap", "Secret"]))


def _signatures(spec: ProjectSpec) -> Iterator[Finding]:
    signatures = spec.signatures
    if signatures.require not in {"none", "commit", "tag"}:
        what = f"{signatures.require!r} is not allowed here"
        yield Finding(("signatures", "require"), what, one_of(signatures.require, ["none", "commit", "tag"]))
    elif signatures.require != "none" and not (signatures.open_pgp or signatures.ssh):
        yield Finding(("signatures",), "signatures are required, and no key is given", "add openPgp or ssh keys")


def _glob(pattern: str, *path: str | int) -> Iterator[Finding]:
    why = glob_fault(pattern)
    if why:
        yield Finding(path, f"{pattern!r} is no glob: {why}", "* is any run of characters, {a,b} a choice")
