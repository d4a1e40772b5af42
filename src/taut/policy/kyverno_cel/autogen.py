"""Policies for Pods as policies for what makes Pods (policies.kyverno.io, `autogen.podControllers`)."""

from __future__ import annotations

import re
from typing import Any

_CONTROLLERS = {
    "daemonsets": "apps",
    "deployments": "apps",
    "statefulsets": "apps",
    "replicasets": "apps",
    "jobs": "batch",
}
_CRON = "cronjobs"
_TEMPLATE, _CRON_TEMPLATE = "spec.template", "spec.jobTemplate.spec.template"
_EXPRESSIONS = frozenset({"expression", "messageExpression", "valueExpression"})


def variants(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The policy's spec, and those made from it for Pod controllers."""
    spec: dict[str, Any] = document.get("spec") or {}
    if not _only_pods(spec):
        return [spec]
    wanted = _wanted(document, spec)
    made = [spec]
    plain = {r: g for r, g in _CONTROLLERS.items() if r in wanted}
    if plain:
        made.append(_converted(spec, plain, _TEMPLATE))
    if _CRON in wanted:
        made.append(_converted(spec, {_CRON: "batch"}, _CRON_TEMPLATE))
    return made


def _only_pods(spec: dict[str, Any]) -> bool:
    """Selectors and conditions on Pods alone: a policy that names other kinds has said what it is about."""
    constraints: dict[str, Any] = spec.get("matchConstraints") or {}
    rules = constraints.get("resourceRules") or ()
    selector = constraints.get("objectSelector") or {}
    if selector.get("matchLabels") or selector.get("matchExpressions"):
        return False
    return bool(rules) and all(list(r.get("resources") or ()) == ["pods"] and not r.get("resourceNames") for r in rules)


def _wanted(document: dict[str, Any], spec: dict[str, Any]) -> frozenset[str]:
    annotations = (document.get("metadata") or {}).get("annotations") or {}
    if annotations.get("pod-policies.kyverno.io/autogen-controllers") == "none":
        return frozenset()
    controllers = ((spec.get("autogen") or {}).get("podControllers") or {}).get("controllers")
    if controllers is None:
        return frozenset([*_CONTROLLERS, _CRON])
    return frozenset(str(c).lower() for c in controllers)


def _converted(spec: dict[str, Any], resources: dict[str, str], place: str) -> dict[str, Any]:
    made = _moved(spec, place, under_expression=False)
    constraints = made["matchConstraints"]
    operations = sorted({o for r in constraints.get("resourceRules") or () for o in r.get("operations") or ()})
    groups = sorted(set(resources.values()))
    constraints["resourceRules"] = [
        {
            "apiGroups": [group],
            "apiVersions": ["v1"],
            "operations": operations or ["*"],
            "resources": [r for r, g in resources.items() if g == group],
        }
        for group in groups
    ]
    return made


_FIELD = re.compile(r"\b(?P<head>(?:oldO|o)bject)(?P<dot>\.\??)(?P<field>spec|metadata)\b(?!\.(?:jobT|t)emplate\b)")
_TYPED = re.compile(r"\bObject(?P<rest>\{|\.spec|\.metadata)")


def _moved(value: Any, place: str, *, under_expression: bool) -> Any:
    """A copy whose expressions speak of the template's Pod."""
    if isinstance(value, dict):
        return {k: _moved(v, place, under_expression=k in _EXPRESSIONS) for k, v in value.items()}
    if isinstance(value, list):
        return [_moved(v, place, under_expression=False) for v in value]
    if isinstance(value, str) and under_expression:
        return _expression(value, place)
    return value


def _expression(text: str, place: str) -> str:
    def put(found: re.Match[str]) -> str:
        inner = place.replace(".", found["dot"])
        return f"{found['head']}{found['dot']}{inner}{found['dot']}{found['field']}"

    moved = _FIELD.sub(put, text)
    return moved.replace('"/spec/', f'"/{place.replace(".", "/")}/spec/').replace(
        "'/spec/", f"'/{place.replace('.', '/')}/spec/"
    )


def template_of(body: dict[str, Any], spec: dict[str, Any], own: dict[str, Any]) -> tuple[str, ...]:
    """Where the Pod lies in an object that a variant is about; empty for the policy as it was written."""
    if spec is own:
        return ()
    return ("spec", "jobTemplate", "spec", "template") if body.get("kind") == "CronJob" else ("spec", "template")
