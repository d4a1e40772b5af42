"""Rules for Pods as rules for what makes Pods (Kyverno, autogen)."""

from __future__ import annotations

from typing import Any

import orjson

from taut.policy.kyverno.matching import blocks

CONTROLLERS = ("DaemonSet", "Deployment", "Job", "ReplicaSet", "ReplicationController", "StatefulSet", "CronJob")
ANNOTATION = "pod-policies.kyverno.io/autogen-controllers"
_TEMPLATE, _CRON = ("spec", "template"), ("spec", "jobTemplate", "spec", "template")


def with_autogen(rules: list[dict[str, Any]], annotations: dict[str, Any]) -> list[dict[str, Any]]:
    """The rules, and after each those made from it."""
    wanted = _controllers(rules, annotations)
    if not wanted:
        return rules
    made: list[dict[str, Any]] = []
    for rule in rules:
        made.append(rule)
        if not _is_about_pods(rule):
            continue
        plain = [c for c in CONTROLLERS if c in wanted and c != "CronJob"]
        if plain:
            made.append(_converted(rule, "autogen-", plain, _TEMPLATE))
        if "CronJob" in wanted:
            made.append(_converted(rule, "autogen-cronjob-", ["CronJob"], _CRON))
    return made


def _controllers(rules: list[dict[str, Any]], annotations: dict[str, Any]) -> frozenset[str]:
    asked = annotations.get(ANNOTATION)
    if asked == "none" or not all(_can(rule) for rule in rules):
        return frozenset()
    if isinstance(asked, str) and asked != "all":
        return frozenset(c.strip() for c in asked.split(","))
    return frozenset(CONTROLLERS)


def _can(rule: dict[str, Any]) -> bool:
    """Whether a rule leaves it open: names, selectors and annotations are of Pods, and would be asked of their owners."""
    if rule.get("generate"):
        return False
    mutate = rule.get("mutate")
    if isinstance(mutate, dict):
        foreach = [f for f in mutate.get("foreach") or () if isinstance(f, dict)]
        if mutate.get("patchesJson6902") or mutate.get("targets") or any(f.get("patchesJson6902") for f in foreach):
            return False
    for section in (rule.get("match"), rule.get("exclude")):
        for block in blocks(section):
            kinds = [str(k) for k in block.get("kinds") or ()]
            if any(block.get(k) for k in ("name", "names", "selector", "annotations")):
                return False
            if len(kinds) > 1 and "Pod" in kinds:
                return False
    return True


def _is_about_pods(rule: dict[str, Any]) -> bool:
    kinds = {str(k) for block in blocks(rule.get("match")) for k in block.get("kinds") or ()}
    excluded = {str(k) for block in blocks(rule.get("exclude")) for k in block.get("kinds") or ()}
    return bool(kinds & {"Pod", "v1/Pod"}) and (not excluded or bool(excluded & {"Pod", "v1/Pod"}))


def _converted(rule: dict[str, Any], prefix: str, kinds: list[str], steps: tuple[str, ...]) -> dict[str, Any]:
    made: dict[str, Any] = _moved(rule, steps)
    made["name"] = (prefix + str(rule.get("name", "")))[:63]
    for section in ("match", "exclude"):
        for block in blocks(made.get(section)):
            if {"Pod", "v1/Pod"} & {str(k) for k in block.get("kinds") or ()}:
                block["kinds"] = list(kinds)
    validate = made.get("validate")
    if isinstance(validate, dict):
        if isinstance(validate.get("pattern"), dict):
            validate["pattern"] = _wrapped(validate["pattern"], steps)
        if isinstance(validate.get("anyPattern"), list):
            validate["anyPattern"] = [_wrapped(p, steps) for p in validate["anyPattern"]]
    mutate = made.get("mutate")
    if isinstance(mutate, dict):
        for part in (mutate, *(f for f in mutate.get("foreach") or () if isinstance(f, dict))):
            if isinstance(part.get("patchStrategicMerge"), dict):
                part["patchStrategicMerge"] = _wrapped(part["patchStrategicMerge"], steps)
    return made


def _wrapped(pattern: Any, steps: tuple[str, ...]) -> Any:
    for step in reversed(steps):
        pattern = {step: pattern}
    return pattern


def _moved(rule: dict[str, Any], steps: tuple[str, ...]) -> dict[str, Any]:
    """The rule with every mention of the Pod's fields led to the template's."""
    text = orjson.dumps(rule).decode()
    place = ".".join(steps)
    cel = isinstance(rule.get("validate"), dict) and "cel" in rule["validate"]
    heads = ("object", "oldObject") if cel else ("request.object", "request.oldObject")
    for head in heads:
        for field in ("spec", "metadata"):
            text = text.replace(f"{head}.{field}", f"{head}.\0{field}").replace(
                f"{head}.?{field}", f"{head}.?\0{field}"
            )
    # A mark first: what was moved must not be moved again.
    return orjson.loads(text.replace(".?\0", f".?{place.replace('.', '.?')}.?").replace(".\0", f".{place}."))
