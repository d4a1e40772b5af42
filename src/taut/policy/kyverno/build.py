"""From documents to policies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from taut.policy.kyverno.autogen import with_autogen
from taut.policy.kyverno.exceptions import Exemption
from taut.policy.kyverno.policy import KyvernoPolicy, Rule
from taut.policy.review import Built, Given, Trouble

_GROUPS = ("kyverno.io/",)
_POLICIES, _EXCEPTION = frozenset({"ClusterPolicy", "Policy"}), "PolicyException"
_ELSEWHERE = {
    "generate": "generating objects is left to Kyverno in the cluster: declare what it would generate in Git",
    "verifyImages": "signatures of images are verified by Kyverno in the cluster, where the registry can be reached",
}


class _Engine:
    def reads(self, api_version: str, kind: str) -> bool:
        """Documents of kyverno.io."""
        return api_version.startswith(_GROUPS)

    def build(self, documents: Sequence[Given]) -> Built:
        """The policies, each with the exceptions that name it."""
        documents = [g for g in documents if self.reads(str(g.body.get("apiVersion")), str(g.body.get("kind")))]
        exemptions = [Exemption(g.body) for g in documents if g.body.get("kind") == _EXCEPTION]
        policies: list[KyvernoPolicy] = []
        troubles: list[Trouble] = []
        for given in documents:
            kind = given.body.get("kind")
            if kind in _POLICIES:
                rules, found = _rules(given)
                troubles += found
                made = KyvernoPolicy(given.body, tuple(rules))
                own = tuple(e for e in exemptions if e.names(made.name))
                policies.append(KyvernoPolicy(given.body, tuple(rules), own))
            elif kind != _EXCEPTION:
                troubles.append(_not_ours(given))
        return Built(tuple(policies), tuple(troubles))


ENGINE = _Engine()


def _name(given: Given) -> str:
    return str((given.body.get("metadata") or {}).get("name") or "")


def _not_ours(given: Given) -> Trouble:
    kind = str(given.body.get("kind"))
    if "Cleanup" in kind:
        return Trouble(
            given.origin, _name(given), f"{kind}: cleaning up is left to Kyverno in the cluster", elsewhere=True
        )
    return Trouble(given.origin, _name(given), f"{kind} is no policy that is evaluated here", elsewhere=True)


def _rules(given: Given) -> tuple[list[Rule], list[Trouble]]:
    spec = given.body.get("spec")
    listed = spec.get("rules") if isinstance(spec, dict) else None
    troubles: list[Trouble] = []
    if not isinstance(listed, list) or not listed:
        return [], [Trouble(given.origin, _name(given), "spec.rules has to be a list with at least one rule")]
    rules: list[dict[str, Any]] = []
    for rule in listed:
        elsewhere = _elsewhere(rule)
        fault = "" if elsewhere else _fault(rule)
        if elsewhere:
            troubles.append(Trouble(given.origin, _name(given), elsewhere, elsewhere=True))
        elif fault:
            troubles.append(Trouble(given.origin, _name(given), fault))
        else:
            rules.append(rule)
    annotations = (given.body.get("metadata") or {}).get("annotations") or {}
    made = [Rule(str(r.get("name") or ""), r) for r in with_autogen(rules, annotations)]
    return made, troubles


def _elsewhere(rule: Any) -> str:
    """Why Kyverno itself has to do what a rule says; empty when it is judged here."""
    if isinstance(rule, dict):
        for key, words in _ELSEWHERE.items():
            if key in rule:
                return f"rule {rule.get('name')!r}: {words}"
    return ""


def _fault(rule: Any) -> str:
    if not isinstance(rule, dict) or not isinstance(rule.get("match"), dict):
        return "a rule has to be a mapping with a name and a match"
    name = rule.get("name")
    if not any(isinstance(rule.get(k), dict) for k in ("validate", "mutate")):
        return f"rule {name!r} neither validates nor mutates"
    return "; ".join(_shape_faults(rule))


def _shape_faults(rule: dict[str, Any]) -> Iterator[str]:
    for section in ("match", "exclude"):
        value = rule.get(section)
        if value is None:
            continue
        if not isinstance(value, dict):
            yield f"rule {rule.get('name')!r}: {section} has to be a mapping"
            continue
        for key in ("any", "all"):
            if value.get(key) is not None and not (
                isinstance(value[key], list) and all(isinstance(b, dict) for b in value[key])
            ):
                yield f"rule {rule.get('name')!r}: {section}.{key} has to be a list of mappings"
    if rule.get("context") is not None and not isinstance(rule["context"], list):
        yield f"rule {rule.get('name')!r}: context has to be a list"
