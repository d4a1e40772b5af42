"""The picture of objects: the red line, the piles, and the place of each box."""

from __future__ import annotations

import re

import pytest

from support.shop_backend import checkout_tree, large_tree
from taut.model.health import HealthStatus
from taut.model.shown import Shown
from taut.server.page.rope import MARKS
from taut.server.page.tree import HEIGHT, WIDTH, Branch, causes, draw, grow
from taut.server.views import TreeNode

NOW = 1_790_000_000.0


def tree(nodes: list[TreeNode], *opened: str) -> Branch:
    return grow("checkout", MARKS[Shown.DEGRADED], nodes, frozenset(opened), lambda at: "1 d" if at else "")


def every(branch: Branch) -> list[Branch]:
    return [branch, *(b for child in branch.children for b in every(child))]


def test_the_red_line_leads_to_the_cause_alone() -> None:
    root = tree(checkout_tree(NOW))
    assert [c.name for c in causes(root)] == ["checkout-api-6d9f8-4kq2m"]
    assert [b.name for b in every(root) if b.hot] == [
        "checkout",
        "checkout-api",
        "checkout-api-6d9f8",
        "checkout-api-6d9f8-4kq2m",
    ]
    picture = draw(root)
    assert sum(e.hot for e in picture.edges) == 3
    assert [e.hot for e in picture.edges] == sorted(e.hot for e in picture.edges)


def test_what_is_healthy_and_alike_folds_and_is_counted() -> None:
    root = tree(checkout_tree(NOW))
    piles = {b.name: b for b in every(root) if b.pile}
    assert piles["8 older, empty"].kind == "ReplicaSet"
    [single] = [b for b in root.children if b.pile]
    assert single.kind == "9 objects"
    shown = [b for b in every(root) if not b.pile and b.id]
    assert len(shown) + sum(b.pile for b in piles.values()) == len(checkout_tree(NOW))


def test_a_pile_opens() -> None:
    root = tree(checkout_tree(NOW))
    pile = next(b for b in every(root) if b.name == "8 older, empty")
    opened = tree(checkout_tree(NOW), pile.id)
    assert sum(b.kind == "ReplicaSet" for b in every(opened)) == sum(b.kind == "ReplicaSet" for b in every(root)) + 7


@pytest.mark.parametrize("count", [100, 300, 400, 3000])
def test_it_stays_readable(count: int) -> None:
    nodes = large_tree(count, NOW)
    root = tree(nodes)
    assert "part-3-abc-5" in [c.name for c in causes(root)]
    assert len(every(root)) <= 60
    picture = draw(root)
    assert picture.height < 3000
    assert sum(b.branch.pile or (1 if b.branch.id else 0) for b in picture.boxes) > 0


def test_a_large_pile_opens_in_parts() -> None:
    nodes = [
        TreeNode(
            id=f"/ConfigMap:a/c{n}",
            group="",
            kind="ConfigMap",
            namespace="a",
            name=f"c{n}",
            health=HealthStatus.HEALTHY,
        )
        for n in range(400)
    ]
    [pile] = tree(nodes).children
    assert pile.pile == 400
    opened = tree(nodes, pile.id).children
    assert (len(opened), opened[-1].pile) == (51, 350)
    further = tree(nodes, pile.id, opened[-1].id).children
    assert (len(further), further[-1].pile) == (101, 300)


def test_boxes_do_not_overlap_and_edges_meet_them() -> None:
    picture = draw(tree(checkout_tree(NOW)))
    places = [(b.x, b.y) for b in picture.boxes]
    for n, (x, y) in enumerate(places):
        assert 0 <= x <= picture.width - WIDTH
        assert HEIGHT / 2 <= y <= picture.height - HEIGHT / 2
        assert all(x != x2 or abs(y - y2) >= HEIGHT for x2, y2 in places[n + 1 :])
    starts = {(round(x + WIDTH, 1), round(y, 1)) for x, y in places}
    ends = {(round(x, 1), round(y, 1)) for x, y in places}
    for edge in picture.edges:
        numbers = [float(n) for n in re.findall(r"-?[\d.]+", edge.path)]
        assert (numbers[0], numbers[1]) in starts
        last_y = float(re.findall(r"Q[\d. -]+ ([\d.]+)H", edge.path)[-1]) if "Q" in edge.path else numbers[1]
        assert (numbers[-1], last_y) in ends


def test_a_circle_of_owners_ends() -> None:
    nodes = [
        TreeNode(id="/Pod:a/x", group="", kind="Pod", namespace="a", name="x", parent="/Pod:a/y"),
        TreeNode(id="/Pod:a/y", group="", kind="Pod", namespace="a", name="y", parent="/Pod:a/x"),
        TreeNode(id="/Pod:a/z", group="", kind="Pod", namespace="a", name="z", parent="/Pod:a/gone"),
    ]
    assert [b.name for b in every(tree(nodes))] == ["checkout", "z"]
    assert draw(tree([])).boxes[0].branch.name == "checkout"
