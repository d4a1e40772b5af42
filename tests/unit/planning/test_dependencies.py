"""dependsOn: names, cycles, order."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taut.model.errors import BadInput
from taut.model.refs import AppKey
from taut.planning.dependencies import cycle_error, find_cycles, in_order, resolve

OWN = AppKey("main", "team", "web")


def key(name: str) -> AppKey:
    return AppKey("main", "", name)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("db", AppKey("main", "team", "db")),
        ("base", AppKey("main", "", "base")),
        ("unknown", AppKey("main", "team", "unknown")),
        ("other/db", AppKey("main", "other", "db")),
        ("infra/net/dns", AppKey("infra", "net", "dns")),
        ("infra//dns", AppKey("infra", "", "dns")),
    ],
)
def test_names(text: str, found: AppKey) -> None:
    assert resolve(text, OWN, {AppKey("main", "team", "db"), key("base")}) == found


@pytest.mark.parametrize("text", ["", "/", "a/", "/a", "a/b/c/d", "a//"])
def test_no_names(text: str) -> None:
    with pytest.raises(BadInput, match="names no application"):
        resolve(text, OWN, set())


def graph(text: str) -> dict[AppKey, set[AppKey]]:
    found: dict[AppKey, set[AppKey]] = {}
    for edge in text.split():
        one, _, other = edge.partition(">")
        found.setdefault(key(one), set()).update({key(other)} if other else set())
    return found


@pytest.mark.parametrize(
    ("edges", "cycles"),
    [
        ("a>b b>c", []),
        ("a>b a>c b>d c>d", []),
        ("a>a", ["a"]),
        ("a>b b>a", ["a b"]),
        ("c>a a>b b>c x>a", ["a b c"]),
        ("b>a a>b d>c c>d", ["a b", "c d"]),
    ],
)
def test_cycles(edges: str, cycles: list[str]) -> None:
    assert list(find_cycles(graph(edges))) == [tuple(key(n) for n in c.split()) for c in cycles]


def test_a_cycle_is_named() -> None:
    assert "main/a → main/b → main/a" in str(cycle_error((key("a"), key("b"))))


def test_order() -> None:
    assert [k.name for k in in_order(graph("web>db web>dns db>disk"))] == ["disk", "dns", "db", "web"]
    assert [k.name for k in in_order(graph("a>b b>a c"))] == ["c", "a", "b"]


def test_a_long_chain_is_no_problem() -> None:
    chain = {key(str(n)): {key(str(n + 1))} for n in range(5000)}
    assert find_cycles(chain) == ()
    assert in_order(chain)[0] == key("5000")


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from("abcdef"), st.frozensets(st.sampled_from("abcdef")), max_size=6))
def test_without_a_cycle_everything_comes_after_what_it_needs(edges: dict[str, frozenset[str]]) -> None:
    nodes = {key(k): {key(v) for v in vs} for k, vs in edges.items()}
    order = in_order(nodes)
    assert sorted(order) == sorted(set(nodes) | {v for vs in nodes.values() for v in vs})
    for cycle in find_cycles(nodes):
        assert all(other in nodes[one] for one, other in zip(cycle, (*cycle[1:], cycle[0]), strict=True))
    if not find_cycles(nodes):
        assert all(order.index(v) < order.index(k) for k, vs in nodes.items() for v in vs)
