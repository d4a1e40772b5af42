"""`taut approve`: let a held plan pass, after looking at it."""

from __future__ import annotations

import sys

import click

from taut.cli.client import Client, app_path
from taut.cli.data import say
from taut.cli.ending import Exit
from taut.cli.options import application, connected
from taut.model.errors import BadInput, TautError
from taut.model.plan import Action
from taut.server.views import PlanView, Said

_DIGITS = 8
"""So many digits of the hash are asked for: enough to have looked, few enough to type."""
_DESTROYS = frozenset({Action.DELETE, Action.RECREATE})


@click.command()
@connected
@application()
@click.option(
    "--plan",
    "digits",
    metavar="HASH",
    help="The plan that was looked at already: its hash, or the first 8 digits of it.",
)
@click.option("--reason", default="", help="Why, for the history.")
def approve(client: Client, name: str, digits: str | None, reason: str) -> int:
    """Let a held plan pass, once. It is shown first; a plan that deletes is confirmed with the first 8 digits of its hash.

    After a new commit or a change in the cluster the plan is another one, and the approval does not count for it.
    """
    plan = client.get(app_path(name, "plan"), PlanView)
    if digits is None:
        from taut.cli.planview import show_plan

        show_plan(plan)
    if not plan.held_for:
        say(f"Nothing of {plan.app} waits for approval.")
        return Exit.DONE
    stuck = next((hold for hold in plan.held_for if not hold.approvable), None)
    if stuck is not None:
        raise TautError(f"{plan.app}: {stuck.message}", advice="no approval lets this pass; change it in Git")
    if digits is not None:
        _same_plan(plan, digits)
    elif not _confirmed(plan):
        say("Not approved.")
        return Exit.HELD
    said = client.post(app_path(plan.app, "approve"), Said, {"plan": plan.hash, "reason": reason})
    say(said.message)
    return Exit.DONE


def _same_plan(plan: PlanView, digits: str) -> None:
    if len(digits) < _DIGITS:
        raise BadInput(f"--plan {digits} is too short", advice=f"give at least {_DIGITS} digits of the plan's hash")
    if not plan.hash.startswith(digits.lower()):
        raise TautError(
            f"The plan of {plan.app} is not {digits[:_DIGITS]} any more, it is {plan.hash[:_DIGITS]}",
            advice=f"look at what changed with `taut approve {plan.app}`",
        )


def _confirmed(plan: PlanView) -> bool:
    if not sys.stdin.isatty():
        raise BadInput(
            "Nobody is there to confirm the plan",
            advice=f"run it in a terminal, or pass --plan {plan.hash[:_DIGITS]} after looking at it",
        )
    if any(change.action in _DESTROYS for change in plan.changes):
        typed = click.prompt(
            f"This deletes. Type the first {_DIGITS} digits of the plan's hash to let it pass",
            default="",
            show_default=False,
        )
        return len(typed) >= _DIGITS and plan.hash.startswith(typed.lower())
    return click.confirm("Let this plan pass?", default=False)
