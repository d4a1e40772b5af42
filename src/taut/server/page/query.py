"""The query language of the page: `checkout health:degraded cluster:prod drift:>1h label:team=web -is:suspended`. Pure.

Words must all apply. A word without a colon is looked for in names, places and sentences; `-` before a word turns it round; `a,b` means either;
`"two words"` are one. What cannot be understood is left out and named, with the nearest word that can.
"""

from __future__ import annotations

import difflib
import fnmatch
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from taut.model.health import HealthStatus
from taut.model.shown import Shown
from taut.model.status import SyncStatus
from taut.server.page.facts import Facts

type Test = Callable[[Facts, float], bool]

_WORD = re.compile(r'-?(?:[^\s":]+:)?(?:"[^"]*"?|\S)+')
_SPAN = re.compile(r"^([<>]=?)?(\d+(?:\.\d+)?)(s|m|min|h|d|w)?$")
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}
_LONGEST = 500
"""Longer queries are cut: nobody types them."""

_IS: Mapping[str, Test] = {
    **{s.value.lower(): (lambda f, _, s=s: f.shown is s) for s in Shown},
    "held": lambda f, _: bool(f.status.held_for),
    "drifted": lambda f, _: f.status.drift > 0 or f.status.contested,
    "suspended": lambda f, _: f.status.suspended,
    "contested": lambda f, _: f.status.contested,
    "synced": lambda f, _: f.status.sync is SyncStatus.SYNCED,
    "urgent": lambda f, _: f.shown.urgent,
    "denied": lambda f, _: f.status.policy_failures > 0,
}
_SYNC: Mapping[str, SyncStatus] = {
    "synced": SyncStatus.SYNCED,
    "in-sync": SyncStatus.SYNCED,
    "behind": SyncStatus.OUT_OF_SYNC,
    "outofsync": SyncStatus.OUT_OF_SYNC,
    "unknown": SyncStatus.UNKNOWN,
}
_TEXTS: Mapping[str, Callable[[Facts], str]] = {
    "project": lambda f: f.status.project,
    "cluster": lambda f: f.status.cluster,
    "env": lambda f: f.environment,
    "environment": lambda f: f.environment,
    "namespace": lambda f: f.status.target_namespace,
    "root": lambda f: f.status.root,
    "name": lambda f: f.status.name,
    "app": lambda f: f.status.key,
    "mode": lambda f: f.status.mode,
    "author": lambda f: f.status.author,
    "revision": lambda f: f.status.desired_revision,
    "source": lambda f: f.status.source_url,
}
KEYS = (*_TEXTS, "health", "state", "sync", "is", "label", "drift", "deployed")


@dataclass(frozen=True, slots=True)
class Slip:
    """A word that was left out, why, and what it may have been meant to be (empty: nothing is near)."""

    word: str
    why: str
    nearest: str = ""


@dataclass(frozen=True, slots=True)
class Term:
    """One word: by which key it filters (empty: any text), and how."""

    key: str
    text: str
    test: Test


@dataclass(frozen=True, slots=True)
class Query:
    """A query that was read."""

    text: str
    terms: tuple[Term, ...] = ()
    slips: tuple[Slip, ...] = ()

    def matches(self, facts: Facts, now: float) -> bool:
        """Whether an application is asked for, at `now` (Unix seconds)."""
        return all(term.test(facts, now) for term in self.terms)

    def without(self, *keys: str) -> Query:
        """The same query without the words that filter by these keys."""
        return Query(self.text, tuple(t for t in self.terms if t.key not in keys), self.slips)

    def text_with(self, word: str, *replaced: str) -> str:
        """The query's text with `word` added in the place of all words with these keys; empty words add nothing."""
        kept = [t.text for t in self.terms if t.key not in replaced]
        return " ".join([*kept, word] if word else kept)


def read_query(text: str) -> Query:
    """Read what somebody typed. Nothing is raised: while it is typed it is always half wrong."""
    terms: list[Term] = []
    slips: list[Slip] = []
    for word in _WORD.findall(text[:_LONGEST]):
        found = _term(word)
        if isinstance(found, Slip):
            slips.append(found)
        elif found is not None:
            terms.append(found)
    return Query(text.strip()[:_LONGEST], tuple(terms), tuple(slips))


