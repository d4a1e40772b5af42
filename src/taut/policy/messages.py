"""What a policy worker is asked, what it asks back, and what it answers: one message each, in msgpack."""

from __future__ import annotations

from typing import Any

import msgspec

from taut.model.manifests import Body
from taut.model.verdict import Verdict
from taut.policy.review import Given, Review, Trouble

type KindName = tuple[str, str, str]
"""API version, kind, and the resource's name where it is known."""


class Judging(msgspec.Struct, frozen=True, tag="judge"):
    """Judge reviews by the set with this hash.

    `completes`: objects are completed first, `validates`: they are judged. `brief`: only what is no pass and no skip is answered. `tells`: each
    policy is named (by its place in the set) before it is asked, and with `renews` each may compute for `cpu_seconds`, else all of them together;
    `without`: places of policies that are not asked. `steady`: what is looked up is the same for all reviews, and asked for once.
    """

    set: str
    reviews: list[Review]
    completes: bool = True
    validates: bool = True
    brief: bool = True
    tells: bool = False
    without: tuple[int, ...] = ()
    cpu_seconds: int = 20
    renews: bool = False
    steady: bool = False


class Describing(msgspec.Struct, frozen=True, tag="describe"):
    """Say what is in the set with this hash, and which of these kinds it is about."""

    set: str
    kinds: list[KindName] = []
    cpu_seconds: int = 20


class Documents(msgspec.Struct, frozen=True):
    """The answer to NeedSet."""

    policies: list[Given]


class NeedSet(msgspec.Struct, frozen=True, tag="set"):
    """Asked back: the documents of a set."""

    hash: str


class Begins(msgspec.Struct, frozen=True, tag="begins"):
    """Told: a policy is about to be asked, by its place. The answer is not looked at."""

    policy: int


class Looks(msgspec.Struct, frozen=True, tag="looks"):
    """Asked back: `get` (API version, kind, namespace, name), `list` (API version, kind, namespace) or `raw` (method, path, body)."""

    what: str
    arguments: list[Any]


class Seen(msgspec.Struct, frozen=True):
    """The answer to Looks; `unknown` says why it cannot be told."""

    value: Any = None
    unknown: str = ""


class Answer(msgspec.Struct, frozen=True):
    """Of one review. `body` is the object as it was completed, None if it was not. `looked`: something besides the review was asked for.
    `concerned`: whether a policy is about its kind at all.
    """

    verdicts: tuple[Verdict, ...] = ()
    body: Body | None = None
    looked: bool = False
    concerned: bool = True


class Answers(msgspec.Struct, frozen=True, tag="answers"):
    """Of each review, in their order."""

    answers: list[Answer]


class About(msgspec.Struct, frozen=True):
    """A policy as others see it. `kinds` are the places of the kinds asked for that it is about."""

    name: str
    engine: str
    hash: str
    mutates: bool
    fails_open: bool | None
    kinds: list[int]


class Description(msgspec.Struct, frozen=True, tag="description"):
    """What is in a set."""

    policies: list[About]
    troubles: list[Trouble]


type Question = NeedSet | Begins | Looks | Answers | Description
"""What a worker says. The last two are results."""
