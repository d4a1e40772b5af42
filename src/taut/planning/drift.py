"""Drift with a name: which fields somebody changed, what they are now, and who owns them since.

techniques: when anybody else changes a field, taut loses it from its field set; the set's difference is the list of fields,
and the manager that has the field now is the blame. A removal leaves no owner.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from taut.model.live import FIELD_MANAGER, FieldOwner
from taut.model.manifests import Body
from taut.planning.diff import Difference, field_change, project
from taut.planning.fields import MISSING, Entries, OwnerSets, managed_fields, owned_hash, owners_at, read_owners
from taut.planning.ignore import NOTHING, ResolvedIgnore
from taut.planning.redact import Redactor

NOBODY = FieldOwner("")


@dataclass(frozen=True, slots=True)
class DriftFinding:
    """One field that is not as taut applied it; an empty path is the whole object, which was deleted.

    `desired` and `found` are redacted where `secret`; `missing` says that there is nothing any more. `owner` has an empty
    manager when nobody owns the field now: it was removed.
    """

    path: str
    desired: Any = None
    found: Any = None
    owner: FieldOwner = NOBODY
    missing: bool = False
    secret: bool = False


@dataclass(frozen=True, slots=True)
class Drift:
    """What was found. `certain` is False when a dry-run must say whether it is one (taut's field set is gone, for one)."""

    findings: tuple[DriftFinding, ...] = ()
    certain: bool = True


def find_drift(
    applied: Body,
    live: Body | None,
    *,
    redact: Redactor,
    ignore: ResolvedIgnore = NOTHING,
    entries: Entries | None = None,
) -> Drift:
    """What somebody changed in `live` since taut applied `applied` (the body as it was sent).

    Fields that taut still owns are as they were left, whatever a webhook made of them. Raises BadInput as
    `prepare.canonical_body` does.
    """
    if live is None:
        return Drift((DriftFinding("", missing=True),))
    fields = managed_fields(live) if entries is None else entries
    known = bool(owned_hash(fields))
    differences = project(applied, live, entries=fields, ignore=ignore, unchanged_since_apply=known)
    found = [d for d in differences if d.after is not MISSING]
    owners = read_owners(fields)
    findings = sorted((_finding(d, live, owners, redact) for d in found), key=lambda f: f.path)
    return Drift(tuple(findings), known and all(d.certain for d in found))


def _finding(difference: Difference, live: Body, owners: OwnerSets, redact: Redactor) -> DriftFinding:
    shown = field_change(difference, live=live, owners=owners, redact=redact)
    others = [owner for owner in owners_at(owners, difference.path) if owner.manager != FIELD_MANAGER]
    missing = difference.before is MISSING
    return DriftFinding(
        path=shown.path,
        desired=shown.after,
        found=shown.before,
        owner=others[0] if others and not missing else NOBODY,
        missing=missing,
        secret=shown.secret,
    )
