"""How an object is left as it is although a rule forbids it: in the words of the engine that the rule belongs to."""

from __future__ import annotations

from taut.model.verdict import Verdict

PROJECT = "project"
"""The name under which the rules of an application's project are told: nothing waives them but the project itself."""


def way_out(verdict: Verdict) -> str:
    """What to write so that this rule passes over this object, as the end of a sentence; empty where nothing was denied."""
    if not verdict.denies:
        return ""
    own = of_engine(verdict)
    if verdict.engine == "taut":
        return own
    waiver = f"a PolicyWaiver for {verdict.policy} and {verdict.subject}"
    return f"{waiver}, or {own}" if own else waiver


def of_engine(verdict: Verdict) -> str:
    """What to write in the engine's own way, as the end of a sentence, whatever the verdict says; empty where it has none."""
    match verdict.engine:
        case "taut":
            if verdict.policy == PROJECT:
                return ""
            return f"annotate the object: checks.taut.dev/{verdict.policy}: the reason"
        case "kyverno":
            rule = f", rule {verdict.rule}," if verdict.rule else ""
            return f"a PolicyException for {verdict.policy}{rule} that matches {verdict.subject}"
        case "gatekeeper":
            return f"exclude it in spec.match of the constraint {verdict.policy} (excludedNamespaces, labelSelector)"
        case "admission":
            return f"exclude it in matchResources of a binding of {verdict.policy}"
        case _:
            return ""
