"""Matching with wildcards in time proportional to text times pattern. Patterns come from repositories, and a regular expression made of
a hostile one may take years."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

type Accepts = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Token:
    """One step of a pattern: a character that `accepts` takes, or with `many` any number of them."""

    accepts: Accepts
    many: bool = False


def literal(char: str) -> Token:
    """Exactly this character."""
    return Token(lambda c: c == char)


def prefixes(tokens: Sequence[Token], text: str) -> Iterator[int]:
    """The lengths of the beginnings of `text` that the whole pattern matches, the shortest first."""
    last = len(tokens)
    states = _closed(tokens, {0})
    if last in states:
        yield 0
    for length, char in enumerate(text, 1):
        following: set[int] = set()
        for state in states:
            if state < last and tokens[state].accepts(char):
                following.add(state if tokens[state].many else state + 1)
        states = _closed(tokens, following)
        if last in states:
            yield length
        if not states:
            return


def fullmatch(tokens: Sequence[Token], text: str) -> bool:
    """Whether the pattern matches all of `text`."""
    return any(length == len(text) for length in prefixes(tokens, text))


def _closed(tokens: Sequence[Token], states: set[int]) -> set[int]:
    """The states, with those that follow when a `many` takes nothing."""
    result = set(states)
    pending = list(states)
    while pending:
        state = pending.pop()
        if state < len(tokens) and tokens[state].many and state + 1 not in result:
            result.add(state + 1)
            pending.append(state + 1)
    return result
