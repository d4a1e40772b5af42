"""`taut check`: everything that is wrong in a working copy, before it is pushed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import click
import msgspec

from taut.cli import policy_reports
from taut.cli.data import say, show_data
from taut.cli.ending import Exit
from taut.cli.options import decrypting
from taut.cli.policies import Found, Outcome, Row, check_policies, check_rendered, rows, tell_troubles
from taut.cli.target_schemas import Target, for_target
from taut.dialects.problems import DocumentProblem
from taut.dialects.working_copy import Report, check_folder
from taut.model.application import Application
from taut.model.errors import Where
from taut.model.manifests import Manifest
from taut.policy.waiving import PROJECT


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
    verdicts: tuple[Row, ...] = ()
    """What taut's own checks, and policies, say of what the applications render to."""


_FOLDER = click.Path(exists=True, path_type=Path)
_FORMATS = click.Choice(["table", "json", "yaml", "sarif", "junit"])


@click.command()
@click.argument("paths", nargs=-1, type=_FOLDER)
@click.option(
    "--render/--no-render", default=True, show_default=True, help="Render the applications whose sources are here."
)
@decrypting
@click.option(
    "--policies", multiple=True, type=_FOLDER, metavar="PATH", help="Policies to judge by (files or folders)."
)
@click.option("--resources", multiple=True, type=_FOLDER, metavar="PATH", help="Objects to judge (files or folders).")
@click.option("--exceptions", multiple=True, type=_FOLDER, metavar="PATH", help="Exceptions from the policies.")
@click.option("--builtin", is_flag=True, help="Judge --resources by taut's own checks as well.")
@click.option("--without", multiple=True, metavar="CHECK", help="One of taut's own checks that is not to be made.")
@for_target
@click.option(
    "--kyverno-test", multiple=True, type=_FOLDER, metavar="PATH", help="Run the kyverno-test.yaml files below."
)
@click.option("--gator-suite", multiple=True, type=_FOLDER, metavar="PATH", help="Run Gatekeeper's suites below.")
@click.option("-o", "--output", type=_FORMATS, default="table", show_default=True, help="How the result is printed.")
def check(
    paths: tuple[Path, ...],
    render: bool,
    policies: tuple[Path, ...],
    resources: tuple[Path, ...],
    exceptions: tuple[Path, ...],
    builtin: bool,
    without: tuple[str, ...],
    kyverno_test: tuple[Path, ...],
    gator_suite: tuple[Path, ...],
    output: str,
    decrypt: bool,
    keys: tuple[Path, ...],
    target: Target,
) -> int:
    """Check PATHs (folders or files; default: here) of a working copy before they are pushed.

    taut's documents are checked whole, all other YAML and JSON for being readable, and every application whose sources are in this working copy
    is rendered as the controller would. What comes out is judged by taut's own checks, and by the policies of --policies: Kyverno's, Gatekeeper's and
    Kubernetes' own.

    Fields are looked up in the target's OpenAPI: from --openapi, or asked of the cluster of --kubeconfig and --context; without them it is the
    Kubernetes version that this taut knows.

    With --resources these objects are judged instead: by --policies, and with --builtin by taut's own checks as well.
    --kyverno-test and --gator-suite run the test files of those projects.

    Exit codes: 0 nothing is wrong, 1 something that is enforced failed, or a test did, 2 something cannot be read or used.
    """
    if kyverno_test or gator_suite:
        return _run_tests(kyverno_test, gator_suite, output)
    _known(without)
    if resources or builtin:
        return _judge(policies, resources, exceptions, output, builtin=builtin, without=without, target=target)
    reports = [(path, check_folder(path)) for path in paths or (Path(),)]
    faults = tuple(_fault(path, problem) for path, report in reports for problem in report.problems)
    faults += tuple(fault for path, report in reports for fault in _waivers(path, report))
    objects: list[tuple[Application, Manifest]] = []
    if render and any(report.applications for _, report in reports):
        more, objects = _rendering(reports, keys if decrypt else None)
        faults += more
    if policies and not objects and not faults:
        raise click.UsageError(
            "--policies without --resources judges what applications render to, and none is rendered here"
        )
    schemas = target.schemas() if objects else None
    outcome = check_rendered(objects, policies, exceptions, without=without, schemas=schemas)
    if PROJECT not in without:
        outcome = _with_projects(outcome, reports, objects)
    match output:
        case "table":
            _tell(reports, faults, judged=bool(outcome.found))
            if outcome.found:
                policy_reports.tell(outcome)
        case "sarif":
            click.echo(policy_reports.sarif(outcome))
        case "junit":
            click.echo(policy_reports.junit(outcome))
        case _:
            _show(reports, faults, tuple(rows(outcome)), output)
    if output in {"sarif", "junit"}:
        for fault in faults:
            click.echo(f"{fault.file}:{fault.line}: {fault.what}", err=True)
    tell_troubles(outcome)
    return Exit.BAD_INPUT if faults else outcome.code


