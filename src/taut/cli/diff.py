"""`taut diff`: what a sync would change, as the running taut sees it, or what a working copy would change before any push."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from taut.cli.data import show_data
from taut.cli.ending import Exit
from taut.cli.options import application, decrypting, output, server_options
from taut.cli.planview import show_plan
from taut.model.errors import BadInput
from taut.server.views import PlanView


@click.command()
@server_options
@application(metavar="NAME|PATH")
@click.option(
    "--kubeconfig", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="With PATH: the cluster."
)
@click.option("--context", help="With PATH: the context in the kubeconfig.")
@click.option("--namespace", "-n", help="With PATH: the target's namespace.  [default: the document's, else default]")
@decrypting
@output
def diff(
    *,
    name: str,
    output: str,
    server: str | None,
    token_file: Path | None,
    kubeconfig: Path | None,
    context: str | None,
    namespace: str | None,
    decrypt: bool,
    keys: tuple[Path, ...],
) -> int:
    """Show what a sync of an application would change, or what the folder PATH of a working copy would change in a cluster.

    An argument that is a folder and holds a slash (./web, apps/web, .) is a PATH. When the working copy has an Application document for that
    folder, its options, ignore rules and namespace count. Ends with 3 when there is a difference.
    """
    if _is_path(name):
        plan = _local(Path(name), kubeconfig, context, namespace, keys if decrypt else None)
    else:
        plan = _running(name, server, token_file)
    if output == "table":
        show_plan(plan)
    else:
        show_data(plan, output)
    return Exit.DIFFERENT if plan.changes or plan.held_for else Exit.DONE


def _is_path(name: str) -> bool:
    """Whether a folder is meant. What only a folder can be called and is none is a mistake."""
    if ("/" in name or name in (".", "..")) and Path(name).is_dir():
        return True
    if name.startswith(("/", "./", "../")) or name.endswith("/"):
        raise BadInput(f"There is no folder {name}", advice="name a folder of a working copy, or an application")
    return False


def _running(name: str, server: str | None, token_file: Path | None) -> PlanView:
    from taut.cli.client import Client, app_path
    from taut.cli.discovery import find

    url, token = find(server, token_file)
    return Client(url, token).get(app_path(name, "plan"), PlanView)


def _local(
    path: Path, kubeconfig: Path | None, context: str | None, namespace: str | None, keys: tuple[Path, ...] | None
) -> PlanView:
    """The plan for a folder; with `keys` (perhaps none besides the environment's) SOPS files are opened."""
    from taut.cli.working_copy import application_for
    from taut.controller.decryption import of_person
    from taut.controller.local import local_plan

    decrypter = of_person(keys) if keys is not None else None
    app, root, repository = application_for(path, namespace)
    plan = local_plan(app, root, repository, kubeconfig=kubeconfig, context=context, decrypter=decrypter)
    return PlanView.of(asyncio.run(plan))
