"""Strategic merges with anchors (Kyverno, engine/mutate): what a policy adds to an object."""

from __future__ import annotations

import copy
from typing import Any

from taut.policy.kyverno.patterns import anchor_of, match

_BY_NAME = frozenset({"containers", "initContainers", "ephemeralContainers", "env", "volumes", "imagePullSecrets"})
_KEYS = {
    **dict.fromkeys(_BY_NAME, ("name",)),
    "volumeMounts": ("mountPath",),
    "volumeDevices": ("devicePath",),
    "hostAliases": ("ip",),
    "ports": ("containerPort", "port"),
    "topologySpreadConstraints": ("topologyKey",),
    "ownerReferences": ("uid",),
    "secrets": ("name",),
    "resourceClaims": ("name",),
    "conditions": ("type",),
    "addresses": ("type",),
}
"""Merge keys of Kubernetes' own lists (its Go types' `patchMergeKey`). Other lists are replaced."""
_DIRECTIVE = "$patch"


class NotApplicable(Exception):
    """A condition in the patch is not met: the patch is not about this object."""


def merged(resource: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """The object with a patch merged into it; the arguments stay as they are. Raises NotApplicable when a condition is not met."""
    prepared = _prepared(resource, patch)
    return _merge(copy.deepcopy(resource), prepared) if isinstance(prepared, dict) else resource


def _prepared(resource: Any, patch: Any) -> Any:
    """The patch with its anchors worked off: conditions tested, `+()` decided, lists of conditions unfolded."""
    if isinstance(patch, dict):
        return _prepared_map(resource if isinstance(resource, dict) else {}, patch)
    if isinstance(patch, list):
        return _prepared_list(resource if isinstance(resource, list) else [], patch)
    return patch


def _prepared_map(resource: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    _test(resource, patch)
    made: dict[str, Any] = {}
    for key, value in patch.items():
        anchor = anchor_of(key)
        if anchor is None:
            made[key] = _prepared(resource.get(key), value)
        elif anchor[0] == "+" and anchor[1] not in resource:
            made[anchor[1]] = _prepared(None, value)
    return made


def _test(resource: dict[str, Any], patch: dict[str, Any]) -> None:
    for key, value in patch.items():
        anchor = anchor_of(key)
        if anchor is None or anchor[0] == "+":
            continue
        kind, name = anchor
        if name not in resource:
            if kind in {"", "<"}:
                raise NotApplicable
            continue
        if kind == "X":
            raise NotApplicable
        if isinstance(value, list) and isinstance(resource[name], list):
            good = any(match(each, wanted) is None for each in resource[name] for wanted in value)
        else:
            good = match({name: resource[name]}, {name: value}) is None
        if not good:
            raise NotApplicable


def _prepared_list(resource: list[Any], patch: list[Any]) -> list[Any]:
    made: list[Any] = []
    applied = conditional = 0
    for item in patch:
        if not isinstance(item, dict) or not _has_anchor(item):
            made.append(item)
            continue
        conditional += 1
        for each in resource:
            if not isinstance(each, dict):
                continue
            try:
                found = _prepared_map(each, item)
            except NotApplicable:
                continue
            applied += 1
            made.append(_Targeted(found, each))
    if conditional and not applied and conditional == len(patch) and not all(_only_additions(i) for i in patch):
        raise NotApplicable
    return made


class _Targeted(dict[str, Any]):
    """A patch of one element of a list: which one is known already."""

    def __init__(self, patch: dict[str, Any], target: dict[str, Any]) -> None:
        super().__init__(patch)
        self.target = target


def _has_anchor(patch: Any) -> bool:
    if isinstance(patch, dict):
        return any(anchor_of(k) is not None or _has_anchor(v) for k, v in patch.items())
    return isinstance(patch, list) and any(_has_anchor(v) for v in patch)


def _only_additions(patch: Any) -> bool:
    if isinstance(patch, dict):
        return all((anchor_of(k) or ("+", ""))[0] == "+" and _only_additions(v) for k, v in patch.items())
    return not isinstance(patch, list) or all(_only_additions(v) for v in patch)


def _merge(resource: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    if patch.get(_DIRECTIVE) == "replace":
        return {k: v for k, v in patch.items() if k != _DIRECTIVE}
    for key, value in patch.items():
        if key == _DIRECTIVE:
            continue
        old = resource.get(key)
        if value is None:
            resource.pop(key, None)
        elif isinstance(value, dict):
            if value.get(_DIRECTIVE) == "delete":
                resource.pop(key, None)
            else:
                resource[key] = _merge(old if isinstance(old, dict) else {}, value)
        elif isinstance(value, list):
            resource[key] = _merge_list(key, old if isinstance(old, list) else [], value)
        else:
            resource[key] = value
    return resource


def _merge_list(name: str, old: list[Any], patch: list[Any]) -> list[Any]:
    if any(isinstance(p, dict) and p.get(_DIRECTIVE) == "replace" and len(p) == 1 for p in patch):
        return [p for p in patch if not (isinstance(p, dict) and p.get(_DIRECTIVE) == "replace")]
    if not all(isinstance(p, dict) for p in patch):
        return _joined(name, old, patch)
    keys = _KEYS.get(name)
    if not keys and not any(isinstance(p, _Targeted) for p in patch):
        return [_stripped(p) for p in patch]
    result, added = list(old), []
    for item in patch:
        at = _place(result, item, keys or ())
        if item.get(_DIRECTIVE) == "delete":
            if at is not None:
                del result[at]
        elif at is None:
            added.append(_merge({}, dict(item)))
        else:
            result[at] = _merge(result[at], dict(item))
    # kustomize's merge, which Kyverno uses, puts what is new in front.
    return [*added, *result] if old else added


def _joined(name: str, old: list[Any], patch: list[Any]) -> list[Any]:
    """Lists of scalars are replaced; only finalizers are a set."""
    if name == "finalizers":
        return [*old, *(p for p in patch if p not in old)]
    return list(patch)


def _stripped(patch: dict[str, Any]) -> dict[str, Any]:
    return _merge({}, dict(patch))


def _place(items: list[Any], patch: dict[str, Any], keys: tuple[str, ...]) -> int | None:
    if isinstance(patch, _Targeted):
        return next((i for i, item in enumerate(items) if item == patch.target), None)
    for key in keys:
        if key in patch:
            return next((i for i, v in enumerate(items) if isinstance(v, dict) and v.get(key) == patch[key]), None)
    return None