def _with_projects(
    outcome: Outcome, reports: list[tuple[Path, Report]], objects: list[tuple[Application, Manifest]]
) -> Outcome:
    """With what the applications' projects forbid, as far as this working copy declares them."""
    from taut.cli.project_rules import outside

    more: list[Found] = []
    for path, report in reports:
        base = path if path.is_dir() else path.parent
        apps = [msgspec.structs.replace(a, origin_file=(base / a.origin_file).as_posix()) for a in report.applications]
        own = {a.key: a for a in apps}
        here = [(own[a.key], m) for a, m in objects if a.key in own]
        more += (Found(verdict, origin) for verdict, origin in outside(report.projects, here, apps))
    return replace(outcome, found=(*outcome.found, *more))


def _show(
    reports: list[tuple[Path, Report]], faults: tuple[Fault, ...], verdicts: tuple[Row, ...], output: str
) -> None:
    totals = [r for _, r in reports]
    counted = Checked(
        sum(r.files for r in totals),
        sum(r.documents for r in totals),
        sum(len(r.applications) for r in totals),
        faults,
        verdicts,
    )
    show_data(counted, output)


def _known(without: tuple[str, ...]) -> None:
    """Raise UsageError for a check that there is not."""
    if without:
        from taut.policy.builtin import NAMES

        names = (*NAMES, PROJECT)
        if unknown := set(without) - set(names):
            raise click.UsageError(f"there is no check {min(unknown)!r}; there are {', '.join(names)}")


def _judge(
    policies: tuple[Path, ...],
    resources: tuple[Path, ...],
    exceptions: tuple[Path, ...],
    output: str,
    *,
    builtin: bool,
    without: tuple[str, ...],
    target: Target,
) -> int:
    if not resources or not (policies or builtin):
        raise click.UsageError("--policies (or --builtin) and --resources go together")
    schemas = target.schemas() if builtin else None
    outcome = check_policies(policies, resources, exceptions, builtin=builtin, without=without, schemas=schemas)
    match output:
        case "table":
            policy_reports.tell(outcome)
        case "sarif":
            click.echo(policy_reports.sarif(outcome))
        case "junit":
            click.echo(policy_reports.junit(outcome))
        case _:
            show_data(rows(outcome), output)
    tell_troubles(outcome)
    return outcome.code


def _run_tests(kyverno: tuple[Path, ...], gator: tuple[Path, ...], output: str) -> int:
    from taut.cli.policies import TestResult, run_gator, run_kyverno

    if output in {"sarif", "junit"}:
        raise click.UsageError(f"-o {output} is for --policies and --resources")
    parts = [run_kyverno(kyverno)] if kyverno else []
    parts += [run_gator(gator)] if gator else []
    whole = TestResult(
        sum(p.passed for p in parts), sum(p.total for p in parts), tuple(f for p in parts for f in p.failures)
    )
    if output == "table":
        for failure in whole.failures:
            click.echo(f"{failure.file}: {failure.case}: wanted {failure.wanted}, found {failure.found}")
            if failure.why:
                click.echo(f"  {failure.why}")
        say(f"{whole.passed} of {whole.total} cases passed.")
    else:
        show_data(whole, output)
    if not whole.total:
        raise click.UsageError("there are no tests below these folders")
    return Exit.DONE if whole.passed == whole.total else Exit.FAILED


def _rendering(
    reports: list[tuple[Path, Report]], keys: tuple[Path, ...] | None
) -> tuple[tuple[Fault, ...], list[tuple[Application, Manifest]]]:
    """The faults of rendering, and what was rendered; what is rendered from elsewhere is said, not judged. Without `keys` SOPS files stay closed."""
    from taut.cli.working_copy import render_applications, working_copy_of
    from taut.controller.decryption import of_person

    faults: list[Fault] = []
    objects: list[tuple[Application, Manifest]] = []
    decrypter = of_person(keys) if keys is not None else None
    for path, report in reports:
        if report.applications:
            done = asyncio.run(render_applications(path, report.applications, decrypter=decrypter))
            for warning in done.warnings:
                click.echo(f"warning: {warning}", err=True)
            root, _ = working_copy_of(path)
            faults += [_fault(root, problem) for problem in done.problems]
            objects += done.objects
            if done.elsewhere:
                click.echo(f"not rendered, their sources are elsewhere: {', '.join(done.elsewhere)}", err=True)
    return tuple(faults), objects


def _waivers(path: Path, report: Report) -> Iterator[Fault]:
    """What is wrong with waivers. Those that count are beside the policies: `--policies` and `--exceptions` name them."""
    from taut.policy.review import Given
    from taut.policy.waivers import read_waivers

    for body, file, line in report.waivers:
        for trouble in read_waivers([Given(body)])[1]:
            where = Where(file=file, line=line, object=trouble.policy)
            yield _fault(path, DocumentProblem(trouble.what, where, trouble.advice))


def _fault(path: Path, problem: DocumentProblem) -> Fault:
    where = problem.where
    base = path if path.is_dir() else path.parent
    file = (base / where.file).as_posix() if where.file else ""
    return Fault(file, where.line, where.object, where.field, problem.what, problem.advice)


def _tell(reports: list[tuple[Path, Report]], faults: tuple[Fault, ...], *, judged: bool) -> None:
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
    if faults:
        verdict = f"{len(faults)} {'problem' if len(faults) == 1 else 'problems'} in"
    else:
        verdict = "Every document can be read:" if judged else "Nothing is wrong in"
    say(
        f"{verdict} {files} {'file' if files == 1 else 'files'} with {applications} {'application' if applications == 1 else 'applications'}."
    )
