"""`taut diff`: what a sync would change."""

from __future__ import annotations

import click

from taut.cli.client import Client, app_path
from taut.cli.data import show_data
from taut.cli.ending import Exit
from taut.cli.options import application, connected, output
from taut.cli.planview import show_plan
from taut.server.views import PlanView


@click.command()
@connected
@application()
@output
def diff(client: Client, name: str, output: str) -> int:
    """Show what a sync of an application would change. Ends with 3 when there is a difference."""
    plan = client.get(app_path(name, "plan"), PlanView)
    if output == "table":
        show_plan(plan)
    else:
        show_data(plan, output)
    return Exit.DIFFERENT if plan.changes else Exit.DONE
