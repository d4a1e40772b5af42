"""What the mutations of a policy make of an object: configurations that are applied, JSON patches."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from taut.policy.admission.expressions import Expressions
from taut.policy.cel import CelError, Environment
from taut.policy.cel.environment import is_plain
from taut.policy.json_patch import PatchError, patched

_KEYS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(
        ("containers", "initContainers", "ephemeralContainers", "env", "volumes", "imagePullSecrets", "secrets"),
        ("name",),
    ),
    "volumeMounts": ("mountPath",),
    "volumeDevices": ("devicePath",),
    "hostAliases": ("ip",),
    "ports": ("containerPort", "port"),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
    "ownerReferences": ("uid",),
    "resourceClaims": ("name",),
    "conditions": ("type",),
}
"""Keys of Kubernetes' lists that are merged by their elements (`listMapKeys` of its schemas); others are replaced as a whole."""
_SETS = frozenset({"finalizers"})


def applied(body: Any, configuration: Any, name: str = "") -> Any:
    """An object with a configuration applied, as server-side apply merges it; the arguments stay as they are."""
    if isinstance(body, dict) and isinstance(configuration, dict):
        return {**body, **{k: applied(body[k], v, k) if k in body else v for k, v in configuration.items()}}
    if isinstance(body, list) and isinstance(configuration, list):
        return _applied_list(body, configuration, name)
    return copy.deepcopy(configuration)


def _applied_list(body: list[Any], configuration: list[Any], name: str) -> list[Any]:
    if name in _SETS:
        return [*body, *(c for c in configuration if c not in body)]
    keys = _KEYS.get(name, ())
    result = list(body)
    for item in configuration:
        key = next((k for k in keys if isinstance(item, dict) and k in item), None)
        if key is None:
            return list(configuration)
        at = next((i for i, v in enumerate(result) if isinstance(v, dict) and v.get(key) == item[key]), None)
        if at is None:
            result.append(item)
        else:
            result[at] = applied(result[at], item)
    return result


def mutated(
    body: dict[str, Any], mutations: Any, expressions: Expressions, environment: Environment, values: Mapping[str, Any]
) -> dict[str, Any]:
    """The object after all mutations, each on what the one before left. Raises CelError when one fails."""
    for mutation in mutations or ():
        activation = environment.activation({**values, "object": body})
        if isinstance(mutation.get("applyConfiguration"), dict):
            made = expressions.compiled(str(mutation["applyConfiguration"].get("expression"))).evaluate(activation)
            if not isinstance(made, dict) or not is_plain(made):
                raise CelError("an applied configuration has to be an Object")
            body = applied(body, made)
        elif isinstance(mutation.get("jsonPatch"), dict):
            made = expressions.compiled(str(mutation["jsonPatch"].get("expression"))).evaluate(activation)
            if not isinstance(made, list) or not is_plain(made):
                raise CelError("a JSON patch has to be a list of JSONPatch")
            try:
                body = patched(body, made)
            except PatchError as error:
                raise CelError(str(error)) from None
        else:
            raise CelError("a mutation has to be an applyConfiguration or a jsonPatch")
    return body
