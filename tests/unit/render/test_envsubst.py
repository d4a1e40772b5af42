from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taut.render.envsubst import SubstitutionError, expand

VARIABLES = {"a": "alpha", "path": "/srv/data/site.tar.gz", "empty": "", "up": "LOUD", "n": "3", "_x1": "under"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nothing here", "nothing here"),
        ("${a}", "alpha"),
        ("<${a}${_x1}>", "<alphaunder>"),
        ("$a and $ and a$", "$a and $ and a$"),
        ("$${a}", "${a}"),
        ("$$ $$$${a}", "$ $${a}"),
        ("$$${a}", "$alpha"),
        ("${gone:=text}", "text"),
        ("${gone:-text}", "text"),
        ("${gone=text}", "text"),
        ("${empty:=text}", "text"),
        ("${a:=text}", "alpha"),
        ("${gone:=${a}-${n}}", "alpha-3"),
        ("${gone:=${other:=deep}}", "deep"),
        ("$${a:=${n}}", "${a:=3}"),
        ("${gone:=}", ""),
        ("${gone:?message}", "message"),
        ("${#a}", "5"),
        ("${a^}", "Alpha"),
        ("${a^^}", "ALPHA"),
        ("${up,}", "lOUD"),
        ("${up,,}", "loud"),
        ("${path#*/}", "srv/data/site.tar.gz"),
        ("${path##*/}", "site.tar.gz"),
        ("${path%.*}", "/srv/data/site.tar"),
        ("${path%%.*}", "/srv/data/site"),
        ("${path#nothing}", "/srv/data/site.tar.gz"),
        ("${a/l/L}", "aLpha"),
        ("${path//a/A}", "/srv/dAtA/site.tAr.gz"),
        ("${path/#\\/srv/~}", "~/data/site.tar.gz"),
        ("${path/%.gz/.xz}", "/srv/data/site.tar.xz"),
        ("${path//\\//-}", "-srv-data-site.tar.gz"),
        ("${a/#/pre-}", "pre-alpha"),
        ("${a/%/-post}", "alpha-post"),
        ("${a/l/}", "apha"),
        ("${a:1}", "lpha"),
        ("${a:1:2}", "lp"),
        ("${a:0:-1}", "alph"),
        ("${a:9}", ""),
        ("${a:x}", "alpha"),
    ],
)
def test_expansion(text: str, expected: str) -> None:
    assert expand(text, VARIABLES, strict=True) == expected


@pytest.mark.parametrize("text", ["${gone}", "${gone^^}", "${#gone}", "${gone/a/b}", "${gone:0:1}", "${gone%x}"])
def test_strictness(text: str) -> None:
    with pytest.raises(SubstitutionError, match="gone is not set"):
        expand(text, VARIABLES, strict=True)
    assert expand(text, VARIABLES, strict=False) in {"", "0"}


@pytest.mark.parametrize(
    "text", ["${a", "${}", "${a b}", "${ a}", "${a/x}", "${a!}", "${gone:=${a}", "${x:=" * 40 + "}" * 40]
)
def test_malformed(text: str) -> None:
    with pytest.raises(SubstitutionError):
        expand(text, VARIABLES, strict=True)


def test_a_hostile_pattern_takes_no_time() -> None:
    value = "a" * 3000
    assert expand("${v#" + "*a" * 100 + "b}", {"v": value}, strict=True) == value


@settings(deadline=None)
@given(st.text(alphabet="${}:=-#%/^,ab\\ ", max_size=40))
def test_any_text_expands_or_is_refused(text: str) -> None:
    try:
        expand(text, {"a": "1", "b": "2"}, strict=False)
    except SubstitutionError:
        return


@settings(deadline=None)
@given(st.text(max_size=60))
def test_doubled_dollars_come_back(text: str) -> None:
    assert expand(text.replace("$", "$$"), {}, strict=True) == text
