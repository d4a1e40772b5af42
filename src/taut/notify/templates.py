"""The words of a message: taut's own, or those of a rule's template. Bounded, whatever a template says; never a secret's value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from taut.model.alerts import AlertTemplate, Trigger
from taut.model.times import rfc3339
from taut.model.visible import clean, one_line
from taut.notify.rules import Notice, Phase

MOST_SHOWN = 20
"""So many notices are written out in a text; the others are counted."""
LONGEST_TITLE, LONGEST_TEXT = 200, 8000
_WORDS = {
    Trigger.DRIFT_FOUND: ("drifted", "have drifted"),
    Trigger.DRIFT_HEALED: ("was healed", "were healed"),
    Trigger.SYNC_FAILED: ("failed to sync", "failed to sync"),
    Trigger.HELD: ("is held", "are held"),
    Trigger.HEALTH_DEGRADED: ("is degraded", "are degraded"),
    Trigger.POLICY_DENIED: ("is denied by a policy", "are denied by policies"),
    Trigger.SECRET_UNRESOLVED: ("waits for a secret", "wait for secrets"),
    Trigger.SOURCE_UNREACHABLE: ("cannot read its source", "cannot read their sources"),
    Trigger.RECOVERED: ("has recovered", "have recovered"),
}


def words(notices: Sequence[Notice], template: AlertTemplate, link: str = "") -> tuple[str, str]:
    """Title and text of a message. A template that fails is told at the end of taut's own words."""
    title, text = _title(notices), _text(notices)
    trouble = ""
    if template.title or template.text:
        given = values(notices, link)
        own_title, fault = rendered(template.title, given, LONGEST_TITLE)
        own_text, other = rendered(template.text, given, LONGEST_TEXT)
        title, text = one_line(own_title) or title, own_text or text
        trouble = fault or other
    if trouble:
        text += f"\n\n(The rule's template could not be used: {trouble})"
    return _cut(one_line(title), LONGEST_TITLE), _cut(clean(text.strip()), LONGEST_TEXT)


def rendered(template: str, given: dict[str, Any], most: int) -> tuple[str, str]:
    """What a template makes of the values, cut at `most` characters, and what is wrong with it. Never raises."""
    from jinja2 import TemplateError  # loaded where there is a template

    from taut.dialects.templates import Environment, template_fault

    fault, line = template_fault(template)
    if fault:
        return "", f"line {line}: {fault}"
    pieces: list[str] = []
    size = 0
    try:
        for piece in Environment().from_string(template).generate(given):
            pieces.append(piece)
            size += len(piece)
            if size > most:
                break
    except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
        return "", f"{type(error).__name__}: {str(error)[:200]}"
    return "".join(pieces)[: most + 1], ""


def values(notices: Sequence[Notice], link: str = "") -> dict[str, Any]:
    """What a template is given: texts, numbers and lists of them, nothing that does something."""
    return {
        "rule": notices[0].rule,
        "receiver": notices[0].receiver,
        "severity": notices[0].severity.value,
        "count": len(notices),
        "apps": [*dict.fromkeys(n.fact.about.short for n in notices)][:MOST_SHOWN],
        "alerts": [_alert(n) for n in notices[:MOST_SHOWN]],
        "left_out": max(len(notices) - MOST_SHOWN, 0),
        "link": link,
    }


def _alert(notice: Notice) -> dict[str, Any]:
    fact = notice.fact
    who = fact.about
    return {
        "state": notice.phase.value,
        "trigger": fact.trigger.value,
        "severity": notice.severity.value,
        "key": notice.key,
        "app": who.short,
        "root": who.root,
        "project": who.project,
        "cluster": who.cluster,
        "namespace": who.target_namespace,
        "labels": dict(who.labels),
        "revision": who.revision,
        "what": fact.what,
        "why": fact.why,
        "next": fact.next,
        "object": fact.object,
        "field": fact.field,
        "desired": fact.desired,
        "found": fact.found,
        "who": fact.who,
        "user": fact.user,
        "changed_at": rfc3339(fact.changed_at),
        "outcome": fact.outcome,
        "since": rfc3339(notice.since),
        "repeat": notice.count - 1,
    }


def _title(notices: Sequence[Notice]) -> str:
    """`[2 firing] shop/web drifted`, `[resolved] shop/web: spec.replicas of Deployment shop/web`."""
    phases = Counter(n.phase for n in notices)
    told = [n for n in notices if n.phase is not Phase.RESOLVED] or list(notices)
    state = "resolved" if phases[Phase.RESOLVED] == len(notices) else ""
    apps = [*dict.fromkeys(n.fact.about.short for n in told)]
    triggers = [*dict.fromkeys(n.fact.trigger for n in told)]
    one, many = _WORDS[triggers[0]]
    if len(triggers) > 1:
        one = many = f"{len(told)} alerts"
        subject = f"{apps[0] if len(apps) == 1 else f'{len(apps)} applications'}: {one}"
    elif len(apps) == 1:
        subject = f"{apps[0]} {one}" + (f" ({len(told)} fields)" if len(told) > 1 and told[0].fact.field else "")
    else:
        subject = f"{len(apps)} applications {many}"
    return f"[{state}] {subject}" if state else subject


def _text(notices: Sequence[Notice]) -> str:
    parts = [sentence(n) for n in notices[:MOST_SHOWN]]
    left = len(notices) - MOST_SHOWN
    if left > 0:
        parts.append(f"… and {left} more.")
    return "\n\n".join(parts)


def sentence(notice: Notice) -> str:
    """One notice in words: what, why, what taut does next."""
    fact = notice.fact
    place = f"{fact.about.short} on {fact.about.cluster}" if fact.about.cluster else fact.about.short
    mark = {Phase.RESOLVED: "Resolved: ", Phase.EVENT: "", Phase.FIRING: "Still so: " if notice.count > 1 else ""}[
        notice.phase
    ]
    lines = [f"{mark}{place}: {fact.what}."]
    if fact.trigger in (Trigger.DRIFT_FOUND, Trigger.DRIFT_HEALED) and fact.field:
        found = fact.found or "nothing"
        lines.append(f"Git says {fact.desired or 'nothing'}, found was {found}.")
    if fact.why:
        lines.append(_ended(fact.why))
    if fact.changed_at:
        lines.append(f"Changed at {rfc3339(fact.changed_at)}.")
    if fact.next:
        lines.append(_ended(fact.next))
    return "\n".join(lines)


def _ended(text: str) -> str:
    """The text as a sentence; a command at its end stays as it can be copied."""
    return text if ": taut " in text or text.endswith((".", "!", "?", "…")) else f"{text}."


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