def _term(word: str) -> Term | Slip | None:
    negated = word.startswith("-") and len(word) > 1
    body = word[1:] if negated else word
    key, colon, value = body.partition(":")
    if not colon or key.startswith('"'):
        text = body.replace('"', "").lower()
        return Term("", word, _turned(lambda f, _: text in f.words, negated)) if text else None
    key, value = key.lower(), value.replace('"', "")
    if key not in KEYS:
        near = _near(key, KEYS)
        return Slip(word, f"{key}: is no word of the query", f"{near}:{value}" if near else "")
    if not value:
        return None
    test = _test(key, value)
    return replace_word(test, word, value) if isinstance(test, Slip) else Term(key, word, _turned(test, negated))


def replace_word(slip: Slip, word: str, value: str) -> Slip:
    """A slip in a value, told of the whole word."""
    nearest = word.replace(value, slip.nearest) if slip.nearest else ""
    return Slip(word, slip.why, nearest)


def _test(key: str, value: str) -> Test | Slip:
    match key:
        case "label":
            return _label(value)
        case "drift" | "deployed":
            return _lasting(key, value)
        case "health":
            return _one_of(value, {h.value.lower(): (lambda f, _, h=h: f.status.health is h) for h in HealthStatus})
        case "state":
            return _one_of(value, {s.value.lower(): (lambda f, _, s=s: f.shown is s) for s in Shown})
        case "sync":
            return _one_of(value, {w: (lambda f, _, s=s: f.status.sync is s) for w, s in _SYNC.items()})
        case "is":
            return _one_of(value, _IS)
        case _:
            patterns = [re.compile(fnmatch.translate(part.lower() + "*")).match for part in value.split(",") if part]
            read = _TEXTS[key]
            return lambda f, _: any(match(read(f).lower()) for match in patterns)


def _one_of(value: str, words: Mapping[str, Test]) -> Test | Slip:
    """Any of the words that begin with one of the values: while somebody types, the beginning must do."""
    tests: list[Test] = []
    for part in (p.lower() for p in value.split(",") if p):
        found = [words[part]] if part in words else [test for word, test in words.items() if word.startswith(part)]
        if not found:
            return Slip(part, f"{part} is none of {', '.join(words)}", _near(part, words))
        tests += found
    return lambda f, now: any(test(f, now) for test in tests)


def _label(value: str) -> Test:
    name, equals, wanted = value.partition("=")
    if not equals:
        return lambda f, _: name in f.status.labels
    values = frozenset(wanted.split(","))
    return lambda f, _: f.status.labels.get(name) in values


def _lasting(key: str, value: str) -> Test | Slip:
    """`drift:>1h`: open for longer than that. `drift:3`: at least so many fields. `deployed:<24h`: synced within a day."""
    if key == "drift" and value in ("yes", "no"):
        return lambda f, _: (f.status.drift > 0) is (value == "yes")
    found = _SPAN.match(value.lower())
    if found is None or (key == "deployed" and not found[3]):
        return Slip(value, f"{value} is no duration", ">1h" if key == "drift" else "<24h")
    sign, number, unit = found[1] or ">=", float(found[2]), found[3]
    longer = sign.startswith(">")
    if not unit:
        return lambda f, _: f.status.drift >= number if longer else f.status.drift < number
    seconds = number * _SECONDS[unit]
    if key == "deployed":
        return lambda f, now: f.synced_at > 0 and (now - f.synced_at >= seconds) is longer
    return lambda f, now: f.drift_since > 0 and (now - f.drift_since >= seconds) is longer


def _turned(test: Test, negated: bool) -> Test:
    return (lambda f, now: not test(f, now)) if negated else test


def _near(word: str, words: Iterable[str]) -> str:
    return next(iter(difflib.get_close_matches(word, list(words), 1, 0.5)), "")
