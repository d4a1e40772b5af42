import pytest
from hypothesis import given
from hypothesis import strategies as st

from taut.dialects.globs import GlobError, fault, match_name, match_path


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("apps/*", "apps/a", True),
        ("apps/*", "apps/a/b", False),
        ("apps/*", "apps", False),
        ("apps/**", "apps/a/b", True),
        ("apps/**", "apps", True),
        ("**/base", "base", True),
        ("**/base", "a/b/base", True),
        ("**/base", "a/base/b", False),
        ("**", "a/b/c", True),
        ("a/**/c", "a/c", True),
        ("a/**/b/**/c", "a/x/b/y/z/c", True),
        ("**/a*b", "x/a/ab", True),
        ("*.yaml", "a.yaml", True),
        ("*.yaml", "d/a.yaml", False),
        ("{a,b}/*", "b/x", True),
        ("{a,b/c}/x", "b/c/x", True),
        ("{a,{b,c}d}", "cd", True),
        ("[a-c]x", "bx", True),
        ("[!a-c]x", "bx", False),
        ("[!a-c]x", "dx", True),
        ("a?c", "abc", True),
        ("a?c", "a/c", False),
        (r"a\*c", "a*c", True),
        (r"a\*c", "abc", False),
        ("a.c", "abc", False),
        ("*a*b*", "xxaxxbxx", True),
        ("*ab", "aab", True),
        ("*", "", True),
    ],
)
def test_paths(pattern: str, path: str, matches: bool):
    assert match_path(pattern, path) is matches


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("*", "a/b", True),
        ("team-*", "team-a", True),
        ("team-*", "a-team-b", False),
        ("", "", True),
        ("", "a", False),
        ("*", "", True),
    ],
)
def test_names_have_no_segments(pattern: str, name: str, matches: bool):
    assert match_name(pattern, name) is matches


@pytest.mark.parametrize("pattern", ["[", "{a", "a}", "[z-a]", "{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}", ""])
def test_what_is_no_glob(pattern: str):
    assert fault(pattern)
    if pattern:
        with pytest.raises(GlobError):
            match_path(pattern, "a")


def test_a_hostile_glob_takes_no_time():
    assert not match_path("*a" * 60, "a" * 5000 + "b")
    assert not match_path("/".join(["**", "a*"] * 40), "/".join(["a"] * 1000 + ["b"]))


@given(st.text("ab*?", max_size=8), st.text("ab", max_size=8))
def test_one_segment_is_what_trying_everything_says(pattern: str, text: str):
    def slow(p: str, t: str) -> bool:
        if not p:
            return not t
        if p[0] == "*":
            return slow(p[1:], t) or (bool(t) and slow(p, t[1:]))
        return bool(t) and p[0] in {"?", t[0]} and slow(p[1:], t[1:])

    assert match_name(pattern, text) is slow(pattern, text)
