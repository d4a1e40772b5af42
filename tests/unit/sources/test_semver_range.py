from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taut.model.errors import BadInput
from taut.sources.semver_range import best_version, is_range, parse_range, parse_version

MATCHES = [
    # range, inside, outside
    ("1.x", "1.0.0 1.9.9 v1.2.3", "0.9.9 2.0.0 1.0.0-rc.1 2.0.0-alpha"),
    ("1.X", "1.2.3", "2.0.0"),
    ("1.2.x", "1.2.0 1.2.99", "1.3.0 1.1.9"),
    ("1.2.*", "1.2.0", "1.3.0"),
    ("1", "1.0.0 1.5.0", "2.0.0 0.1.0"),
    ("1.2", "1.2.0 1.2.7", "1.3.0"),
    ("*", "0.0.1 99.0.0", "1.0.0-alpha"),
    ("x", "0.0.1", "1.0.0-alpha"),
    ("~1.2", "1.2.0 1.2.9", "1.3.0 1.1.0"),
    ("~1.2.3", "1.2.3 1.2.9", "1.2.2 1.3.0"),
    ("~1", "1.0.0 1.9.0", "2.0.0"),
    ("~>1.2.3", "1.2.5", "1.3.0"),
    ("^1", "1.0.0 1.99.0", "2.0.0 0.9.0 2.0.0-alpha"),
    ("^1.2.3", "1.2.3 1.3.0", "1.2.2 2.0.0"),
    ("^0.2.3", "0.2.3 0.2.9", "0.3.0 0.2.2"),
    ("^0.0.3", "0.0.3", "0.0.4 0.1.0"),
    ("^0.0", "0.0.0 0.0.9", "0.1.0"),
    ("^0", "0.0.0 0.9.9", "1.0.0"),
    ("^0.2", "0.2.0 0.2.5", "0.3.0"),
    (">=1.2 <2", "1.2.0 1.99.99", "1.1.9 2.0.0"),
    (">=1.2, <2", "1.2.0", "2.0.0"),
    (">=1.2,<2", "1.2.0", "2.0.0"),
    (">= 1.2 < 2", "1.2.0", "2.0.0"),
    (">1.2", "1.3.0 2.0.0", "1.2.0 1.2.9"),
    (">1", "2.0.0", "1.9.9"),
    (">1.2.3", "1.2.4", "1.2.3"),
    ("<=1.2", "1.2.9 1.0.0", "1.3.0"),
    ("<=1.2.3", "1.2.3", "1.2.4"),
    ("<1.2", "1.1.9", "1.2.0"),
    ("=1.2.3", "1.2.3 v1.2.3", "1.2.4"),
    ("1.2.3", "1.2.3", "1.2.4"),
    ("v1.2.3", "1.2.3", "1.2.4"),
    ("!=1.2.3", "1.2.4 1.0.0", "1.2.3"),
    ("!=1.x", "2.0.0 0.1.0", "1.5.0"),
    ("1.2.x || 2.x", "1.2.5 2.7.0", "1.3.0 3.0.0"),
    ("1.2.x||2.x", "2.7.0", "3.0.0"),
    ("1.2 - 1.4.5", "1.2.0 1.4.5", "1.1.9 1.4.6"),
    ("1.2 - 1.4", "1.4.9", "1.5.0"),
    (">=1.2.0-0 <2", "1.3.0-alpha 1.2.0", "2.0.0 1.1.0"),
    (">=1.0.0-beta", "1.0.0-beta 1.0.0-beta.2 1.0.0-rc.1 1.0.0", "1.0.0-alpha 0.9.0"),
    ("^1.0.0-0", "1.0.0-alpha 1.5.0 1.5.0-rc.1", "2.0.0-alpha 2.0.0"),
    ("~1.2.3-beta.1", "1.2.3-beta.2 1.2.4", "1.3.0 1.2.3-alpha"),
    ("1.0.0-rc.1", "1.0.0-rc.1", "1.0.0 1.0.0-rc.2"),
]


@pytest.mark.parametrize(("text", "inside", "outside"), MATCHES, ids=[row[0] for row in MATCHES])
def test_range(text: str, inside: str, outside: str) -> None:
    wanted = parse_range(text)
    assert [v for v in inside.split() if v not in wanted] == []
    assert [v for v in outside.split() if v in wanted] == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "main",
        "1.2.3.4",
        "||",
        "1.x ||",
        ">",
        "release-1",
        "1..2",
        "feature/1",
        "^",
        "latest",
        "1.2.3 foo",
        "9" * 600,
    ],
)
def test_what_is_no_range(text: str) -> None:
    assert not is_range(text)
    with pytest.raises(BadInput, match="no range"):
        parse_range(text)


@pytest.mark.parametrize(
    ("candidates", "wanted", "prefix", "best"),
    [
        (["v1.0.0", "v1.10.0", "v1.9.0", "latest"], "1.x", "", "v1.10.0"),
        (["app-1.0.0", "app-1.1.0", "web-9.0.0", "1.5.0"], "^1", "app-", "app-1.1.0"),
        (["1.0.0", "v1.0.0"], "1.0.0", "", "v1.0.0"),
        (["v1.0.0", "1.0.0"], "1.0.0", "", "v1.0.0"),
        (["1.0.0-rc.1", "0.9.0"], "*", "", "0.9.0"),
        (["1.0.0-rc.2", "1.0.0-rc.10"], ">=1.0.0-0", "", "1.0.0-rc.10"),
        (["2.0.0"], "1.x", "", None),
        ([], "*", "", None),
        (["v1", "v1.1"], "1.x", "", "v1.1"),
    ],
)
def test_best_version(candidates: list[str], wanted: str, prefix: str, best: str | None) -> None:
    assert best_version(candidates, parse_range(wanted), prefix=prefix) == best


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    parse_version(text)
    if is_range(text):
        assert isinstance("1.2.3" in parse_range(text), bool)


NUMBER = st.integers(min_value=0, max_value=30)


@given(NUMBER, NUMBER, NUMBER, NUMBER, NUMBER, NUMBER)
def test_caret_lies_inside_of_its_major_version(a: int, b: int, c: int, x: int, y: int, z: int) -> None:
    low, other = (a, b, c), (x, y, z)
    inside = f"{x}.{y}.{z}" in parse_range(f"^{a}.{b}.{c}")
    if inside:
        assert other >= low
        assert other[0] == low[0]
    if a > 0 and other[0] == a and other >= low:
        assert inside


def test_numbers_of_any_length_are_refused_without_a_traceback() -> None:
    assert parse_version("1" * 100) is None
    assert not is_range("1" * 100)
