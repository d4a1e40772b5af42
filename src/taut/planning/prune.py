"""What becomes of an object that taut applied and Git no longer has, or whose application goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from taut.model.live import LiveObject
from taut.model.manifests import Body
from taut.model.plan import Action, Change, InventoryItem, Phase
from taut.model.refs import AppKey, ObjectRef
from taut.planning.diff import compared
from taut.planning.options import ObjectOptions, Removal, parse_annotations
from taut.planning.order import NAMESPACE
from taut.planning.ownership import owner_app
from taut.planning.redact import Redactor

PRUNING_OFF: Final = "Git no longer has it, and pruning is off"


@dataclass(frozen=True)
class Removals:
    """The circumstances of removing.

    `prune`: objects that left Git are deleted. `deleting`: the application itself goes, with `orphan` its objects stay.
    `claimed_by`: objects that another application declares: it takes them over, and until then they are kept here; or that this
    one declares under another name of the cluster. `left_to`: those that their claimant will not touch.
    `moved_from`: objects that were taken over from another application, which gave them up, and may carry its mark still.
    `unclear`: objects with another application's mark, of which it is not known now whether that one wants them.
    """

    app: AppKey
    redact: Redactor
    prune: bool = True
    deleting: bool = False
    orphan: bool = False
    claimed_by: Mapping[ObjectRef, AppKey] = field(default_factory=dict)
    left_to: Mapping[ObjectRef, AppKey] = field(default_factory=dict)
    moved_from: Mapping[ObjectRef, AppKey] = field(default_factory=dict)
    unclear: Mapping[ObjectRef, AppKey] = field(default_factory=dict)


def live_options(live: LiveObject, body: Body | None) -> ObjectOptions:
    """The options that an object in the target carries; without its body only whether it is protected is known."""
    metadata: Any = (body or {}).get("metadata")
    if not isinstance(metadata, dict):
        kept = Removal.NEVER if live.protected else Removal.ALLOWED
        return ObjectOptions(prune=kept, delete=kept)
    return parse_annotations(metadata.get("annotations") or {}, metadata.get("labels") or {})[0]


def destroyed_hash(body: Body | None, redact: Redactor) -> str:
    """A keyed hash of the content that a deletion destroys: without status and annotations, which controllers rewrite."""
    if body is None:
        return ""
    content = compared(body)
    labels = content.get("metadata", {}).get("labels", {})
    return redact.digest({**content, "metadata": labels})


def removal(item: InventoryItem, live: LiveObject | None, body: Body | None, how: Removals) -> Change:
    """The change for an inventory item that is no longer wanted: DELETE, RELEASE, or UNCHANGED when it is kept (pruning is off,
    or somebody else may take it over: who lets go before it is taken leaves it to nobody).
    """
    action, reason = _verdict(item, live, body, how)
    deleted = action is Action.DELETE
    return Change(
        ref=item.ref,
        action=action,
        phase=Phase.DELETE if how.deleting else Phase.SYNC,
        wave=item.wave,
        reason=reason,
        uid=live.uid if live else "",
        live_hash=destroyed_hash(body, how.redact) if deleted else "",
        hook=item.hook,
    )


def _verdict(item: InventoryItem, live: LiveObject | None, body: Body | None, how: Removals) -> tuple[Action, str]:
    """Each line is a reason to keep an object; what is left is deleted."""
    if live is None:
        return Action.RELEASE, "it is gone already"
    claimant = how.claimed_by.get(item.ref)
    if claimant == how.app:
        return Action.RELEASE, f"{claimant} has it under another name of its cluster"
    if claimant is not None:
        return Action.UNCHANGED, f"waits until {claimant} takes it over"
    if item.ref in how.left_to:
        return Action.RELEASE, f"{how.left_to[item.ref]} declares it, and leaves it alone"
    if live.owner and owner_app(live.owner) not in (how.app, how.moved_from.get(item.ref)):
        if item.ref in how.unclear:
            return Action.UNCHANGED, f"waits until it is known whether {how.unclear[item.ref]} wants it"
        return Action.RELEASE, f"it belongs to {owner_app(live.owner)} by now"
    if not live.owner and live.uid != item.uid:
        return Action.RELEASE, "somebody else made it again"
    if how.deleting and how.orphan:
        return Action.RELEASE, "the application's objects stay"
    if not how.deleting and not how.prune:
        return Action.UNCHANGED, PRUNING_OFF
    options = live_options(live, body)
    if (options.delete if how.deleting else options.prune) is Removal.NEVER:
        return Action.RELEASE, "its annotation forbids deleting it"
    if item.ref.kind_ref == NAMESPACE and not item.created_by_taut:
        return Action.RELEASE, "taut did not create this namespace"
    return Action.DELETE, "the application is removed" if how.deleting else "Git no longer has it"
