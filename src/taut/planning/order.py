"""The order of a sync: one comparison key, and one adjustment that moves namespaces and CRDs ahead of what needs them.

Applying: phase, then namespaces, then CRDs, then waves; in a wave by kind, what intercepts requests (webhooks) last.
Deleting: after all applies of the phase, in reverse; CRDs and then namespaces at the very end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import IntEnum
from itertools import groupby
from typing import Final

from taut.model.plan import Action, Change, Phase
from taut.model.refs import KindRef
from taut.planning.normalise import CRD

NAMESPACE: Final = KindRef("", "Namespace")

_PHASES: Final = {phase: n for n, phase in enumerate(Phase)}

_KINDS: Final = {
    kind: n
    for n, kind in enumerate(
        [
            "Namespace",
            "NetworkPolicy",
            "ResourceQuota",
            "LimitRange",
            "PriorityClass",
            "PodDisruptionBudget",
            "ServiceAccount",
            "Secret",
            "ConfigMap",
            "StorageClass",
            "PersistentVolume",
            "PersistentVolumeClaim",
            "CustomResourceDefinition",
            "ClusterRole",
            "ClusterRoleBinding",
            "Role",
            "RoleBinding",
            "Service",
            "DaemonSet",
            "Pod",
            "ReplicationController",
            "ReplicaSet",
            "Deployment",
            "StatefulSet",
            "HorizontalPodAutoscaler",
            "Job",
            "CronJob",
            "IngressClass",
            "Ingress",
        ]
    )
}
_OTHER_KINDS: Final = len(_KINDS)
_API_SERVICES: Final = _OTHER_KINDS + 1


class Tier(IntEnum):
    """What is waited for before the next one starts."""

    NAMESPACES = 0
    CRDS = 1
    OBJECTS = 2
    INTERCEPTORS = 3
    """Webhook configurations and admission policies: they would judge, or block, what comes after them."""


_INTERCEPTORS: Final = frozenset(
    KindRef("admissionregistration.k8s.io", kind)
    for kind in (
        "MutatingAdmissionPolicy",
        "MutatingAdmissionPolicyBinding",
        "MutatingWebhookConfiguration",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
        "ValidatingWebhookConfiguration",
    )
)


def tier(kind: KindRef) -> Tier:
    """The tier of a kind."""
    if kind == NAMESPACE:
        return Tier.NAMESPACES
    if kind == CRD:
        return Tier.CRDS
    return Tier.INTERCEPTORS if kind in _INTERCEPTORS else Tier.OBJECTS


def kind_rank(kind: KindRef) -> int:
    """The place of a kind within a wave; kinds that are not in the table (custom resources) come after the known ones."""
    if kind.kind == "APIService":
        return _API_SERVICES
    return _KINDS.get(kind.kind, _OTHER_KINDS)


def _step(change: Change) -> tuple[int, int, int, int, int]:
    """Changes with the same step are carried out together: (phase, deleting, early tier, wave, late tier)."""
    phase, level = _PHASES[change.phase], tier(change.ref.kind_ref)
    if change.action is Action.DELETE:
        last = {Tier.CRDS: 1, Tier.NAMESPACES: 2}.get(level, 0)
        return (phase, 1, last, -change.wave, 0 if level is Tier.INTERCEPTORS else 1)
    early = min(level, Tier.OBJECTS)
    wave = 0 if early is not Tier.OBJECTS else change.wave
    return (phase, 0, early, wave, 1 if level is Tier.INTERCEPTORS else 0)


def sort_key(change: Change) -> tuple[object, ...]:
    """The whole ordering policy."""
    rank = kind_rank(change.ref.kind_ref)
    rank = -rank if change.action is Action.DELETE else rank
    return (*_step(change), rank, change.ref.group, change.ref.kind, change.ref.namespace, change.ref.name)


def arrange(changes: Iterable[Change]) -> tuple[Change, ...]:
    """The changes in the order in which they are carried out."""
    return tuple(sorted(_needed_first(list(changes)), key=sort_key))


def _needed_first(changes: list[Change]) -> Iterator[Change]:
    """A namespace or CRD that an earlier phase already needs (a hook that runs in it) is moved to that phase."""
    needed: dict[tuple[KindRef, str], Phase] = {}
    for change in changes:
        if change.action is Action.DELETE:
            continue
        for need in ((NAMESPACE, change.ref.namespace), (change.ref.kind_ref, "")):
            if need not in needed or _PHASES[change.phase] < _PHASES[needed[need]]:
                needed[need] = change.phase
    for change in changes:
        need = _provides(change)
        phase = needed.get(need, change.phase) if need else change.phase
        earlier = change.action is not Action.DELETE and _PHASES[phase] < _PHASES[change.phase]
        yield replace(change, phase=phase) if earlier else change


def _provides(change: Change) -> tuple[KindRef, str] | None:
    """What others need of this object: the namespace it is, or the kind that it defines."""
    if change.ref.kind_ref == NAMESPACE:
        return (NAMESPACE, change.ref.name)
    if change.ref.kind_ref == CRD and change.desired is not None:
        spec = change.desired.body.get("spec")
        names = spec.get("names") if isinstance(spec, dict) else None
        if isinstance(spec, dict) and isinstance(names, dict):
            return (KindRef(str(spec.get("group", "")), str(names.get("kind", ""))), "")
    return None


@dataclass(frozen=True, slots=True)
class Batch:
    """Changes that are carried out together, before anything of the next batch begins.

    `established`: they are namespaces or CRDs, and the next batch needs them to be usable, whatever the policy about
    waiting for health says.
    """

    phase: Phase
    wave: int
    deleting: bool
    established: bool
    changes: tuple[Change, ...]


def batches(changes: Iterable[Change]) -> tuple[Batch, ...]:
    """Changes in order (`arrange`), cut where something must be waited for. UNCHANGED ones take part: they may not be healthy."""
    found: list[Batch] = []
    for step, group in groupby(changes, key=_step):
        members = tuple(group)
        deleting, early = step[1] == 1, not step[1] and step[2] < Tier.OBJECTS
        found.append(Batch(members[0].phase, members[0].wave, deleting, early, members))
    return tuple(found)
