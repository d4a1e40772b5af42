"""Names and selectors as people type them."""

from __future__ import annotations

import pytest

from taut.model.errors import BadInput
from taut.model.refs import AppKey
from taut.server.names import AmbiguousName, UnknownName, resolve
from taut.server.selector import parse_selector

KEYS = [
    AppKey("prod", "shop", "web"),
    AppKey("prod", "ops", "web"),
    AppKey("prod", "", "db"),
    AppKey("shop", "", "web"),
]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("prod/shop/web", KEYS[0]),
        ("ops/web", KEYS[1]),
        ("db", KEYS[2]),
        ("prod/db", KEYS[2]),
        ("shop/web", KEYS[3]),  # the exact key of one is the short form of another
    ],
)
def test_exact_and_unambiguous_names(text: str, found: AppKey) -> None:
    assert resolve(text, KEYS) == found


def test_candidates_and_nearest_names_are_named() -> None:
    with pytest.raises(AmbiguousName) as ambiguous:
        resolve("web", KEYS)
    assert ambiguous.value.advice == "say which: prod/ops/web, prod/shop/web, shop/web"
    with pytest.raises(UnknownName) as unknown:
        resolve("prod/shop/wep", KEYS)
    assert "prod/shop/web" in unknown.value.advice
    with pytest.raises(UnknownName, match="knows none yet"):
        resolve("web", [])
    many = [AppKey("r", f"n{i}", "x") for i in range(20)]
    with pytest.raises(AmbiguousName, match="and 12 more"):
        resolve("x", many)


@pytest.mark.parametrize(
    ("selector", "labels", "matches"),
    [
        ("", {}, True),
        ("a=b", {"a": "b"}, True),
        ("a==b", {"a": "c"}, False),
        ("a!=b", {}, True),
        ("a", {"a": ""}, True),
        ("!a", {"a": ""}, False),
        ("a in (b, c),d", {"a": "c", "d": "1"}, True),
        ("a in (b, c),d", {"a": "c"}, False),
        ("a notin (b,c)", {"a": "b"}, False),
        ("app.kubernetes.io/name=web", {"app.kubernetes.io/name": "web"}, True),
    ],
)
def test_selectors(selector: str, labels: dict[str, str], matches: bool) -> None:
    assert parse_selector(selector)(labels) is matches


@pytest.mark.parametrize("selector", ["a b", "=x", "a in b", "a=b c", "a in (b"])
def test_bad_selectors_are_named(selector: str) -> None:
    with pytest.raises(BadInput, match="no label selector"):
        parse_selector(selector)
