"""Reports of what policies say of objects that run, in the shape that the tools around Kyverno read. Pure functions.

`PolicyReport` of wgpolicyk8s.io, or `Report` of openreports.io: one for each root and namespace, and a cluster's own for objects outside of
namespaces. One that would be too long for a cluster to keep is split.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from taut.model.manifests import Body, canonical, content_hash
from taut.model.refs import KindRef
from taut.model.verdict import Outcome, Subject, Verdict
from taut.policy.review import Given

MOST_RESULTS = 1000
MOST_BYTES = 900_000
"""Of the results of one report: a cluster keeps no object of more than 1.5 MB."""
MANAGED_BY = ("app.kubernetes.io/managed-by", "taut")
ROOT = "taut.dev/root"
"""The label that names the root whose applications the report is about: several tauts may share a cluster."""
POLICIES = "taut.dev/policies"
"""The annotation with the hash of the policies that were asked."""
CONTENT = "taut.dev/report-content"
"""The annotation with the hash of what the report says, times apart."""
_LONGEST = 1024
_MOST_PARTS = 1024
_SEVERITIES = frozenset({"critical", "high", "medium", "low", "info"})
_PREFIX = "policies.kyverno.io"
_OVERHEAD = 600


@dataclass(frozen=True, slots=True)
class Flavour:
    """One API of reports. `sourced`: a report says itself whose it is."""

    group: str
    version: str
    kind: str
    cluster_kind: str
    sourced: bool = False

    @property
    def api_version(self) -> str:
        """Group and version."""
        return f"{self.group}/{self.version}"

    def kind_for(self, namespace: str) -> KindRef:
        """The kind of the reports of a namespace; of a cluster's own for an empty one."""
        return KindRef(self.group, self.kind if namespace else self.cluster_kind)


WGPOLICY = Flavour("wgpolicyk8s.io", "v1alpha2", "PolicyReport", "ClusterPolicyReport")
OPENREPORTS = Flavour("openreports.io", "v1alpha1", "Report", "ClusterReport", sourced=True)
FLAVOURS = (WGPOLICY, OPENREPORTS)
"""Where a cluster serves several, the first one is written."""


@dataclass(frozen=True, slots=True)
class Trait:
    """What a policy's annotations say of it. `scored` False: its failures are warnings."""

    severity: str = ""
    category: str = ""
    scored: bool = True


@dataclass(frozen=True, slots=True)
class Scanned:
    """One object, and what was said of it. `content` is the hash that it was judged at, `at` Unix seconds."""

    subject: Subject
    uid: str
    content: str
    at: float
    verdicts: tuple[Verdict, ...]


def traits_of(documents: Iterable[Given]) -> dict[str, Trait]:
    """Severity, category and scoring of policies, by the names that verdicts give them."""
    found: dict[str, Trait] = {}
    for given in documents:
        metadata = given.body.get("metadata")
        if not isinstance(metadata, dict):
            continue
        annotations = metadata.get("annotations")
        if not isinstance(annotations, dict):
            continue
        severity = str(annotations.get(f"{_PREFIX}/severity") or "").lower()
        trait = Trait(
            severity if severity in _SEVERITIES else "",
            str(annotations.get(f"{_PREFIX}/category") or ""),
            str(annotations.get(f"{_PREFIX}/scored") or "").lower() != "false",
        )
        if trait != Trait():
            found[policy_name(given.body)] = trait
    return found


def policy_name(document: Body) -> str:
    """A policy's name as verdicts say it: with the namespace ahead where it has one."""
    metadata: Mapping[str, Any] = document.get("metadata") or {}
    name = str(metadata.get("name") or "")
    namespace = str(metadata.get("namespace") or ("default" if document.get("kind") == "Policy" else ""))
    return f"{namespace}/{name}" if namespace else name


def counted(verdicts: Iterable[Verdict], traits: Mapping[str, Trait]) -> dict[str, int]:
    """How many results of each kind there are."""
    return dict(Counter(_result(v, traits.get(v.policy, Trait())) for v in verdicts))


def reports(
    flavour: Flavour,
    root: str,
    namespace: str,
    policies: str,
    scanned: Iterable[Scanned],
    traits: Mapping[str, Trait],
) -> list[Body]:
    """The reports on a root's objects in a namespace (empty: outside of all); none when nothing was said of them.

    `policies` is the hash of the policies. The same results make the same reports, and one object's results stay in one report, so that a
    change of an object changes one report.
    """
    listed = [(each, _results(each, traits)) for each in scanned]
    parts = _parts([(each, results) for each, results in listed if results])
    found: list[Body] = []
    for number, part in enumerate(parts):
        name = f"taut.{root}" if number == 0 else f"taut.{root}.{number + 1}"
        found.append(_report(flavour, root, namespace, name, policies, part))
    return found


