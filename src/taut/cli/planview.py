"""A plan for a terminal: what changes, field by field, before → after. What is unchanged is counted, what is secret is not shown."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec
from rich.text import Text

from taut.cli.printing import console
from taut.cli.words import HELD
from taut.model.plan import Action
from taut.model.visible import clean, one_line
from taut.server.views import HIDDEN, ChangeView, FieldView, PlanView

_SIGNS: dict[Action, tuple[str, str, str]] = {
    Action.CREATE: ("+", "green", "create"),
    Action.UPDATE: ("~", "yellow", "update"),
    Action.ADOPT: ("~", "yellow", "adopt"),
    Action.RECREATE: ("±", "bold red", "delete and create again"),
    Action.DELETE: ("-", "red", "delete"),
    Action.RELEASE: ("·", "default", "let go (stays in the cluster)"),
    Action.UNCHANGED: (" ", "dim", "unchanged"),
}
_LONG = 60


def show_plan(plan: PlanView) -> None:
    """Print a plan to standard output."""
    out = console()
    for line in plan_lines(plan):
        out.print(line, overflow="fold" if out.is_terminal else "ignore", no_wrap=not out.is_terminal, crop=False)


def plan_lines(plan: PlanView) -> Iterator[Text]:
    """The lines: what it waits for, each change with its fields, a summary."""
    for hold in plan.held_for:
        yield Text(f"{HELD.mark} Held: {one_line(hold.message)}", style=HELD.style)
    for warning in plan.warnings:
        yield Text(f"! {one_line(warning)}", style="yellow")
    if plan.held_for or plan.warnings:
        yield Text()
    for change in plan.changes:
        yield from _change(change)
    yield _summary(plan)


def _change(change: ChangeView) -> Iterator[Text]:
    sign, style, word = _SIGNS[change.action]
    head = Text(f"{sign} {clean(change.object.text)}", style=style)
    notes = [word, *([f"wave {change.wave}"] if change.wave else []), *([change.reason] if change.reason else [])]
    if not change.certain:
        notes.append("not confirmed by the cluster yet")
    head.append(f"  {one_line(', '.join(notes))}", style="dim")
    yield head
    for field in change.fields:
        yield from _field(field)


def _field(field: FieldView) -> Iterator[Text]:
    path = Text(f"    {clean(field.path)}: ")
    owner = f"  (was set by {one_line(field.owner)})" if field.owner else ""
    if field.secret:
        yield path.append(HIDDEN, style="magenta").append(owner, style="dim")
        return
    before, after = _text(field.before), _text(field.after)
    if not field.before_set and "\n" not in after:
        yield path.append(f"+ {after}", style="green").append(owner, style="dim")
    elif not field.after_set and "\n" not in before:
        yield path.append(f"- {before}", style="red").append(owner, style="dim")
    elif "\n" in before + after or len(before) + len(after) > _LONG * 2:
        yield path.append(owner, style="dim")
        yield from _lines(before if field.before_set else "", after if field.after_set else "")
    else:
        yield path.append(before, style="red").append(" → ").append(after, style="green").append(owner, style="dim")


def _lines(before: str, after: str) -> Iterator[Text]:
    """Texts of several lines, line by line, with what is equal folded and counted."""
    old, new = before.splitlines(), after.splitlines()
    for tag, i, j, k, m in difflib.SequenceMatcher(a=old, b=new, autojunk=False).get_opcodes():
        if tag == "equal":
            yield Text(f"        … {_count(j - i, 'line')} unchanged", style="dim")
            continue
        yield from (Text(f"      - {line}", style="red") for line in old[i:j])
        yield from (Text(f"      + {line}", style="green") for line in new[k:m])


def _text(value: Any) -> str:
    if isinstance(value, str):
        return clean(value)
    return clean(msgspec.json.encode(value).decode())


def _summary(plan: PlanView) -> Text:
    """`1 to create, 2 to update, 11 unchanged; plan 1a2b3c4d`."""
    counts = Counter(change.action for change in plan.changes)
    parts = [f"{counts[action]} to {action.value}" for action in _SIGNS if counts[action]]
    if plan.unchanged:
        parts.append(f"{plan.unchanged} unchanged")
    if not plan.changes:
        return Text(f"Nothing would change ({_count(plan.unchanged, 'object')} unchanged).", style="dim")
    return Text(f"{', '.join(parts)}; plan {plan.hash[:8]}", style="dim")


def _count(number: int, word: str) -> str:
    return f"{number} {word}" + ("" if number == 1 else "s")
