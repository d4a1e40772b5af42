"""A worker that runs test files of policies, in its prison: it sees the working copy that they are in, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from taut.policy import admission, gatekeeper, kyverno, kyverno_cel
from taut.policy.engines import build
from taut.policy.gatekeeper import suites
from taut.policy.kyverno import cli_tests
from taut.policy.testing import Done, Ran, Starts, Trial
from taut.prison import walls
from taut.prison.serving import Ask, packed, serve

_PRELOADED = (admission, gatekeeper, kyverno, kyverno_cel)
"""Loaded before a worker is forked."""


def main(arguments: list[str]) -> int:
    """Enter the prison that `arguments[0]` (JSON) describes and serve. Returns the exit code."""
    return serve(arguments, _work)


def _work(frame: bytes, _held: walls.Held, ask: Ask) -> bytes:
    trial = msgspec.msgpack.decode(frame, type=Trial)
    root = Path(trial.root)
    if trial.folder:
        os.chdir(trial.folder)
    for place, name in enumerate(trial.files):
        ask(packed(Starts(place)))
        walls.limit_cpu(trial.cpu_seconds)
        file = Path(name)
        report = cli_tests.run_file(file, build, root) if trial.runner == "kyverno" else suites.run_file(file, root)
        ask(packed(Ran(place, report)))
    return packed(Done())
