"""From notices to messages: what a rule tells one receiver within its window goes out together. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import msgspec

from taut.notify.rules import Notice, Phase

MOST_NOTICES = 500
"""So many notices are in one message at most; more are another message."""


class Message(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """What is sent to a receiver. `name` is its identity there: a repeat carries the same. `link` leads to taut's page, if there is one."""

    name: str
    rule: str
    receiver: str
    title: str
    text: str
    at: float
    notices: tuple[Notice, ...]
    link: str = ""

    @property
    def ended(self) -> bool:
        """Whether it tells of nothing but ends."""
        return all(n.phase is Phase.RESOLVED for n in self.notices)


@dataclass(frozen=True, slots=True)
class Pending:
    """A notice that waits for its group: its number in the outbox, and the Unix time until which it waits."""

    id: int
    notice: Notice
    due: float


def ready(pending: Sequence[Pending], now: float) -> list[list[Pending]]:
    """The groups to send now, in order, each of one rule and one receiver.

    A group is due when its first notice has waited long enough. What an application has to tell the same receiver stays in order: a group that
    an earlier notice of the application waits in is sent before.
    """
    groups: dict[tuple[str, str], list[Pending]] = {}
    for each in sorted(pending, key=lambda p: p.id):
        groups.setdefault((each.notice.receiver, each.notice.rule), []).append(each)
    wanted = {key for key, found in groups.items() if found[0].due <= now}
    while True:
        earlier = {
            key
            for key, found in groups.items()
            if key not in wanted and any(_before(found, groups[other]) for other in wanted if other[0] == key[0])
        }
        if not earlier:
            break
        wanted |= earlier
    chosen = sorted((groups[key] for key in wanted), key=lambda found: found[0].id)
    return [part for found in chosen for part in _parts(found)]


def _before(one: Sequence[Pending], other: Sequence[Pending]) -> bool:
    """Whether `one` has a notice of an application that is older than one of the same application in `other`."""
    newest: dict[str, int] = {}
    for each in other:
        newest[each.notice.fact.about.key] = each.id
    return any(each.id < newest.get(each.notice.fact.about.key, 0) for each in one)


def _parts(found: Sequence[Pending]) -> Iterable[list[Pending]]:
    return (list(found[at : at + MOST_NOTICES]) for at in range(0, len(found), MOST_NOTICES))


def message_of(
    group: Sequence[Pending], words: Callable[[Sequence[Notice]], tuple[str, str]], link: str, now: float
) -> Message:
    """The message of a group; `words` says its title and text."""
    notices = tuple(each.notice for each in group)
    title, text = words(notices)
    return Message(
        name=message_name(notices),
        rule=notices[0].rule,
        receiver=notices[0].receiver,
        title=title,
        text=text,
        at=now,
        notices=notices,
        link=link,
    )


def message_name(notices: Sequence[Notice]) -> str:
    """The identity of a message of these notices."""
    return "taut_" + hashlib.sha256("\0".join(n.name for n in notices).encode()).hexdigest()[:32]
