"""`taut localplane`: a real Kubernetes control plane on this machine."""

from __future__ import annotations

import click
import msgspec

from taut import localplane as planes
from taut.cli.options import output as output_option
from taut.cli.printing import Column, show_data, show_table
from taut.localplane import Plane

_COLUMNS = (
    Column("NAME"),
    Column("STATE"),
    Column("SERVER", drop=1),
    Column("DATA", drop=2),
    Column("KUBECONFIG", least=20),
)
_DEFAULT = "dev"


class Listed(msgspec.Struct, frozen=True, rename="camel"):
    """One control plane (a contract with scripts)."""

    name: str
    state: str
    server: str
    kubeconfig: str
    audit_log: str
    kept: bool
    pid: int


@click.group()
def localplane() -> None:
    """Start and stop real Kubernetes control planes on this machine.

    A control plane is etcd, the API server, the controllers, the scheduler and a fake kubelet: Pods are scheduled and become
    ready, but nothing runs in them. The programs are built once, which needs Go and takes about five minutes. Each control
    plane has its own CA and credentials, in files that only you can read.
    """


@localplane.command()
@click.argument("name", default=_DEFAULT)
@click.option("--audit", is_flag=True, help="Write the API server's audit log: one line for each request.")
@click.option(
    "--keep/--throw-away",
    default=True,
    show_default=True,
    help="Whether the data outlive `stop`; `delete` removes them.",
)
def start(name: str, audit: bool, keep: bool) -> None:
    """Start the control plane NAME (default: dev), and wait until Pods can run. It runs until `stop`."""
    plane = planes.start(name, audit=audit, keep=keep, detached=True)
    click.echo(f"The control plane {name} runs at {plane.server}.")
    click.echo(f"  export KUBECONFIG={plane.kubeconfig}")
    if plane.audit_log:
        click.echo(f"  Audit log: {plane.audit_log}")


@localplane.command()
@click.argument("name", default=_DEFAULT)
def stop(name: str) -> None:
    """Stop the control plane NAME (default: dev)."""
    kept = planes.get(name).keep
    planes.stop(name)
    click.echo(f"The control plane {name} is stopped; its data are {'kept' if kept else 'gone'}.")


@localplane.command("list")
@output_option
def list_(output: str) -> None:
    """List all control planes."""
    found = planes.planes()
    if output != "table":
        show_data([_listed(p) for p in found], output)
    elif found:
        rows = [(p.name, p.state, p.server, "kept" if p.keep else "thrown away", str(p.kubeconfig)) for p in found]
        show_table(_COLUMNS, rows)
    else:
        click.echo("There is no control plane; `taut localplane start` makes one.", err=True)


@localplane.command()
@click.argument("name", default=_DEFAULT)
def kubeconfig(name: str) -> None:
    """Print the path of the kubeconfig of NAME (default: dev)."""
    click.echo(str(planes.get(name).kubeconfig))


@localplane.command()
@click.argument("name", default=_DEFAULT)
def delete(name: str) -> None:
    """Stop the control plane NAME (default: dev) if it runs, and throw its data away."""
    planes.delete(name)
    click.echo(f"The control plane {name} is gone.")


def _listed(plane: Plane) -> Listed:
    return Listed(
        name=plane.name,
        state=plane.state.value,
        server=plane.server,
        kubeconfig=str(plane.kubeconfig),
        audit_log=str(plane.audit_log or ""),
        kept=plane.keep,
        pid=plane.pid,
    )
