"""The shape of policy reports."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from taut.model.verdict import Enforcement, Outcome, Subject, Verdict
from taut.policy.report import (
    MOST_BYTES,
    MOST_RESULTS,
    OPENREPORTS,
    WGPOLICY,
    Scanned,
    Trait,
    content_of_report,
    counted,
    policy_name,
    reports,
    traits_of,
)
from taut.policy.review import Given


def _verdict(policy: str = "team", outcome: Outcome = Outcome.FAIL, name: str = "one", **other: Any) -> Verdict:
    return Verdict(policy, "only", "kyverno", Subject("v1", "ConfigMap", "shop", name), outcome, **other)


def _scanned(name: str = "one", *verdicts: Verdict, at: float = 1_000_000.5) -> Scanned:
    return Scanned(
        Subject("v1", "ConfigMap", "shop", name), f"uid-{name}", "abc", at, verdicts or (_verdict(name=name),)
    )


def test_a_report_is_what_tools_read() -> None:
    found = _verdict(message="a team is wanted", path="metadata.labels.team", found="nothing", wanted="?*")
    traits = {"team": Trait("high", "Labels")}
    (report,) = reports(WGPOLICY, "fleet", "shop", "hash", [_scanned("one", found)], traits)
    assert (report["apiVersion"], report["kind"]) == ("wgpolicyk8s.io/v1alpha2", "PolicyReport")
    assert report["metadata"]["name"] == "taut.fleet"
    assert report["metadata"]["namespace"] == "shop"
    assert report["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "taut", "taut.dev/root": "fleet"}
    assert report["metadata"]["annotations"]["taut.dev/policies"] == "hash"
    assert report["summary"] == {"pass": 0, "fail": 1, "warn": 0, "error": 0, "skip": 0}
    assert report["results"] == [
        {
            "source": "taut",
            "policy": "team",
            "rule": "only",
            "result": "fail",
            "message": "a team is wanted (found nothing, wanted ?*)",
            "scored": True,
            "severity": "high",
            "category": "Labels",
            "resources": [
                {"apiVersion": "v1", "kind": "ConfigMap", "namespace": "shop", "name": "one", "uid": "uid-one"}
            ],
            "timestamp": {"seconds": 1_000_000, "nanos": 0},
            "properties": {"engine": "kyverno", "content": "abc", "path": "metadata.labels.team"},
        }
    ]


def test_the_kind_follows_the_flavour_and_the_place() -> None:
    kinds = [
        (report["apiVersion"], report["kind"], report.get("source"))
        for flavour in (WGPOLICY, OPENREPORTS)
        for namespace in ("shop", "")
        for report in reports(flavour, "fleet", namespace, "", [_scanned()], {})
    ]
    assert kinds == [
        ("wgpolicyk8s.io/v1alpha2", "PolicyReport", None),
        ("wgpolicyk8s.io/v1alpha2", "ClusterPolicyReport", None),
        ("openreports.io/v1alpha1", "Report", "taut"),
        ("openreports.io/v1alpha1", "ClusterReport", "taut"),
    ]


def test_of_nothing_there_is_no_report() -> None:
    assert reports(WGPOLICY, "fleet", "shop", "", [], {}) == []
    assert reports(WGPOLICY, "fleet", "shop", "", [replace(_scanned(), verdicts=())], {}) == []


def test_the_content_does_not_depend_on_times_or_order() -> None:
    listed = [_scanned("one"), _scanned("two", _verdict("a", Outcome.PASS), _verdict("b"))]
    later = [replace(listed[1], at=5.0, verdicts=listed[1].verdicts[::-1]), replace(listed[0], at=6.0)]
    (first,) = reports(WGPOLICY, "fleet", "shop", "h", listed, {})
    (second,) = reports(WGPOLICY, "fleet", "shop", "h", later, {})
    assert content_of_report(first) == content_of_report(second) != ""
    (other,) = reports(WGPOLICY, "fleet", "shop", "another", listed, {})
    assert content_of_report(other) != content_of_report(first)


def test_what_is_too_long_is_split_and_a_change_touches_one_part() -> None:
    listed = [_scanned(f"map-{n}", *(_verdict(f"p{i}", name=f"map-{n}") for i in range(10))) for n in range(450)]
    found = reports(WGPOLICY, "fleet", "shop", "h", listed, {})
    assert len(found) > 4
    assert all(len(report["results"]) <= MOST_RESULTS for report in found)
    assert sum(len(report["results"]) for report in found) == 4500
    assert sum(report["summary"]["fail"] for report in found) == 4500
    names = [report["metadata"]["name"] for report in found]
    assert names[:3] == ["taut.fleet", "taut.fleet.2", "taut.fleet.3"]
    listed[7] = replace(listed[7], verdicts=(_verdict("p0", Outcome.PASS), *listed[7].verdicts[1:]))
    again = reports(WGPOLICY, "fleet", "shop", "h", listed, {})
    changed = [n for n, report in enumerate(again) if content_of_report(report) != content_of_report(found[n])]
    assert len(changed) == 1


def test_long_messages_are_cut_and_split_by_size() -> None:
    listed = [_scanned(f"map-{n}", _verdict(name=f"map-{n}", message="ä" * 5000)) for n in range(1000)]
    found = reports(WGPOLICY, "fleet", "shop", "h", listed, {})
    assert len(found) > 1
    for report in found:
        assert sum(len(r["message"].encode()) for r in report["results"]) < MOST_BYTES
        assert all(len(r["message"].encode()) <= 1024 for r in report["results"])


def test_failures_that_are_not_scored_are_warnings_and_waived_ones_are_skips() -> None:
    traits = {"lenient": Trait(scored=False)}
    verdicts = (
        _verdict("lenient"),
        _verdict("audited", enforcement=Enforcement.AUDIT),
        _verdict("warned", enforcement=Enforcement.WARN),
        _verdict("waived", Outcome.SKIP, message="no", exception="PolicyWaiver old"),
        _verdict("odd", Outcome.ERROR),
    )
    (report,) = reports(WGPOLICY, "fleet", "shop", "h", [_scanned("one", *verdicts)], traits)
    results = {r["policy"]: r["result"] for r in report["results"]}
    assert results == {"lenient": "warn", "audited": "fail", "warned": "fail", "waived": "skip", "odd": "error"}
    waived = next(r for r in report["results"] if r["policy"] == "waived")
    assert waived["properties"]["exception"] == "PolicyWaiver old"
    assert "waived by PolicyWaiver old" in waived["message"]
    assert counted(verdicts, traits) == {"warn": 1, "fail": 2, "skip": 1, "error": 1}


def test_traits_are_read_from_annotations() -> None:
    def policy(name: str, **annotations: str) -> Given:
        marks = {f"policies.kyverno.io/{key}": value for key, value in annotations.items()}
        return Given({"kind": "ClusterPolicy", "metadata": {"name": name, "annotations": marks}})

    odd: list[Given] = [Given({"metadata": 3}), Given({"metadata": {"annotations": "x"}}), Given({})]
    found = traits_of([policy("a", severity="High", category="Pods"), policy("b", severity="awful"), *odd])
    assert found == {"a": Trait("high", "Pods")}
    assert traits_of([policy("c", scored="false")]) == {"c": Trait(scored=False)}


def test_policies_are_named_as_verdicts_name_them() -> None:
    assert policy_name({"kind": "ClusterPolicy", "metadata": {"name": "a"}}) == "a"
    assert policy_name({"kind": "Policy", "metadata": {"name": "a", "namespace": "shop"}}) == "shop/a"
    assert policy_name({"kind": "Policy", "metadata": {"name": "a"}}) == "default/a"
