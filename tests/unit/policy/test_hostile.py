"""Policies and objects of any shape: a verdict or a word about the document comes out, never a traceback, and the others are judged all the same."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from taut.documents import re2
from taut.documents.yaml import load_documents
from taut.model.errors import BadInput
from taut.model.verdict import Outcome
from taut.policy.documents import Objects
from taut.policy.engines import build, is_policy
from taut.policy.judge import Judge
from taut.policy.review import Given, Review

FIXTURES = Path(__file__).parents[2] / "fixtures"
JUNK: list[Any] = [
    None,
    1,
    True,
    "",
    "{{ x }}",
    "{{",
    "$(x)",
    "*",
    [],
    {},
    [1],
    {"any": [1]},
    1e308,
    [[]],
    {"": {}},
    "(" * 500,
]
GOOD = {
    "apiVersion": "kyverno.io/v1",
    "kind": "ClusterPolicy",
    "metadata": {"name": "good"},
    "spec": {"rules": [{"name": "r", "match": {"any": [{"resources": {"kinds": ["*"]}}]}, "validate": {"deny": {}}}]},
}


def documents() -> Iterator[dict[str, Any]]:
    files = sorted(p for s in ("kyverno-policies", "gatekeeper-library") for p in (FIXTURES / s).rglob("*.yaml"))
    for file in random.Random(1).sample(files, 250):
        try:
            yield from (d.body for d in load_documents(file.read_bytes()) if isinstance(d.body, dict))
        except BadInput:
            continue


ALL = list(documents())
POLICIES = [d for d in ALL if is_policy(str(d.get("apiVersion")), str(d.get("kind")))]
OBJECTS = [d for d in ALL if isinstance(d.get("metadata"), dict) and d not in POLICIES]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield from places(inner, (*path, key))


def spoiled(body: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    body = copy.deepcopy(body)
    for _ in range(chance.randint(1, 3)):
        path = chance.choice([p for p in places(body) if p and p[0] not in {"apiVersion", "kind"}] or [()])
        owner: Any = body
        for step in path[:-1]:
            owner = owner[step]
        if path:
            owner[path[-1]] = copy.deepcopy(chance.choice(JUNK))
    return body


@pytest.mark.parametrize("seed", range(4))
def test_any_shape(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(60):
        policy = spoiled(chance.choice(POLICIES), chance)
        built = build([Given(GOOD, "good"), Given(policy, "spoiled")])
        assert any(p.name == "good" for p in built.policies)
        obj = chance.choice(OBJECTS)
        obj = spoiled(obj, chance) if chance.random() < 0.3 else obj
        verdicts = Judge(built.policies).judge(Review(obj), Objects([])).verdicts
        assert all(v.message for v in verdicts if v.result is Outcome.ERROR)
        found = [v.result for v in verdicts if v.policy == "good"]
        assert found in ([Outcome.FAIL], [Outcome.ERROR])


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [
        ("(a)(b)", ["ab"]),
        ("(?P<n>a)b", ["ab"]),
        ("[(]a", ["(a"]),
        (r"\(a", ["(a"]),
        ("[]()]", ["("]),
        ("[^]]a", ["(a"]),
    ],
)
def test_fits_are_whole(pattern: str, wanted: list[str]) -> None:
    assert re2.found(pattern, "(ab"[: 2 if "b" not in pattern else 3]) == wanted


def test_an_expression_takes_no_longer_than_the_text() -> None:
    assert not re2.matches("^(a+)+$", "a" * 5000 + "b")
    assert re2.found("(a|aa)+$", "a" * 5000 + "b") == []
    for pattern in ("(", "a" * 3000, "(?<!x)y"):
        with pytest.raises(re2.ExpressionError):
            re2.matches(pattern, "a")
