"""Guards: what stops a plan until a person approves exactly that plan (DESIGN.md, rule 6)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from taut.model.application import Guards
from taut.model.manifests import Body
from taut.model.operation import Approval
from taut.model.plan import Action, Change, Hold, HoldKind, Plan
from taut.model.refs import AppKey, KindRef, ObjectRef
from taut.planning.normalise import CRD
from taut.planning.options import Removal, parse_annotations
from taut.planning.order import NAMESPACE

CLAIM = KindRef("", "PersistentVolumeClaim")
VOLUME = KindRef("", "PersistentVolume")
STATEFUL_SET = KindRef("apps", "StatefulSet")


@dataclass(frozen=True)
class Facts:
    """What the guards need to know of the target; what is not in a map is unknown, and unknown asks.

    `instances`: how many objects of a CRD's kind exist. `undeclared`: how many objects in a namespace would
    go with it, besides those that the plan deletes. `rendered`: how many objects the render gave, `managed` how many the inventory has (hooks do not count).
    """

    rendered: int
    managed: int
    rebuilt: bool = False
    deleting: bool = False
    instances: Mapping[ObjectRef, int] = field(default_factory=dict)
    undeclared: Mapping[ObjectRef, int] = field(default_factory=dict)


def guarded(plan: Plan, guards: Guards, facts: Facts, bodies: Mapping[ObjectRef, Body | None]) -> Plan:
    """The plan with a hold for each guard that it trips. `bodies` are the live ones that it was decided with.

    Removing a whole application counts against its root's share (`guard_root`), not its own; the guards for data apply
    always.
    """
    gone = [c for c in plan.changes if c.action is Action.DELETE and not c.hook]
    holds: list[Hold] = []
    if not facts.deleting:
        holds += _amounts(gone, guards, facts)
    for change in plan.changes:
        if change.hook and change.ref.kind_ref not in (CLAIM, VOLUME, NAMESPACE, CRD):
            continue  # an object that runs, and makes room for its next run; one that holds something asks like any other
        if change.action is Action.DELETE:
            holds += _deletion(change, facts, bodies.get(change.ref))
        elif change.action is Action.RECREATE:
            holds += _recreation(change)
    return plan.with_holds(*holds)


def _amounts(gone: list[Change], guards: Guards, facts: Facts) -> Iterator[Hold]:
    refs = tuple(c.ref for c in gone)
    if gone and facts.rendered == 0 and not guards.allow_empty:
        message = f"nothing was rendered, and {_count(facts.managed, 'object')} would go"
        yield Hold(HoldKind.EMPTY, message, refs)
    elif gone and _too_many(len(gone), facts.managed, guards.max_delete_share, guards.max_delete_count):
        yield Hold(HoldKind.SHARE, _share_message(len(gone), facts.managed, guards.max_delete_share, "object"), refs)
    if gone and facts.rebuilt:
        message = "the inventory was rebuilt from what the objects carry: the first deletion after that asks"
        yield Hold(HoldKind.REBUILT, message, refs)


def _too_many(removed: int, total: int, share: float, count: int) -> bool:
    return removed > count and removed > share * total


def _share_message(removed: int, total: int, share: float, what: str) -> str:
    return f"{removed} of {_count(total, what)} would go, which is more than {share:.0%}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _deletion(change: Change, facts: Facts, body: Body | None) -> Iterator[Hold]:
    ref, kind = change.ref, change.ref.kind_ref
    if kind in (CLAIM, VOLUME):
        yield Hold(HoldKind.DATA, f"{ref} would be deleted, and its data with it", (ref,))
    elif kind == STATEFUL_SET and _deletes_claims(body):
        yield Hold(HoldKind.DATA, f"{ref} would be deleted, and its volume claims with it", (ref,))
    elif kind == NAMESPACE:
        yield from _emptied(HoldKind.NAMESPACE, ref, facts.undeclared.get(ref), "that nobody asked to delete")
    elif kind == CRD:
        yield from _emptied(HoldKind.CRD, ref, facts.instances.get(ref), "of its kind")
    if _asks(body, facts.deleting):
        yield Hold(HoldKind.DATA, f"{ref} asks for confirmation before it is deleted", (ref,))


def _emptied(kind: HoldKind, ref: ObjectRef, inside: int | None, which: str) -> Iterator[Hold]:
    """A container that is not known to be empty."""
    if inside is None:
        yield Hold(kind, f"{ref} would be deleted, and what it holds is not known", (ref,))
    elif inside > 0:
        yield Hold(kind, f"{ref} would be deleted, and {_count(inside, 'object')} {which} with it", (ref,))


def _deletes_claims(body: Body | None) -> bool:
    """Whether the claims go with the StatefulSet; by default they stay."""
    if body is None:
        return True
    spec = body.get("spec")
    policy = spec.get("persistentVolumeClaimRetentionPolicy") if isinstance(spec, dict) else None
    return isinstance(policy, dict) and policy.get("whenDeleted") == "Delete"


def _asks(body: Body | None, deleting: bool) -> bool:
    metadata = (body or {}).get("metadata")
    if not isinstance(metadata, dict):
        return False
    options, _ = parse_annotations(metadata.get("annotations") or {}, metadata.get("labels") or {})
    return (options.delete if deleting else options.prune) is Removal.ASKS


def _recreation(change: Change) -> Iterator[Hold]:
    ref = change.ref
    if ref.kind_ref in (CLAIM, VOLUME):
        yield Hold(HoldKind.DATA, f"{ref} would be deleted and made again: its data would be lost", (ref,))
        return
    manifest = change.desired
    allowed = manifest is not None and parse_annotations(manifest.annotations, manifest.labels)[0].recreate
    if not allowed or ref.kind_ref in (NAMESPACE, CRD):
        why = "for the next run of its hook" if change.hook else "because an immutable field changes"
        message = f"{ref} would be deleted and made again, {why}"
        yield Hold(HoldKind.RECREATE, message, (ref,))


def guard_root(removed: Collection[AppKey], total: int, guards: Guards | None = None) -> Hold | None:
    """The hold for a root that loses all of several applications, or too large a share of them; None when it does not.

    A root that is emptied is more often a slip (a folder that moved, a wrong path) than a wish; `allowEmpty` says that it is one.
    """
    limits = guards or Guards()
    emptied = len(removed) == total > 1 and not limits.allow_empty
    if not emptied and not _too_many(len(removed), total, limits.max_delete_share, limits.max_delete_count):
        return None
    names = ", ".join(str(key) for key in sorted(removed)[:10]) + (" …" if len(removed) > 10 else "")
    message = (
        f"the root declares nothing any more, and {_count(total, 'application')} would go"
        if emptied
        else _share_message(len(removed), total, limits.max_delete_share, "application")
    )
    return Hold(HoldKind.ROOT_SHARE, f"{message}: {names}")


def holds_after(plan: Plan, approvals: Iterable[Approval]) -> tuple[Hold, ...]:
    """The holds that still stand: an approval lets pass only the very plan whose hash it carries, of its application."""
    passed = any(a.app == plan.app and a.plan_hash == plan.hash for a in approvals)
    return tuple(h for h in plan.holds if not (passed and h.approvable))


def stops(holds: Iterable[Hold]) -> bool:
    """Whether one of these holds stops the plan as a whole."""
    return any(h.stops for h in holds)
