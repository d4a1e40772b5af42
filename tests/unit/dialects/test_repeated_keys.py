"""A key that is written twice is a mistake in what is written for taut, and the document with it is not guessed at."""

from __future__ import annotations

import pytest

from taut.dialects.taut import parse
from taut.documents.yaml import load_documents, repeated_key

GOOD = """\
apiVersion: taut.dev/v1
kind: Application
metadata: {name: good}
spec: {source: {git: "https://git.example.test/a.git"}}
"""
TWICE = GOOD.replace("good", "twice") + 'spec: {source: {git: "https://git.example.test/b.git"}}\n'


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a: 1\nb: 2\n", None),
        ("a: 1\nb:\n  c: 1\n  c: 2\n", ("c", 4)),
        ("{a: 1, a: 2}", ("a", 1)),
        ("a: 1\n---\na: 2\n", None),
        ("base: &b {a: 1}\nmore: {<<: *b, a: 2}\n", None),
        ("a: [", None),
        ("", None),
    ],
)
def test_the_first_repeated_key_is_found(text: str, found: tuple[str, int] | None) -> None:
    assert repeated_key(text.encode()) == found


def test_the_other_documents_of_the_file_are_read() -> None:
    data = f"{GOOD}---\n{TWICE}---\n{GOOD.replace('good', 'last')}".encode()
    parsed = parse(load_documents(data), root="r", file="apps.yaml", data=data)
    assert [t.body["metadata"]["name"] for t in parsed.applications] == ["good", "last"]
    [problem] = parsed.problems
    assert (problem.what, str(problem.where)) == ("it is written twice", "apps.yaml:10, spec")
    assert parsed.doubtful == {"apps.yaml"}
