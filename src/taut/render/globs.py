"""Globs on paths, as the peers' users write them: `*` and `?` stay within a folder, `**` does not, `{a,b}` is either, `[a-c]` one of."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from taut.model.errors import BadInput
from taut.render.wildcard import Token, fullmatch, literal

_MAX_LENGTH = 1024
_MAX_ALTERNATIVES = 256


class Glob:
    """A compiled pattern."""

    def __init__(self, pattern: str) -> None:
        """Raises BadInput for a pattern that cannot be meant."""
        if len(pattern) > _MAX_LENGTH:
            raise BadInput(f"the pattern {pattern[:40]!r}… is too long")
        self._alternatives = [_tokens(one, pattern) for one in _expanded(pattern, pattern)]

    def matches(self, path: str) -> bool:
        """Whether the whole path matches."""
        return any(fullmatch(tokens, path) for tokens in self._alternatives)


@lru_cache(maxsize=512)
def compile_glob(pattern: str) -> Glob:
    """The pattern, compiled once. A pattern without `/` crosses folders: that is what `*.yaml` means to people. Raises BadInput."""
    return Glob(pattern)


def matches(path: str, patterns: Iterable[str]) -> bool:
    """Whether `path`, or for a pattern without `/` its last part, matches one of the patterns."""
    name = path.rpartition("/")[2]
    return any((glob := compile_glob(p)).matches(path) or ("/" not in p and glob.matches(name)) for p in patterns)


def _expanded(pattern: str, whole: str) -> list[str]:
    """The pattern without braces: one for each alternative."""
    pending, done = [pattern], []
    while pending:
        current = pending.pop()
        opening = current.rfind("{")
        if opening < 0:
            if "}" in current:
                raise BadInput(f"the pattern {whole!r} has a '}}' without its '{{'")
            done.append(current)
            continue
        closing = current.find("}", opening)
        if closing < 0:
            raise BadInput(f"the pattern {whole!r} has a '{{' without its '}}'")
        pending += [
            current[:opening] + part + current[closing + 1 :] for part in current[opening + 1 : closing].split(",")
        ]
        if len(pending) + len(done) > _MAX_ALTERNATIVES:
            raise BadInput(f"the pattern {whole!r} has more than {_MAX_ALTERNATIVES} alternatives")
    return done


def _tokens(pattern: str, whole: str) -> list[Token]:
    within = _not_slash if "/" in whole else _any
    tokens: list[Token] = []
    at = 0
    while at < len(pattern):
        if pattern.startswith("**/", at) and (at == 0 or pattern[at - 1] == "/"):
            tokens.append(Token(_any, many=True))
            at += 3
        elif pattern.startswith("**", at):
            tokens.append(Token(_any, many=True))
            at += 2
        elif pattern[at] == "[":
            token, at = _class(pattern, at, whole)
            tokens.append(token)
        else:
            char = pattern[at]
            tokens.append(
                Token(within, many=True) if char == "*" else Token(_not_slash) if char == "?" else literal(char)
            )
            at += 1
    return tokens


def _class(pattern: str, at: int, whole: str) -> tuple[Token, int]:
    end = pattern.find("]", at + 2)
    if end < 0:
        raise BadInput(f"the pattern {whole!r} has a '[' without its ']'")
    body = pattern[at + 1 : end]
    inverted = body[0] in "!^"
    body = body[1:] if inverted else body
    members: set[str] = set()
    position = 0
    while position < len(body):
        if position + 2 < len(body) and body[position + 1] == "-":
            members |= {
                chr(c) for c in range(ord(body[position]), min(ord(body[position + 2]), ord(body[position]) + 512) + 1)
            }
            position += 3
        else:
            members.add(body[position])
            position += 1
    return Token(lambda c: (c in members) != inverted and c != "/"), end + 1


def _any(_: str) -> bool:
    return True


def _not_slash(char: str) -> bool:
    return char != "/"
