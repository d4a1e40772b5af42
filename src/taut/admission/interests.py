"""From policies and the kinds that a cluster serves to the rules of a webhook: nothing is asked about that no policy speaks of."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from taut.admission.decision import Rule, joined
from taut.model.live import KindInfo
from taut.model.refs import KindRef
from taut.policy.review import Operation
from taut.policy.subresources import EPHEMERAL, SUBRESOURCES

WRITES = (Operation.CREATE, Operation.UPDATE)
_WRITABLE = frozenset({"create", "update", "patch"})
_REVIEWS = frozenset({"authentication.k8s.io", "authorization.k8s.io"})
"""Questions in the form of objects (token and access reviews): a policy that refuses one locks people out, and nothing is written by it."""
_SCALED = "scale"


class Reach(Protocol):
    """What a policy may be about."""

    def concerns(self, api_version: str, kind: str, resource: str = "") -> bool:
        """Whether it may have something to say of a kind, whose name in the API is `resource`."""
        ...


def rules_about(
    policies: Iterable[Reach],
    served: Iterable[KindInfo],
    operations: Callable[[Reach], Iterable[Operation]] = lambda _: WRITES,
) -> tuple[Rule, ...]:
    """What to ask about for these policies: of each kind that one of them concerns the versions, and the operations of all of those; the
    subresources that they name; and ephemeral containers with Pods.
    """
    listed, found = list(policies), list[Rule]()
    for info in served:
        if info.ref.group in _REVIEWS or not info.verbs & _WRITABLE:
            continue
        about: dict[str, frozenset[Operation]] = {}
        for version in info.versions:
            api_version = f"{info.ref.group}/{version}" if info.ref.group else version
            does = frozenset(
                o for p in listed if p.concerns(api_version, info.ref.kind, info.plural) for o in operations(p)
            )
            if does:
                about[version] = does
        for does in set(about.values()):
            versions = tuple(v for v, found_ in about.items() if found_ == does)
            found.append(Rule(info.ref.group, versions, (info.plural,), tuple(sorted(does))))
            if (info.ref.group, info.plural) == ("", "pods") and Operation.UPDATE in does:
                found.append(Rule("", versions, (f"pods/{EPHEMERAL}",), (Operation.UPDATE,)))
    found += (
        Rule(s.group, ("*",), (s.path,), (s.operation,))
        for s in SUBRESOURCES
        if any(p.concerns(s.api_version, s.kind, s.path) for p in listed)
    )
    return joined(found)


def rules_for_managed(kinds: Iterable[KindInfo]) -> tuple[Rule, ...]:
    """Every change of objects of these kinds, with that of their scale: by it replicas are set. Their status is nobody's drift."""
    return joined(
        [
            Rule(
                info.ref.group,
                ("*",),
                (info.plural, f"{info.plural}/{_SCALED}"),
                (Operation.CREATE, Operation.UPDATE, Operation.DELETE),
            )
            for info in kinds
            if info.ref.group not in _REVIEWS
        ]
    )


def resources(kinds: Iterable[KindInfo]) -> dict[tuple[str, str], KindRef]:
    """The kinds by group and plural: a request for `deployments/scale` speaks of a Scale, and changes a Deployment."""
    return {(info.ref.group, info.plural): info.ref for info in kinds}
