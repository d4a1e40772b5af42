"""Desired and live become a plan, in two pure stages.

`survey` sorts everything by what is remembered (hashes and projections), and says which full bodies it needs to be sure;
`decide` makes the plan from these bodies, and from dry-runs where its own projection was uncertain.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final

from taut.model.health import HealthStatus
from taut.model.live import RUN_KEY, LiveObject
from taut.model.manifests import Body, Manifest
from taut.model.plan import WRITES, Action, Change, FieldChange, Hold, HoldKind, InventoryItem, Phase, Plan
from taut.model.refs import AppKey, ObjectRef
from taut.planning.diff import Comparison, compare, confirm, unowned
from taut.planning.fields import absorb, managed_fields, owned_fields, owned_hash
from taut.planning.ignore import ResolvedIgnore, resolve
from taut.planning.order import arrange
from taut.planning.ownership import checked_owner, owner_annotation, owner_app
from taut.planning.prepare import for_apply
from taut.planning.prune import PRUNING_OFF, Removals, destroyed_hash, removal
from taut.planning.redact import Redactor
from taut.planning.wanted import Wanted

COMPLETED = "completed"
"""In an InventoryItem's `extra`: the desired hash with which a Job completed. Its TTL may remove it; that is no drift."""

_DELETION_PHASES = frozenset({Phase.PRE_DELETE, Phase.POST_DELETE})

BEING_DELETED: Final = "it is being deleted"
"""The reason of an UNCHANGED object that is not what Git says: it is made again when it is gone."""

type LiveLookup = Callable[[ObjectRef], LiveObject | None]


@dataclass(frozen=True)
class Circumstances:
    """Everything about a plan that is neither desired nor live.

    `moved_from`: objects that another application gives up, `claimed_by` the other way round; `left_to` and `unclear`: see `Removals`.
    `elsewhere`: objects in other applications' inventories. `unsettled`: objects of unknown scope, which are removed with
    the application only.
    `selected`: only these objects (no hooks). `ran`: keys of hook runs that finished. `run_hooks` None: with any write.
    `rebuilt`: the store was lost, and with it which hooks ran: what others changed since is no reason to run them again.
    """

    app: AppKey
    redact: Redactor
    revision: str = ""
    prune: bool = True
    deleting: bool = False
    orphan: bool = False
    moved_from: Mapping[ObjectRef, AppKey] = field(default_factory=dict)
    let_go: frozenset[ObjectRef] = frozenset()
    """Objects whose mark is that of an application that does not want them any more, whoever's inventory holds them."""
    claimed_by: Mapping[ObjectRef, AppKey] = field(default_factory=dict)
    left_to: Mapping[ObjectRef, AppKey] = field(default_factory=dict)
    unclear: Mapping[ObjectRef, AppKey] = field(default_factory=dict)
    elsewhere: Mapping[ObjectRef, AppKey] = field(default_factory=dict)
    unsettled: frozenset[ObjectRef] = frozenset()
    selected: frozenset[ObjectRef] | None = None
    ran: frozenset[str] = frozenset()
    run_hooks: bool | None = None
    rebuilt: bool = False

    @property
    def removals(self) -> Removals:
        """The part that is about removing."""
        return Removals(
            app=self.app,
            redact=self.redact,
            prune=self.prune,
            deleting=self.deleting,
            orphan=self.orphan,
            claimed_by=self.claimed_by,
            left_to=self.left_to,
            moved_from=self.moved_from,
            unclear=self.unclear,
        )


