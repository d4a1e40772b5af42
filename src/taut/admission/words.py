"""The words of an answer: which policy refuses what, why, and what to do about it. No value of a Secret is in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from taut.admission.decision import Decision
from taut.admission.reviews import MESSAGE_LENGTH, Answer, cut
from taut.model.verdict import Outcome, Verdict
from taut.model.visible import one_line
from taut.policy.masking import masked
from taut.policy.review import Review
from taut.policy.waiving import way_out

_PART = 1024
_ROOM = MESSAGE_LENGTH - 128
"""What the reasons may take; that there are more is told behind them."""


def answer(decision: Decision, review: Review) -> Answer:
    """What is said of a decision: refused with every reason, or allowed with its warnings."""
    denied = [_safe(v, review) for v in decision.denied]
    warned = [_safe(v, review) for v in decision.warned]
    notes = {
        name: ", ".join(dict.fromkeys(_rule(v) for v in verdicts))
        for name, verdicts in (("denied", denied), ("warned", warned))
        if verdicts
    }
    return Answer(not denied, _refusal(denied, review) if denied else "", [warning(v) for v in warned], notes)


def _safe(verdict: Verdict, review: Review) -> Verdict:
    """The verdict without the values of a Secret, whichever of the two objects a text quotes."""
    for body in (review.object, review.old_object):
        if body is not None:
            verdict = masked(verdict, body)
    return verdict


def _refusal(denied: Sequence[Verdict], review: Review) -> str:
    policies = len({(v.engine, v.policy) for v in denied})
    head = f"{review.subject} is refused by {'a policy' if policies == 1 else f'{policies} policies'}:"
    lines, room = [head], _ROOM - len(head)
    for number, verdict in enumerate(denied):
        text = _reason(verdict)
        if len(text) >= room:
            lines.append(f"- and {len(denied) - number} more")
            break
        room -= len(text) + 1
        lines.append(text)
    return "\n".join(lines)


def _reason(verdict: Verdict) -> str:
    """One denial: its rule and message, then the place with both values, then the way out."""
    message = cut(one_line(verdict.message), _PART) or "it does not say why"
    unjudged = "it could not be judged, which is no pass: " if verdict.result is Outcome.ERROR else ""
    lines = [f"- {_rule(verdict)}: {unjudged}{message}"]
    place = _place(verdict)
    if place:
        lines.append(f"  {place}")
    out = way_out(verdict)
    if out:
        lines.append(f"  to waive it: {cut(one_line(out), _PART)}")
    return "\n".join(lines)


def warning(verdict: Verdict) -> str:
    """One warning, on one line."""
    place = _place(verdict)
    return f"{_rule(verdict)}: {verdict.message}" + (f" ({place})" if place else "")


def _rule(verdict: Verdict) -> str:
    return one_line(f"{verdict.policy}/{verdict.rule}" if verdict.rule else verdict.policy)


def _place(verdict: Verdict) -> str:
    return ", ".join(_parts(verdict))


def _parts(verdict: Verdict) -> Iterable[str]:
    for word, text in (("at", verdict.path), ("found", verdict.found), ("wanted", verdict.wanted)):
        if text:
            yield f"{word} {cut(one_line(text), _PART)}"


def without_reviewer(reason: str, *, closed: bool) -> Answer:
    """What is said when nobody could judge: refused where a policy fails closed, else allowed with a warning that says so."""
    if closed:
        message = f"taut could not judge this, and policies that fail closed are about it: {reason}; try again later"
        return Answer(False, message, code=500)
    return Answer(True, warnings=[f"taut could not judge this, and lets it pass: {reason}"])
