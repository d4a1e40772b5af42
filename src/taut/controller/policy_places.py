"""Policies of several places in Git, put together so that no place loosens what another one says. Pure.

A waiver or an exception counts for the policies of its own place, and of those that the configuration lets it set aside (`waives`). Of two
documents with one identity in different places the first place's counts.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from taut.dialects.globs import match_name
from taut.model.manifests import Body
from taut.policy.review import Given, Trouble
from taut.policy.waivers import Waiver, is_waiver, read_waivers

type Identity = tuple[str, str, str, str]

_EXCEPTION = "PolicyException"
_EXCEPTION_GROUPS = ("kyverno.io/", "policies.kyverno.io/")


@dataclass(frozen=True)
class Place:
    """What one place holds. `waives` are globs on the names of other places whose policies it may set aside."""

    name: str
    waives: tuple[str, ...]
    documents: tuple[Given, ...]


@dataclass(frozen=True)
class Together:
    """The documents that hold, the waivers, each bound to the policies that it may touch, and what is left out."""

    documents: tuple[Given, ...]
    owners: tuple[str, ...]
    """The place of each document."""
    waivers: tuple[Waiver, ...]
    troubles: tuple[Trouble, ...]


def together(places: Sequence[Place]) -> Together:
    """Of one place everything, of several what each may say."""
    documents: list[tuple[Given, str]] = []
    waivers: list[Waiver] = []
    troubles: list[Trouble] = []
    names: dict[str, set[str]] = {place.name: set() for place in places}
    first = {identity_of(g.body): place.name for place in reversed(places) for g in place.documents}
    for place in places:
        for given in place.documents:
            if first[identity_of(given.body)] == place.name:
                names[place.name].update(_names(given.body))
    for place in places:
        mine, wrong = read_waivers(place.documents)
        troubles += wrong
        reach = [p.name for p in places if p.name == place.name or any(match_name(w, p.name) for w in place.waives)]
        foreign = frozenset(n for name in names.keys() - set(reach) for n in names[name])
        # A policy that is called like another place's lends its name to nobody.
        about = frozenset(n for name in reach for n in names[name]) - foreign
        waivers += mine if len(reach) == len(places) else (replace(w, about=about) for w in mine)
        for given in place.documents:
            if is_waiver(given):
                continue
            identity = identity_of(given.body)
            owner = first[identity]
            if owner != place.name:
                what = f"the policies {owner} have one of this name, and that one counts"
                troubles.append(Trouble(given.origin, identity[3], what, "give it another name"))
            elif touched := sorted(_touched(given.body, foreign)):
                what = f"it is about {touched[0]}, which is a policy of another place"
                advice = "name policies of its own place, or let the place waive that one (policies[].waives)"
                troubles.append(Trouble(given.origin, f"{_EXCEPTION} {identity[3]}", what, advice))
            else:
                documents.append((given, place.name))
    return Together(tuple(g for g, _ in documents), tuple(p for _, p in documents), tuple(waivers), tuple(troubles))


def identity_of(body: Body) -> Identity:
    """Group, kind, namespace and name."""
    metadata = _map(body.get("metadata"))
    group = str(body.get("apiVersion") or "").rpartition("/")[0]
    return group, str(body.get("kind")), str(metadata.get("namespace") or ""), str(metadata.get("name") or "")


def _names(body: Body) -> Iterator[str]:
    """The names under which verdicts tell of a policy."""
    _, kind, namespace, name = identity_of(body)
    yield from (name, f"{kind}/{name}")
    if namespace:
        yield f"{namespace}/{name}"


def _touched(body: Body, policies: Iterable[str]) -> Iterator[str]:
    """Of these policies those that an exception is about."""
    if body.get("kind") != _EXCEPTION or not str(body.get("apiVersion")).startswith(_EXCEPTION_GROUPS):
        return
    spec = _map(body.get("spec"))
    named = [e.get("policyName") for e in _list(spec.get("exceptions"))] + [
        r.get("name") for r in _list(spec.get("policyRefs"))
    ]
    patterns = [str(n) for n in named if n]
    yield from (p for p in policies if any(fnmatch.fnmatchcase(p, pattern) for pattern in patterns))


def _map(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
