"""What the page says: what is the matter, why, and what taut does next. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from taut.model.health import HealthStatus
from taut.model.shown import Shown
from taut.model.status import AppStatus
from taut.server.page.facts import Facts

_ROW = 110
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@dataclass(frozen=True, slots=True)
class Headline:
    """What is wrong first; `tone` is bad, warn, held, run or mute."""

    tone: str
    what: str
    why: tuple[str, ...] = ()
    """Further sentences: where, why, and what taut does next."""


def number(count: int) -> str:
    """Small numbers as words."""
    return _NUMBERS[count] if count < len(_NUMBERS) else f"{count:,}"


def plural(count: int, one: str, many: str = "") -> str:
    """`1 object`, `3 objects`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def row_sentence(facts: Facts) -> str:
    """What to know of an application in a list: one line, without a full stop."""
    status = facts.status
    if facts.shown is Shown.HEALTHY:
        return plural(status.objects, "object")
    if status.problems:
        text = status.problems[0].what
    elif facts.shown is Shown.HELD:
        text = status.held_for[0].message
    elif facts.shown is Shown.DEGRADED:
        text = status.health_message or status.message
    elif facts.shown is Shown.DRIFTED and not status.message:
        text = f"{plural(status.drift, 'field')} changed by hand"
    else:
        text = status.message or status.operation_message
    text = " ".join(text.split()).removesuffix(".") or plural(status.objects, "object")
    text = _capital(text)
    return text if len(text) <= _ROW else text[: _ROW - 1] + "…"


def fleet_lede(counts: Mapping[Shown, int]) -> tuple[str, str]:
    """The fleet in a sentence: its first, bold part, and the rest."""
    total = sum(counts.values())
    urgent = [(state, counts.get(state, 0)) for state in Shown if state.urgent and counts.get(state, 0)]
    needing = sum(count for _, count in urgent)
    busy = counts.get(Shown.DEPLOYING, 0) + counts.get(Shown.BEHIND, 0)
    quiet = total - needing - busy
    rest = (
        f"{busy:,} {_be(busy)} under way; {quiet:,} {_be(quiet)} quiet." if busy else f"{quiet:,} {_be(quiet)} quiet."
    )
    if not needing:
        return f"Nothing needs anyone: {plural(total, 'application')}.", rest
    parts = [_URGENT[state](count) for state, count in urgent]
    said = ", ".join(parts[:-1]) + (" and " if len(parts) > 1 else "") + parts[-1]
    verb = "needs" if needing == 1 else "need"
    return f"{needing:,} of {plural(total, 'application')} {verb} someone:", f"{said}. {rest}"


_URGENT = {
    Shown.FAILED: lambda n: f"{number(n)} failed",
    Shown.DEGRADED: lambda n: f"{number(n)} {_be(n)} degraded",
    Shown.MISSING: lambda n: f"{number(n)} {_be(n)} missing",
    Shown.HELD: lambda n: f"{number(n)} {'waits' if n == 1 else 'wait'} for a decision",
    Shown.DRIFTED: lambda n: f"{number(n)} drifted",
    Shown.UNKNOWN: lambda n: f"{number(n)} {_be(n)} out of sight",
}


def _be(count: int) -> str:
    return "is" if count == 1 else "are"


def headline(facts: Facts) -> Headline | None:
    """What is wrong with one application; None when nothing is."""
    status = facts.status
    match facts.shown:
        case Shown.FAILED if status.problems:
            return _problem(status)
        case Shown.FAILED:
            return Headline("bad", _sentence(status.operation_message or "The last sync failed"), _next(status))
        case Shown.HELD:
            return _held(status)
        case Shown.DEGRADED | Shown.MISSING:
            return Headline(
                "bad", _sentence(status.health_message or f"It is {facts.shown.lower()}"), _unhealthy(status)
            )
        case Shown.DRIFTED:
            return _drifted(status)
        case Shown.UNKNOWN:
            why = "What is shown is what taut knew last. It looks again by itself."
            return Headline("mute", _sentence(status.message or "taut does not know how this application is"), (why,))
        case Shown.SUSPENDED if status.suspended:
            why = "taut neither syncs, heals, prunes nor deletes until it is resumed."
            return Headline("mute", _sentence(status.message or "It is suspended"), (why,))
        case _:
            return None


def _problem(status: AppStatus) -> Headline:
    first = status.problems[0]
    more = len(status.problems) - 1
    why = (
        first.where,
        _sentence(first.advice),
        f"{plural(more, 'more problem')} below." if more else "",
        _AFTER.get(first.stage, "taut tries again when something moves; what runs is left as it is."),
    )
    return Headline("bad", _sentence(first.what), tuple(text for text in why if text))


_AFTER = {
    "source": "taut asks the source again by itself; what runs is left as it is.",
    "render": "taut renders again at the next commit; what runs is left as it is.",
    "policy": "Nothing is written until Git or the policy says otherwise.",
    "target": "taut goes on as soon as the cluster answers.",
}


def _held(status: AppStatus) -> Headline:
    first = status.held_for[0]
    others = [_sentence(h.message) for h in status.held_for[1:4]]
    way = (
        f"Nothing is written until plan {status.plan_hash[:8]} is approved, or Git changes."
        if first.approvable
        else "No approval helps here: change it in Git."
    )
    return Headline("held", _sentence(first.message), (*others, f"What ran before still runs. {way}"))


def _drifted(status: AppStatus) -> Headline:
    one = status.drift == 1
    what = f"{plural(status.drift, 'field')} {'differs' if one else 'differ'} from Git, changed by hand."
    if status.contested:
        return Headline("warn", what, ("Somebody changes it back each time. taut waits longer before each try.",))
    then = _sentence(status.message) if status.message else "taut puts back what it may; the rest waits for a person."
    return Headline("warn", what, (then,))


def _unhealthy(status: AppStatus) -> tuple[str, ...]:
    if status.operation == "Running":
        return ("taut waits for it, and stops the sync when its time is up.",)
    return (
        ("What runs is what Git says; taut tells as soon as it is healthy again.",)
        if _in_step(status)
        else _next(status)
    )


def _in_step(status: AppStatus) -> bool:
    return status.health is not HealthStatus.MISSING and status.sync == "Synced"


def _next(status: AppStatus) -> tuple[str, ...]:
    said = _sentence(status.message)
    return (said,) if said and status.message != status.operation_message else ("taut tries again at the next commit.",)


def _sentence(text: str) -> str:
    text = text.strip()
    if not text:
        return ""
    return _capital(text) + ("" if text.endswith((".", "…", ":", "?")) else ".")


def _capital(text: str) -> str:
    """With a capital letter, unless it begins with a name out of a document (`spec.replicas`, `apps/web`)."""
    first = text.partition(" ")[0].rstrip(",:;")
    return text[:1].upper() + text[1:] if first.isalpha() else text


def list_words(words: Sequence[str], most: int = 3) -> str:
    """`a, b and 4 more`."""
    shown = list(words[:most])
    more = len(words) - len(shown)
    if more:
        return f"{', '.join(shown)} and {more} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else "".join(shown)
