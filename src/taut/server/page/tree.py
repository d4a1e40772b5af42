"""The tree of an application's objects as a picture: a red line leads to the cause, what is healthy folds into piles. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from taut.model.health import HealthStatus
from taut.model.status import SyncStatus
from taut.server.page.rope import TODO, Mark, health_mark
from taut.server.page.sentences import plural
from taut.server.views import TreeNode

ROW, HEIGHT = 40, 32
WIDTH, STEP = 216, 264
TOP = 40
_PILE = 4
"""From so many healthy siblings of one kind on they become a pile."""
_FEW = 8
"""Up to so many healthy single objects that Git declares stand for themselves."""
_LARGE = 300
_LOUD = 30
_LINE = 27
"""So many characters fit into a line of a box."""
_OPEN = 50
_DIFFERS = "differs"
_TITLES = ("Application", "Declared in Git", "Made by the cluster", "Pods and volumes")
_ENDS = frozenset({"Pod", "PersistentVolumeClaim"})
"""Kinds that stand in the last column."""


@dataclass(slots=True)
class Branch:
    """One object, or a pile of them (`pile` counts its members), with what belongs to it."""

    id: str
    kind: str
    name: str
    mark: Mark
    tone: str = ""
    info: str = ""
    message: str = ""
    pile: int = 0
    hot: bool = False
    """On the way to something that is wrong."""
    children: list[Branch] = field(default_factory=list["Branch"])


@dataclass(frozen=True, slots=True)
class Box:
    """A branch in its place. `name` and `info` are cut to fit; `title` is whole."""

    branch: Branch
    x: int
    y: float
    name: str
    info: str
    title: str


@dataclass(frozen=True, slots=True)
class Edge:
    """A line between two boxes, as an SVG path."""

    path: str
    hot: bool
    todo: bool


@dataclass(frozen=True, slots=True)
class Picture:
    """All of it, in the units of the SVG."""

    width: int
    height: int
    boxes: Sequence[Box]
    edges: Sequence[Edge]
    columns: Sequence[tuple[int, str]]


def grow(
    name: str, mark: Mark, nodes: Sequence[TreeNode], opened: frozenset[str], aged: Callable[[str], str]
) -> Branch:
    """The tree of an application. `opened` are the piles that are to be shown, `aged` tells how old something is."""
    by_parent: dict[str, list[TreeNode]] = {}
    known = {node.id for node in nodes}
    for node in nodes:
        by_parent.setdefault(node.parent if node.parent in known else "", []).append(node)
    large = len(nodes) > _LARGE
    root = Branch("", "Application", name, mark, info=plural(len(nodes), "object"), tone="is-root")
    seen: set[str] = set()

    def below(parent: str) -> list[Branch]:
        found: list[Branch] = []
        for node in by_parent.get(parent, ()):
            if node.id not in seen:
                seen.add(node.id)
                made = _branch(node, aged)
                made.children = _folded(node.id, below(node.id), opened, large=large)
                made.hot = made.tone == "is-bad" or any(child.hot for child in made.children)
                found.append(made)
        return found

    root.children = _folded("", below(""), opened, large=large)
    root.hot = any(child.hot for child in root.children)
    return root


def _branch(node: TreeNode, aged: Callable[[str], str]) -> Branch:
    bad = node.health in (HealthStatus.DEGRADED, HealthStatus.UNKNOWN)
    todo = node.health is HealthStatus.MISSING
    tone = "is-bad" if bad else "is-todo" if todo else "is-run" if node.health is HealthStatus.PROGRESSING else ""
    mark = TODO if todo else health_mark(node.health)
    if tone in ("is-bad", "is-run"):
        info = node.message
    elif node.sync is SyncStatus.OUT_OF_SYNC and not todo:
        info = _DIFFERS
    else:
        info = "to come" if todo else aged(node.created)
    return Branch(node.id, node.kind, node.name, mark, tone, info, node.message)


def _calm(branch: Branch) -> bool:
    return not branch.hot and not branch.tone and branch.info != _DIFFERS and all(map(_calm, branch.children))


def _folded(parent: str, children: list[Branch], opened: frozenset[str], *, large: bool) -> list[Branch]:
    """Siblings with the healthy ones in piles; those that need someone first."""
    loud = [c for c in children if not _calm(c)]
    calm = [c for c in children if _calm(c)]
    loud.sort(key=lambda c: not c.hot)
    shown = [*loud[:_LOUD]]
    if len(loud) > _LOUD:
        shown += _pile(f"{parent}:loud", loud[_LOUD:], opened)
    if large or (not parent and _singles(calm) > _FEW):
        whole = [c for c in calm if c.children and not large]
        return [*shown, *whole, *_pile(f"{parent}:calm", [c for c in calm if c not in whole], opened)]
    by_kind: dict[str, list[Branch]] = {}
    for child in calm:
        by_kind.setdefault(child.kind, []).append(child)
    for kind, members in by_kind.items():
        leaves = [m for m in members if not m.children]
        idle = kind == "ReplicaSet" and len(leaves) > 1
        if len(members) >= _PILE or idle:
            whole = [m for m in members if m not in leaves]
            shown += (
                [*whole, *_pile(f"{parent}:{kind}", leaves, opened)]
                if len(whole) < _PILE
                else _pile(f"{parent}:{kind}", members, opened)
            )
        else:
            shown += members
    return shown


def _singles(branches: Sequence[Branch]) -> int:
    return sum(1 for b in branches if not b.children)


def _pile(id: str, members: list[Branch], opened: frozenset[str]) -> list[Branch]:
    """One box for many; when it is open, its members, and a pile for those that are too many at once."""
    if len(members) < 2:
        return members
    if id in opened:
        return [*members[:_OPEN], *_pile(f"{id}+", members[_OPEN:], opened)]
    kinds = Counter(m.kind for m in members)
    bad = any(m.hot for m in members)
    mark = members[0].mark
    if len(kinds) == 1:
        kind = next(iter(kinds))
        name = (
            f"{len(members)} older, empty"
            if kind == "ReplicaSet" and not any(m.children for m in members)
            else f"{len(members)} alike"
        )
    else:
        kind, name = f"{len(members)} objects", ", ".join(f"{k} {n}" for k, n in kinds.most_common())
    return [Branch(id, kind, name, mark, "is-bad" if bad else "", "", "", len(members), bad)]


def causes(root: Branch) -> list[Branch]:
    """What is wrong by itself: the ends of the red line."""
    below = [cause for child in root.children for cause in causes(child)]
    return below or ([root] if root.tone == "is-bad" else [])


def draw(root: Branch) -> Picture:
    """Give every branch its place: leaves one below the other, parents in the middle of their children."""
    deepest = max(_depths(root, 0))
    last = max(2, deepest)
    boxes: list[Box] = []
    edges: list[Edge] = []
    row = 0

    def place(branch: Branch, depth: int) -> tuple[int, float]:
        nonlocal row
        column = last if branch.kind in _ENDS and not branch.children and depth >= 2 else depth
        placed = [(child, place(child, depth + 1)) for child in branch.children]
        if placed:
            y = (placed[0][1][1] + placed[-1][1][1]) / 2
        else:
            y = TOP + row * ROW + HEIGHT / 2
            row += 1
        x = column * STEP
        for child, (child_x, child_y) in placed:
            edges.append(Edge(_line(x + WIDTH, y, child_x, child_y), child.hot, child.tone == "is-todo"))
        boxes.append(_box(branch, x, y))
        return x, y

    place(root, 0)
    edges.sort(key=lambda e: e.hot)
    titles = [(n * STEP, _TITLES[n] if n < 3 else _TITLES[3] if n == last else "") for n in range(last + 1)]
    return Picture(last * STEP + WIDTH + 8, TOP + max(1, row) * ROW, boxes, edges, titles)


def _depths(branch: Branch, depth: int) -> Iterator[int]:
    yield depth
    for child in branch.children:
        yield from _depths(child, depth + 1)


def _box(branch: Branch, x: int, y: float) -> Box:
    info = _cut(branch.info, _LINE - len(branch.kind))
    title = f"{branch.kind} {branch.name}" + (f": {branch.message}" if branch.message else "")
    return Box(branch, x, y, _middle(branch.name, _LINE - 2), info, title)


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    if abs(y1 - y2) < 1:
        return f"M{_n(x1)} {_n(y1)}H{_n(x2)}"
    turn = x1 + (STEP - WIDTH) / 2
    radius = min(8.0, abs(y2 - y1) / 2)
    down = radius if y2 > y1 else -radius
    return (
        f"M{_n(x1)} {_n(y1)}H{_n(turn - radius)}Q{_n(turn)} {_n(y1)} {_n(turn)} {_n(y1 + down)}"
        f"V{_n(y2 - down)}Q{_n(turn)} {_n(y2)} {_n(turn + radius)} {_n(y2)}H{_n(x2)}"
    )


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _cut(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    return f"{text[: most - 1].rstrip()}…" if most >= 9 else ""


def _middle(text: str, most: int) -> str:
    """A long name keeps its end: that is what tells Pods apart."""
    return text if len(text) <= most else f"{text[: most - 11]}…{text[-10:]}"
