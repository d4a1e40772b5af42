"""Test files of policies, run in a worker: a policy in them is as hostile as one that judges."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from taut.model.errors import PolicyError
from taut.policy.roots import root_of
from taut.policy.testing import Ran, Runner, Starts, TestFailure, TestReport, Trial, Word
from taut.prison.limits import Limits
from taut.prison.pool import Pool, Renewed
from taut.prison.serving import packed
from taut.prison.trade import Trade
from taut.prison.walls import Prison

TRYING = Trade(
    module="taut.policy.trial_worker",
    worker="test worker",
    doing="running a test file",
    doer="the test worker",
    advice="look for a policy with an endless loop",
    error=PolicyError,
)
LIMITS = Limits(wall_seconds=30, cpu_seconds=30, memory_mb=1024, processes=32, output_bytes=32 * 2**20)
"""What one file may cost."""
_MOST_STOPS = 5


def run(runner: Runner, folder: Path, files: Sequence[Path], limits: Limits = LIMITS) -> TestReport:
    """What came of test files at or below a folder. One that takes too much is a case that failed; after five of them the others are not run.

    Raises PolicyError when no worker can be had.
    """
    here = folder.resolve()
    root = root_of(folder)
    if root == Path(root.anchor):  # nobody is shown a whole machine
        root = here if here.is_dir() else here.parent
    names, change_to = [str(f) for f in files], ""
    if not folder.is_absolute():
        change_to = str(Path.cwd())
    if os.path.normpath(folder.absolute()) != str(here) or not Path(change_to or root).is_relative_to(root):
        names, change_to = [str(here / f.relative_to(folder)) for f in files], ""  # the way to them is not shown
    trial = Trial(runner, str(root), change_to, names, limits.cpu_seconds)
    reports = asyncio.run(_run(trial, limits))
    whole = TestReport(0, 0)
    for place, file in enumerate(files):
        whole = whole.plus(_named(reports[place], file))
    return whole


async def _run(trial: Trial, limits: Limits) -> dict[int, TestReport]:
    """A report for each file, by its place. Raises PolicyError when no worker can be had."""
    reports: dict[int, TestReport] = {}
    stops = 0
    pool = Pool(TRYING, lambda: Prison(limits=limits, folders=(trial.root,)), size=1, idle_seconds=30)
    try:
        while places := [n for n in range(len(trial.files)) if n not in reports]:
            if stops >= _MOST_STOPS:
                why = f"{stops} test files were stopped, and this one was not run"
                return reports | {n: _failed(why) for n in places}
            begun: list[int] = []
            part = msgspec.structs.replace(trial, files=[trial.files[n] for n in places])
            try:
                await _tried(pool, part, limits, places, begun, reports)
            except PolicyError as error:
                if not begun:
                    raise
                stops += 1
                reports[begun[-1]] = _failed(f"{error.what} ({error.advice})".removesuffix(" ()"))
    finally:
        await pool.close()
    return reports


async def _tried(
    pool: Pool, trial: Trial, limits: Limits, places: Sequence[int], begun: list[int], reports: dict[int, TestReport]
) -> None:
    """Have files run; what comes of each is put into `reports` at once, at its place. Raises PolicyError when one of them takes too much."""

    async def answer(message: bytes) -> Renewed | None:
        try:
            said = msgspec.msgpack.decode(message, type=Word)
        except msgspec.MsgspecError:
            raise PolicyError("the test worker said what cannot be read") from None
        match said:
            case Starts(place):
                begun.append(places[place])
            case Ran(place, report):
                reports[places[place]] = report
            case _:
                return None
        return Renewed(b"", limits.wall_seconds)

    await pool.run(packed(trial), limits, answer)
    if missing := [n for n in places if n not in reports]:
        raise PolicyError(f"the test worker left out {len(missing)} files")


def _failed(why: str) -> TestReport:
    return TestReport(0, 1, (TestFailure("", "", "a test", "none", why),))


def _named(report: TestReport, file: Path) -> TestReport:
    """A report in which the file has the name that it was given by."""
    return replace(report, failures=tuple(replace(f, file=str(file)) for f in report.failures))
