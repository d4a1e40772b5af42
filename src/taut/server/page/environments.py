"""The same application in several environments: which is which, in which order, and what differs. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from taut.model.status import SyncStatus
from taut.server.page.addresses import short_commit
from taut.server.page.facts import Facts
from taut.server.page.rope import Rope
from taut.server.views import ImageView

_NAMES = ("app.kubernetes.io/name", "app")
"""The labels that may name an application whatever environment it is in."""
_ORDER = (
    ("local", "dev", "development", "sandbox"),
    ("test", "testing", "ci", "qa", "int", "integration"),
    ("stage", "staging", "uat", "preprod", "pre-production"),
    ("prod", "production", "live"),
)


@dataclass(frozen=True, slots=True)
class Family:
    """One application wherever it runs, the nearest to a developer first."""

    project: str
    name: str
    members: Sequence[Facts]

    @property
    def revisions(self) -> int:
        """How many different revisions run."""
        return len({f.status.revision for f in self.members})


@dataclass(frozen=True, slots=True)
class Row:
    """One value in all environments. `differs` holds for each whether it is another one than in the first."""

    title: str
    values: Sequence[str]
    moves: bool = False
    """Whether it moves from one environment to the next with a revision; other values are often different on purpose."""

    @property
    def differs(self) -> bool:
        """Whether they are not all the same."""
        return len(set(self.values)) > 1


def families(fleet: Sequence[Facts]) -> list[Family]:
    """All applications by what they are; those that run in several environments first."""
    found: dict[tuple[str, str], list[Facts]] = {}
    for facts in fleet:
        found.setdefault((facts.status.project, family_name(facts)), []).append(facts)
    made = [Family(project, name, sorted(members, key=_place)) for (project, name), members in found.items()]
    return sorted(made, key=lambda f: (len(f.members) < 2, f.project, f.name))


def family_name(facts: Facts) -> str:
    """What it is called everywhere: a label, or its name without the environment and the cluster in it."""
    status = facts.status
    for label in _NAMES:
        if named := status.labels.get(label):
            return named
    name = status.name
    for word in (facts.environment, status.cluster):
        if word:
            cut = re.sub(rf"(^{re.escape(word)}[-.]|[-.]{re.escape(word)}$)", "", name)
            name = cut or name
    return name


def _place(facts: Facts) -> tuple[int, str, str]:
    return environment_rank(facts.environment), facts.environment, facts.status.key


def environment_rank(name: str) -> int:
    """How far an environment is from a developer; those that nobody knows stand before production."""
    words = set(re.split(r"[^a-z]+", name.lower())) | {name.lower()}
    return next((n for n, known in enumerate(_ORDER) if words & set(known)), len(_ORDER) - 2)


def gap(before: Facts, after: Facts) -> Rope:
    """What lies between two neighbours."""
    if after.status.held_for:
        return Rope("r-knot", "held", "waits for a decision")
    if not after.status.desired_revision or after.status.sync is SyncStatus.UNKNOWN:
        return Rope("r-unseen", "mute", "not known")
    if short_commit(before.status.desired_revision) == short_commit(after.status.desired_revision):
        return Rope("r-taut", "mute", "same revision")
    return Rope("r-ahead", "run", "another revision")


def matrix(family: Family, images: Mapping[str, Sequence[ImageView]]) -> list[Row]:
    """Every value that is known, environment by environment. `images` are by the application's key."""
    members = family.members
    rows = [
        Row("Git says", [short_commit(f.status.desired_revision) or "not known" for f in members], moves=True),
        Row("Live is", [short_commit(f.status.revision) or "nothing yet" for f in members], moves=True),
    ]
    named = {f.status.key: {(i.object, i.container): i.image for i in images.get(f.status.key, ())} for f in members}
    places = dict.fromkeys(place for found in named.values() for place in found)
    objects = len({obj for obj, _ in places})
    for obj, container in places:
        title = f"image {container}" if objects <= 1 else f"image {obj.partition(' ')[2]} / {container}"
        rows.append(Row(title, [named[f.status.key].get((obj, container), "not there") for f in members], moves=True))
    rows += [
        Row("Source", [f"{f.status.source_path or '.'}" for f in members]),
        Row("Namespace", [f.status.target_namespace or "none" for f in members]),
        Row("Mode", [f.status.mode for f in members]),
        Row("Objects", [f"{f.status.objects}" for f in members]),
        Row("Suspended", ["yes" if f.status.suspended else "no" for f in members]),
    ]
    return rows


def short_image(image: str) -> str:
    """An image without its registry, its digest cut: `web@41d07aa3`, `web:1.2`."""
    name = image.rpartition("/")[2]
    head, at, digest = name.partition("@")
    return f"{head.partition(':')[0]}@{digest.removeprefix('sha256:')[:12]}" if at else name
