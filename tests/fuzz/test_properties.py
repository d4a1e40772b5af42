"""Hypothesis against every parser: a few inputs in each run of the tests, many with `make faults`."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from fuzz.kept import kept
from fuzz.parsers import PARSERS, Parser, hold

FEW, MANY = 20, 1500
LONGEST = timedelta(seconds=20)
"""For one input: far more than any should take, and less than a hang."""


def inputs(parser: Parser) -> st.SearchStrategy[bytes]:
    """Words of the parser's language in any order, and right inputs with something put in, cut out or doubled."""
    word = st.one_of(
        st.sampled_from([w.encode() for w in parser.words] or [b""]),
        st.binary(max_size=6),
        st.text(max_size=4).map(_bytes),
    )
    made = st.lists(word, max_size=40).map(b"".join)
    seeds = [*parser.right, *(file.read_bytes() for file in kept(parser.name))]
    if not seeds:
        return made
    return st.one_of(made, st.builds(_changed, st.sampled_from(seeds), st.floats(0, 1), st.floats(0, 1), made))


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogatepass")


def _changed(seed: bytes, at: float, to: float, put: bytes) -> bytes:
    begin, end = sorted((int(at * len(seed)), int(to * len(seed))))
    return seed[:begin] + put + seed[end:]


def _search(name: str, examples: int) -> None:
    @settings(
        max_examples=examples,
        deadline=LONGEST,
        database=None,
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(data=inputs(PARSERS[name]))
    def holds(data: bytes) -> None:
        hold(name, data)

    holds()


@pytest.mark.parametrize("name", PARSERS)
def test_a_few_inputs(name: str) -> None:
    _search(name, FEW)


@pytest.mark.faults
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", PARSERS)
def test_many_inputs(name: str) -> None:
    _search(name, MANY)


@pytest.mark.parametrize("name", PARSERS)
def test_what_is_right_is_taken(name: str) -> None:
    for data in PARSERS[name].right:
        hold(name, data)
