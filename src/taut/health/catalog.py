"""Which rule is for which kind: the exact kind first, then its group, then a family of groups."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import ModuleType

from taut.health.rules import (
    argo,
    clouds,
    cluster,
    clusters,
    databases,
    flux,
    gateways,
    kruise,
    messaging,
    numaproj,
    observability,
    policies,
    promoter,
    secrets,
    serving,
    storage,
    threescale,
    workloads,
)
from taut.health.verdicts import Rule, Rules

_MODULES: tuple[ModuleType, ...] = (
    workloads,
    cluster,
    gateways,
    argo,
    flux,
    promoter,
    numaproj,
    clouds,
    clusters,
    secrets,
    messaging,
    databases,
    kruise,
    observability,
    serving,
    policies,
    threescale,
    storage,
)


def _collect() -> dict[str, dict[str, Rule]]:
    catalog: dict[str, dict[str, Rule]] = {}
    for module in _MODULES:
        rules: Rules = module.RULES
        for group, kinds in rules.items():
            known = catalog.setdefault(group, {})
            doubled = known.keys() & kinds.keys()
            if doubled:
                raise ValueError(f"{module.__name__}: a second rule for {group}: {', '.join(sorted(doubled))}")
            known.update(kinds)
    return catalog


CATALOG: Mapping[str, Mapping[str, Rule]] = _collect()
"""Every rule: API group (or `*.` and the end of one) → kind (or `*`) → rule."""

_SEES_DELETION = frozenset(group for module in _MODULES for group in getattr(module, "SEES_DELETION", frozenset[str]()))


@lru_cache(maxsize=4096)
def rule_for(group: str, kind: str) -> Rule | None:
    """The rule for a kind; None where only the general rules apply."""
    for key in _keys(group):
        kinds = CATALOG.get(key, {})
        found = kinds.get(kind) or kinds.get("*")
        if found is not None:
            return found
    return None


def sees_deletion(group: str) -> bool:
    """Whether the rules of a group are asked about objects that are being deleted too."""
    return group in _SEES_DELETION


def _keys(group: str) -> list[str]:
    labels = group.split(".")
    return [group, *(f"*.{'.'.join(labels[n:])}" for n in range(1, len(labels)))]
