"""A worker: goes into its prison, then takes jobs from its parent one after the other until the pipe closes.

Forked by the nursery, with an empty environment. The libraries that render are loaded inside, when the first job needs them, so that
nothing forks after a Go library is loaded.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import msgspec

from taut.model.errors import BadInput, RenderError, TautError
from taut.prison import walls
from taut.prison.limits import GO_THREADS
from taut.prison.serving import Ask, packed, serve
from taut.render import run_kustomize
from taut.render.wire import HelmTask, Job, KustomizeTask, Reply, TemplatesTask


def main(arguments: list[str]) -> int:
    """Enter the prison that `arguments[0]` (JSON) describes and serve. Returns the exit code."""
    return serve(arguments, _work)


def _work(frame: bytes, held: walls.Held, _ask: Ask) -> bytes:
    job = msgspec.msgpack.decode(frame, type=Job)
    walls.limit_cpu(job.limits.cpu_seconds)
    data = packed(_answer(job, held))
    return data if len(data) <= job.limits.output_bytes else packed(_too_much(job))


def _answer(job: Job, held: walls.Held) -> Reply:
    root = Path(held.work, "job")
    shutil.rmtree(root, ignore_errors=True)
    try:
        if job.secret and not held.in_memory:
            raise RenderError(
                "the decrypted inputs would lie on a disk: this machine has no folder in memory for them",
                advice="mount a tmpfs at /dev/shm, or let taut make namespaces",
            )
        _materialise(job, root)
        return _run(job, root, held)
    except TautError as error:
        where = error.where
        return Reply(
            error=error.what,
            bad_input=isinstance(error, BadInput),
            file=where.file,
            line=where.line,
            field=where.field,
            advice=error.advice,
        )
    except MemoryError:
        return Reply(
            error=f"rendering needs more than {job.limits.memory_mb} MB of memory", advice="look for an endless loop"
        )
    except OSError as error:
        return Reply(error=f"the worker could not go on: {error.strerror or error}")
    except Exception as error:  # noqa: BLE001 (whatever a library raises for hostile input is this job's failure, and no traceback)
        return Reply(error=f"the renderer failed: {type(error).__name__}: {str(error)[:500]}")
    finally:
        os.chdir(held.work)
        for left in Path(held.work).iterdir():
            shutil.rmtree(left, ignore_errors=True) if left.is_dir() and not left.is_symlink() else left.unlink(
                missing_ok=True
            )


def _materialise(job: Job, root: Path) -> None:
    root.mkdir(mode=0o700, parents=True)
    for file in job.files:
        target = root / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.data)
        if file.executable:
            target.chmod(0o700)
    for link in job.links:
        target = root / link.path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(link.target)


def _run(job: Job, root: Path, held: walls.Held) -> Reply:
    os.chdir(root)
    if isinstance(job.task, KustomizeTask):
        return run_kustomize.build(job.task, root, held.tools, job.limits)
    if isinstance(job.task, HelmTask):
        os.environ["GOMAXPROCS"] = GO_THREADS
        from taut.render.run_helm import render

        return render(job.task, root, job.limits)
    if isinstance(job.task, TemplatesTask):
        os.environ["GOMAXPROCS"] = GO_THREADS
        from taut.render.run_templates import run

        return run(job.task, root)
    from taut.render.run_jsonnet import evaluate

    return evaluate(job.task, root, job.limits)


def _too_much(job: Job) -> Reply:
    return Reply(
        error=f"the result is larger than {job.limits.output_bytes // (1024 * 1024)} MiB",
        advice="split the application, or look for an endless template",
    )
