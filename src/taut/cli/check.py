"""`taut check`: everything that is wrong in a working copy, before it is pushed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click
import msgspec

from taut.cli.data import say, show_data
from taut.cli.ending import Exit
from taut.cli.options import output
from taut.dialects.problems import DocumentProblem
from taut.dialects.working_copy import Report, check_folder


class Fault(msgspec.Struct, frozen=True, rename="camel"):
    """One problem, as `-o json` prints it (a contract with scripts). `line` is 0 when it is about the whole file."""

    file: str
    line: int
    object: str
    field: str
    what: str
    advice: str


class Checked(msgspec.Struct, frozen=True, rename="camel"):
    """The result of a check, as `-o json` prints it."""

    files: int
    documents: int
    applications: int
    problems: tuple[Fault, ...]


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--render/--no-render", default=True, show_default=True, help="Render the applications whose sources are here."
)
@output
def check(paths: tuple[Path, ...], render: bool, output: str) -> int:
    """Check PATHs (folders or files; default: here) of a working copy before they are pushed.

    taut's documents are checked whole, all other YAML and JSON for being readable, and every application whose sources are in this working copy
    is rendered as the controller would. Exit codes: 0 nothing is wrong, 2 something is.
    """
    reports = [(path, check_folder(path)) for path in paths or (Path(),)]
    faults = tuple(_fault(path, problem) for path, report in reports for problem in report.problems)
    if render and any(report.applications for _, report in reports):
        faults += _rendering(reports)
    if output == "table":
        _tell(reports, faults)
    else:
        totals = [r for _, r in reports]
        counted = Checked(
            sum(r.files for r in totals),
            sum(r.documents for r in totals),
            sum(len(r.applications) for r in totals),
            faults,
        )
        show_data(counted, output)
    return Exit.BAD_INPUT if faults else Exit.DONE


def _rendering(reports: list[tuple[Path, Report]]) -> tuple[Fault, ...]:
    """The faults of rendering; what is rendered from elsewhere is said, not judged."""
    from taut.cli.working_copy import render_applications, working_copy_of

    faults: list[Fault] = []
    for path, report in reports:
        if report.applications:
            done = asyncio.run(render_applications(path, report.applications))
            root, _ = working_copy_of(path)
            faults += [_fault(root, problem) for problem in done.problems]
            if done.elsewhere:
                click.echo(f"not rendered, their sources are elsewhere: {', '.join(done.elsewhere)}", err=True)
    return tuple(faults)


def _fault(path: Path, problem: DocumentProblem) -> Fault:
    where = problem.where
    base = path if path.is_dir() else path.parent
    file = (base / where.file).as_posix() if where.file else ""
    return Fault(file, where.line, where.object, where.field, problem.what, problem.advice)


def _tell(reports: list[tuple[Path, Report]], faults: tuple[Fault, ...]) -> None:
    from rich.text import Text

    from taut.cli.printing import console
    from taut.model.visible import one_line

    out = console()
    for fault in faults:
        place = fault.file + (f":{fault.line}" if fault.line else "")
        line = Text(one_line(place), style="bold")
        line.append(f"  {one_line(', '.join(filter(None, (fault.object, fault.field))))}", style="dim")
        out.print(line, soft_wrap=True)
        out.print(Text(f"  {one_line(fault.what)}", style="red"), soft_wrap=True)
        if fault.advice:
            out.print(Text(f"  {one_line(fault.advice)}"), soft_wrap=True)
    files = sum(report.files for _, report in reports)
    applications = sum(len(report.applications) for _, report in reports)
    verdict = f"{len(faults)} {'problem' if len(faults) == 1 else 'problems'}" if faults else "Nothing is wrong"
    say(
        f"{verdict} in {files} {'file' if files == 1 else 'files'} with {applications} {'application' if applications == 1 else 'applications'}."
    )