@dataclass(frozen=True)
class Survey:
    """What is known without reading an object.

    `settled` are changes that need nothing more (unchanged, creates, held); `open` need their live body, `removed` too.
    `need_body` names both: the caller reads them, in the version of `versions`.
    """

    circumstances: Circumstances
    settled: tuple[Change, ...]
    open: tuple[tuple[Wanted, LiveObject], ...]
    removed: tuple[tuple[InventoryItem, LiveObject | None], ...]
    hooks: tuple[tuple[Wanted, LiveObject | None], ...]
    inventory: Mapping[ObjectRef, InventoryItem]
    holds: tuple[Hold, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def need_body(self) -> tuple[ObjectRef, ...]:
        """The objects whose live body must be read."""
        removed = [item.ref for item, live in self.removed if live is not None]
        return (*(wanted.ref for wanted, _ in self.open), *removed)

    @property
    def versions(self) -> Mapping[ObjectRef, str]:
        """The API version in which each of `need_body` is read: the one that Git uses."""
        removed = {item.ref: item.api_version for item, live in self.removed if live is not None}
        return removed | {wanted.ref: wanted.manifest.api_version for wanted, _ in self.open}

    @property
    def deletions(self) -> tuple[ObjectRef, ...]:
        """The objects that are no longer wanted; `decide` may still keep some."""
        return tuple(item.ref for item, _ in self.removed)


def is_unchanged(wanted: Wanted, item: InventoryItem | None, live: LiveObject, app: AppKey) -> bool:
    """Whether the object is as taut left it for `app`, without a look at it (techniques: drift without a comparison).

    Another application's mark is a value that taut itself wrote: the set of its fields does not tell.
    """
    return (
        item is not None
        and not item.pending
        and bool(item.owned_hash)
        and item.desired_hash == wanted.hash
        and item.owned_hash == live.owned_hash
        and item.uid == live.uid
        and not live.deleting
        and (not live.owner or live.owner.startswith(f"{app}|"))
    )


def survey(
    objects: Iterable[Wanted],
    hooks: Iterable[Wanted],
    inventory: Iterable[InventoryItem],
    live: LiveLookup,
    circumstances: Circumstances,
) -> Survey:
    """Sort what is wanted and what is remembered by what must be looked at."""
    items = {item.ref: item for item in inventory}
    chosen = _chosen(circumstances)
    settled, open_, holds, warnings = list[Change](), list[tuple[Wanted, LiveObject]](), list[Hold](), list[str]()
    wanted_refs = set[ObjectRef]()
    for wanted in objects:
        wanted_refs.add(wanted.ref)
        if not chosen(wanted.ref):
            continue
        there = live(wanted.ref)
        hold = _foreign(wanted, there, circumstances)
        if hold is not None:
            holds.append(hold)
            continue
        change = _settle(wanted, items.get(wanted.ref), there, circumstances)
        if change is not None:
            settled.append(change)
        elif there is not None:
            open_.append((wanted, there))
        if there is not None and there.deleting:
            warnings.append(f"{wanted.ref} is being deleted; it is made again when it is gone")
    runs = [(h, live(h.ref)) for h in hooks if circumstances.selected is None]
    # Of an application that goes, only the hooks of its deletion are still wanted: the objects of all others go with it.
    awaited = {h.ref for h, _ in runs if not circumstances.deleting or h.phase in _DELETION_PHASES}
    wanted_refs |= awaited if circumstances.deleting else awaited | circumstances.unsettled
    removed = [(i, live(i.ref)) for i in items.values() if i.ref not in wanted_refs and chosen(i.ref)]
    return Survey(
        circumstances, tuple(settled), tuple(open_), tuple(removed), tuple(runs), items, tuple(holds), tuple(warnings)
    )


def _chosen(circumstances: Circumstances) -> Callable[[ObjectRef], bool]:
    selected = circumstances.selected
    return lambda ref: selected is None or ref in selected


def _settle(
    wanted: Wanted, item: InventoryItem | None, live: LiveObject | None, circumstances: Circumstances
) -> Change | None:
    """The change for what needs no look at the object; None when it does."""
    if wanted.options.skip:
        return _unchanged(wanted, live, "its annotation says that it is left alone")
    if live is None:
        if item is not None and item.extra.get(COMPLETED) == wanted.hash:
            return _unchanged(wanted, None, "it completed, and its time to live removed it")
        return _create(wanted, circumstances)
    if live.deleting:
        return _unchanged(wanted, live, BEING_DELETED)
    if wanted.options.once:
        return _unchanged(wanted, live, "it is made once, and exists")
    return _unchanged(wanted, live, "") if is_unchanged(wanted, item, live, circumstances.app) else None


def _change(wanted: Wanted, action: Action, **more: object) -> Change:
    base = Change(
        ref=wanted.ref,
        action=action,
        phase=wanted.phase,
        wave=wanted.wave,
        desired_hash=wanted.hash,
        origin=wanted.manifest.origin.place,
        hook=wanted.hook is not None,
        run_key=wanted.run_key,
    )
    return replace(base, **more)  # pyright: ignore[reportArgumentType] -- the names are Change's own


def _unchanged(wanted: Wanted, live: LiveObject | None, reason: str) -> Change:
    return _change(wanted, Action.UNCHANGED, uid=live.uid if live else "", reason=reason)


def _create(wanted: Wanted, circumstances: Circumstances) -> Change:
    body = for_apply(wanted.manifest, annotations=_annotations(wanted, circumstances))
    return _change(wanted, Action.CREATE, desired=Manifest(body, wanted.manifest.origin))


def _annotations(wanted: Wanted, circumstances: Circumstances) -> dict[str, str]:
    owner = owner_annotation(circumstances.app, wanted.ref)
    return {**owner, RUN_KEY: wanted.run_key} if wanted.run_key else owner


def _foreign(wanted: Wanted, live: LiveObject | None, circumstances: Circumstances) -> Hold | None:
    """The hold for an object of another application, unless that one gives it up in the same commit.

    Whose inventory holds it comes before whose mark it carries: the mark is written later.
    """
    mark = owner_app(live.owner) if live is not None and live.owner else None
    for owner in (circumstances.elsewhere.get(wanted.ref), mark):
        if owner in (None, circumstances.app, circumstances.moved_from.get(wanted.ref)):
            continue
        if owner == mark and wanted.ref in circumstances.let_go:
            continue
        return Hold(HoldKind.OWNED, f"{wanted.ref} belongs to the application {owner}", (wanted.ref,), approvable=False)
    return None


def decide(
    found: Survey,
    bodies: Mapping[ObjectRef, Body | None],
    dry_runs: Mapping[ObjectRef, Body] | None = None,
    *,
    immutable: Collection[ObjectRef] = (),
) -> Plan:
    """The plan.

    `bodies` are the live objects of `found.need_body` (None: gone meanwhile; KeyError for one that was not read: it must not be
    taken for gone). `dry_runs` are the server's answers for
    changes that an earlier decision called uncertain (`uncertain`). `immutable` are objects of which a dry-run or apply
    said that an immutable field changes. Guards are added by `guard.guarded`.
    """
    circumstances, answers = found.circumstances, dry_runs or {}
    changes = list(found.settled)
    for wanted, live in found.open:
        ref, body = wanted.ref, bodies[wanted.ref]
        if body is None:
            changes.append(_create(wanted, circumstances))
            continue
        case = _Case(wanted, live, found.inventory.get(ref), body, circumstances)
        changes.append(case.change(answers.get(ref), immutable=ref in immutable))
    changes += [removal(item, live, bodies.get(item.ref), circumstances.removals) for item, live in found.removed]
    writes = (c for c in changes if c.action in WRITES and not c.hook)
    runs, holds = _hook_changes(found, any(not (circumstances.rebuilt and _is_by_others(c)) for c in writes))
    return Plan(
        app=circumstances.app,
        changes=arrange([*changes, *runs]),
        holds=(*found.holds, *holds),
        warnings=(*found.warnings, *_kept(changes)),
        revision=circumstances.revision,
    )


def uncertain(plan: Plan) -> tuple[Change, ...]:
    """The changes that a dry-run must confirm before the plan is shown: apply `change.desired` with `dryRun=All`."""
    return tuple(c for c in plan.changes if not c.certain)


@dataclass(frozen=True)
class _Case:
    """One object that exists, and that Git wants."""

    wanted: Wanted
    live: LiveObject
    item: InventoryItem | None
    body: Body
    circumstances: Circumstances

    @cached_property
    def ignore(self) -> ResolvedIgnore:
        return resolve(self.wanted.rules, self.wanted.manifest.body, self.body)

    @cached_property
    def sent(self) -> Body:
        """What an apply would send."""
        annotations = _annotations(self.wanted, self.circumstances)
        return for_apply(self.wanted.manifest, annotations=annotations, ignore=self.ignore, live=self.body)

    @property
    def is_as_applied(self) -> bool:
        """Whether Git says what it said at the last apply."""
        item = self.item
        return (
            item is not None
            and not item.pending
            and bool(item.owned_hash)
            and item.desired_hash == self.wanted.hash
            and item.uid == self.live.uid
        )

    def change(self, dry_run: Body | None, *, immutable: bool) -> Change:
        """Compare, and choose the action."""
        redact, settled = self.circumstances.redact, self.is_as_applied
        result = compare(self.sent, self.body, redact=redact, ignore=self.ignore, unchanged_since_apply=settled)
        if dry_run is not None and not result.certain:
            result = self._confirmed(result, dry_run)
        change = _change(
            self.wanted,
            Action.UPDATE,
            desired=Manifest(self.sent, self.wanted.manifest.origin),
            fields=result.changes,
            certain=result.certain,
            uid=self.live.uid,
        )
        if immutable:
            reason = "an immutable field changes: it must be deleted and made again"
            lost = destroyed_hash(self.body, redact)
            return replace(change, action=Action.RECREATE, reason=reason, live_hash=lost, certain=True)
        if not self.live.owner and self.item is None:
            return replace(change, action=Action.ADOPT, reason="it exists, and no application owns it yet")
        if not result.changes and result.certain:
            return self._without_changes(change)
        mover = self.circumstances.moved_from.get(self.wanted.ref)
        return replace(change, reason=f"taken over from {mover}") if mover else change

    def _confirmed(self, projected: Comparison, dry_run: Body) -> Comparison:
        """The server's own difference, and on the first apply what the takeover of other managers' fields removes.

        A dry-run cannot show the latter: the managers are folded together with the real apply only.
        """
        changes = confirm(self.body, dry_run, redact=self.circumstances.redact, ignore=self.ignore)
        entries = managed_fields(self.body)
        if not len(owned_fields(entries)) and absorb(entries, self.wanted.manifest.api_version) is not None:
            known = {c.path for c in changes}
            extra: list[FieldChange] = [c for c in projected.changes if not c.after_set and c.path not in known]
            changes = tuple(sorted([*changes, *extra], key=lambda c: c.path))
        return Comparison(changes, certain=True)

    def _without_changes(self, change: Change) -> Change:
        """Nothing to do, or only ownership to win: somebody else wrote the same value, or cleared managedFields.

        What taut does not own would stay behind when Git drops it. Once applied, the hashes agree and nothing is asked.
        """
        if unowned(self.sent, managed_fields(self.body), self.ignore):
            return replace(change, reason="the values are right, and taut takes the fields over")
        return replace(change, action=Action.UNCHANGED, desired=None)


def _is_by_others(change: Change) -> bool:
    """Whether an update puts back only what other managers wrote: Git did not change it."""
    return change.action is Action.UPDATE and bool(change.fields) and all(f.owner for f in change.fields)


def _kept(changes: Iterable[Change]) -> Iterator[str]:
    for change in changes:
        if change.action is Action.UNCHANGED and change.reason == PRUNING_OFF:
            yield f"{change.ref} stays: {change.reason}"


def _hook_changes(found: Survey, writes: bool) -> tuple[list[Change], list[Hold]]:
    """The hooks of a sync (or of a deletion) that have not run yet for this content and revision."""
    circumstances = found.circumstances
    runs = writes if circumstances.run_hooks is None else circumstances.run_hooks
    changes, holds = list[Change](), list[Hold]()
    ran = circumstances.ran | _surpassed(found.hooks)
    for wanted, live in found.hooks:
        if not runs or (wanted.phase in _DELETION_PHASES) is not circumstances.deleting:
            continue
        hold = _foreign(wanted, live, circumstances)
        if hold is not None:
            holds.append(hold)
        else:
            changes.append(_hook_change(wanted, live, circumstances, ran))
    return changes, holds


def _surpassed(hooks: Iterable[tuple[Wanted, LiveObject | None]]) -> frozenset[str]:
    """The runs of which the same object's run in a later phase tells that they succeeded."""
    earlier: dict[ObjectRef, list[str]] = {}
    found: set[str] = set()
    for wanted, live in hooks:
        before = earlier.setdefault(wanted.ref, [])
        if live is not None and live.run_key == wanted.run_key and wanted.phase is not Phase.SYNC_FAIL:
            found.update(before)
        before.append(wanted.run_key)
    return frozenset(found)


def _hook_change(wanted: Wanted, live: LiveObject | None, circumstances: Circumstances, ran: Collection[str]) -> Change:
    """A hook that succeeded never runs again for its content and revision; one that failed does, with the next try."""
    same = live is not None and live.run_key == wanted.run_key
    failed = live is not None and live.health is not None and live.health.status is HealthStatus.DEGRADED
    if wanted.run_key in ran or (same and not failed):
        return _unchanged(wanted, live, "this hook ran already for this content and revision")
    change = _create(wanted, circumstances)
    if live is None:
        return change
    return replace(change, action=Action.RECREATE, uid=live.uid, reason="the object of an earlier run is replaced")


def remembered(found: Survey, plan: Plan, bodies: Mapping[ObjectRef, Body | None]) -> Iterator[InventoryItem]:
    """Inventory items whose memory should be refreshed although nothing was written.

    Git and the target agree, but by another way than the item remembers (a manager took over an ignored field, a comment
    changed the document): with the new hashes the next survey needs no body. An object that was let go of and is declared
    again comes back into the inventory. What is remembered is what was compared (`bodies`), not what is live by now:
    somebody may have changed it in between, and that must be noticed.
    """
    for change in plan.changes:
        body, item = bodies.get(change.ref), found.inventory.get(change.ref)
        if change.action is not Action.UNCHANGED or body is None or change.reason or change.hook:
            continue
        if item is None:
            if owner_app(checked_owner(body["metadata"].get("annotations") or {}, change.ref)) != plan.app:
                continue
            item = InventoryItem(change.ref, str(body["apiVersion"]), wave=change.wave)
        fresh = replace(
            item,
            desired_hash=change.desired_hash,
            owned_hash=owned_hash(managed_fields(body)),
            uid=str(body["metadata"].get("uid", "")),
            pending=False,
        )
        if fresh != item:
            yield fresh