def content_of_report(report: Body) -> str:
    """The hash of what a report says, as its annotation has it; empty when it has none."""
    metadata = report.get("metadata") or {}
    return str((metadata.get("annotations") or {}).get(CONTENT) or "")


def _report(
    flavour: Flavour, root: str, namespace: str, name: str, policies: str, results: Sequence[dict[str, Any]]
) -> Body:
    said = [{k: v for k, v in result.items() if k != "timestamp"} for result in results]
    tally = Counter(result["result"] for result in results)
    return {
        "apiVersion": flavour.api_version,
        "kind": flavour.kind_for(namespace).kind,
        "metadata": {
            "name": name,
            **({"namespace": namespace} if namespace else {}),
            "labels": {MANAGED_BY[0]: MANAGED_BY[1], ROOT: root},
            "annotations": {POLICIES: policies, CONTENT: content_hash([policies, said])},
        },
        **({"source": "taut"} if flavour.sourced else {}),
        "summary": {outcome.value: tally[outcome.value] for outcome in Outcome},
        "results": list(results),
    }


def _parts(listed: Sequence[tuple[Scanned, list[dict[str, Any]]]]) -> list[list[dict[str, Any]]]:
    """The results, in as many parts as are needed. Which part an object is in only its name and the number of parts decide."""
    if not listed:
        return []
    count = 1
    while True:
        parts: list[list[tuple[str, list[dict[str, Any]]]]] = [[] for _ in range(count)]
        for each, results in listed:
            name = f"{each.subject.api_version} {each.subject}"
            place = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) % count
            parts[place].append((name, results))
        whole = [[r for _, results in sorted(part, key=lambda p: p[0]) for r in results] for part in parts]
        if count >= _MOST_PARTS or all(_fits(part) for part in whole):
            return [part[:MOST_RESULTS] for part in whole if part]
        count *= 2


def _fits(results: Sequence[dict[str, Any]]) -> bool:
    if len(results) > MOST_RESULTS:
        return False
    # Most are far from the limit: only where they might not be is their size looked at.
    if len(results) * (_LONGEST + _OVERHEAD) < MOST_BYTES:
        return True
    return sum(len(canonical(result)) for result in results) <= MOST_BYTES


def _results(scanned: Scanned, traits: Mapping[str, Trait]) -> list[dict[str, Any]]:
    found = [_entry(scanned, verdict, traits.get(verdict.policy, Trait())) for verdict in scanned.verdicts]
    return sorted(found, key=lambda r: (r["policy"], r["rule"], r["result"], r["message"], r["properties"]["engine"]))


def _entry(scanned: Scanned, verdict: Verdict, trait: Trait) -> dict[str, Any]:
    subject = scanned.subject
    place = {"namespace": subject.namespace} if subject.namespace else {}
    properties = {"engine": verdict.engine, "content": scanned.content}
    for name, value in (("path", verdict.path), ("exception", verdict.exception)):
        if value:
            properties[name] = _short(value)
    return {
        "source": "taut",
        "policy": verdict.policy,
        "rule": verdict.rule,
        "result": _result(verdict, trait),
        "message": _short(_message(verdict)),
        "scored": trait.scored,
        **({"severity": trait.severity} if trait.severity else {}),
        **({"category": _short(trait.category)} if trait.category else {}),
        "resources": [
            {
                "apiVersion": subject.api_version,
                "kind": subject.kind,
                **place,
                "name": subject.name,
                **({"uid": scanned.uid} if scanned.uid else {}),
            }
        ],
        "timestamp": {"seconds": int(scanned.at), "nanos": 0},
        "properties": properties,
    }


def _result(verdict: Verdict, trait: Trait) -> str:
    failed = verdict.result is Outcome.FAIL
    return (Outcome.WARN if failed and not trait.scored else verdict.result).value


def _message(verdict: Verdict) -> str:
    if verdict.exception:
        return f"{verdict.message} (waived by {verdict.exception})".strip()
    values = [f"found {verdict.found}"] if verdict.found else []
    values += [f"wanted {verdict.wanted}"] if verdict.wanted else []
    return f"{verdict.message} ({', '.join(values)})".strip() if values else verdict.message


def _short(text: str) -> str:
    data = text.encode()
    return text if len(data) <= _LONGEST else data[: _LONGEST - 4].decode(errors="ignore") + "…"
