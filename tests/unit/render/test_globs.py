from __future__ import annotations

import pytest

from taut.model.errors import BadInput
from taut.render.globs import compile_glob, matches


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("*.yaml", "a.yaml", True),
        ("*.yaml", "deep/a.yaml", True),
        ("*.yaml", "a.yml", False),
        ("a.yaml", "deep/a.yaml", True),
        ("deep/*.yaml", "deep/a.yaml", True),
        ("deep/*.yaml", "deep/er/a.yaml", False),
        ("deep/**", "deep/er/a.yaml", True),
        ("**/a.yaml", "a.yaml", True),
        ("**/a.yaml", "x/y/a.yaml", True),
        ("deep/**/a.yaml", "deep/a.yaml", True),
        ("{a,b}.yaml", "b.yaml", True),
        ("{a,b}.yaml", "c.yaml", False),
        ("{a,{b,c}d}.yaml", "cd.yaml", True),
        ("a?c/x", "abc/x", True),
        ("a?c/x", "a/c/x", False),
        ("[a-c].yaml", "b.yaml", True),
        ("[!a-c].yaml", "b.yaml", False),
        ("[]x].yaml", "].yaml", True),
        ("a.b", "axb", False),
        ("", "a", False),
    ],
)
def test_patterns(pattern: str, path: str, expected: bool) -> None:
    assert matches(path, (pattern,)) is expected


@pytest.mark.parametrize("pattern", ["{a,b", "a}", "[a", "x" * 2000, "{a,b}" * 20])
def test_patterns_that_cannot_be_meant(pattern: str) -> None:
    with pytest.raises(BadInput):
        compile_glob(pattern)


def test_a_hostile_pattern_takes_no_time() -> None:
    assert not matches("a" * 400, ("*a" * 100 + "b",))
