"""`taut tree`: an application's objects and what they made, down to Pods."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import click
from rich.text import Text

from taut.cli.client import Client, app_path
from taut.cli.data import show_data
from taut.cli.options import application, connected, output
from taut.cli.printing import console
from taut.cli.words import health_state
from taut.model.status import SyncStatus
from taut.model.visible import one_line
from taut.server.views import TreeNode


@click.command()
@connected
@application()
@output
def tree(client: Client, name: str, output: str) -> None:
    """Show an application's objects down to Pods."""
    nodes = client.get(app_path(name, "tree"), list[TreeNode])
    if output != "table":
        show_data(nodes, output)
        return
    if not nodes:
        click.echo(
            f"{one_line(name)} has no objects yet. They appear here with its first sync: `taut sync {one_line(name)}`."
        )
        return
    out = console()
    for line in tree_lines(nodes):
        out.print(line, no_wrap=True, overflow="ellipsis" if out.is_terminal else "ignore", crop=False)


def tree_lines(nodes: Sequence[TreeNode]) -> Iterator[Text]:
    """The tree, drawn. A node whose parent is not among them stands at the top."""
    known = {node.id for node in nodes}
    children: dict[str, list[TreeNode]] = {}
    for node in nodes:
        children.setdefault(node.parent if node.parent in known else "", []).append(node)
    for node in children.get("", []):
        yield _line("", node)
        yield from _below(node, children, "", frozenset({node.id}))


def _below(node: TreeNode, children: dict[str, list[TreeNode]], indent: str, above: frozenset[str]) -> Iterator[Text]:
    # Owner references come from the cluster: a loop in them must not draw without an end.
    found = [child for child in children.get(node.id, []) if child.id not in above]
    for n, child in enumerate(found):
        last = n == len(found) - 1
        yield _line(indent + ("└─ " if last else "├─ "), child)
        yield from _below(child, children, indent + ("   " if last else "│  "), above | {child.id})


def _line(indent: str, node: TreeNode) -> Text:
    state = health_state(node.health)
    quiet = "dim" if state.word == "Healthy" else ""
    name = f"{node.namespace}/{node.name}" if node.namespace else node.name
    line = Text.assemble((indent, "dim"), (state.mark, state.style), " ", (one_line(f"{node.kind} {name}"), quiet))
    if state.word != "Healthy" and node.health is not None:
        line.append(f"  {node.health.value}", style=state.style)
    if node.sync is SyncStatus.OUT_OF_SYNC:
        line.append("  behind", style="yellow")
    if node.message:
        line.append(f"  {one_line(node.message)}", style=quiet)
    return line
