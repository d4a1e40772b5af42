"""Jsonnet, inside the prison. Imports are looked for beside the importing file and in the libraries, in the closed directory only."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import rjsonnet

from taut.documents.yaml import Limits as DocumentLimits
from taut.documents.yaml import load_one
from taut.model.errors import RenderError, Where
from taut.prison.limits import Limits
from taut.render.wire import JsonnetTask, OutDocument, Reply

_MAX_STACK = 500
_MAX_DEPTH = 32


def evaluate(task: JsonnetTask, root: Path, limits: Limits) -> Reply:
    """Evaluate the files and flatten what comes out. Raises RenderError with Jsonnet's message, its file and line,
    also for a result that is too large, and BadInput for one that is nested too deeply.
    """
    documents: list[OutDocument] = []
    for file in task.files:
        documents += [OutDocument(file, 0, body) for body in flatten(_value(task, root, file, limits), file)]
    return Reply(documents=documents)


def _value(task: JsonnetTask, root: Path, file: str, limits: Limits) -> Any:
    lost: list[tuple[str, str]] = []

    def load(folder: str, reference: str) -> tuple[str, str | None]:
        for base in (folder, *(str(root / lib) for lib in task.libs)):
            candidate = Path(base, reference)
            if candidate.is_file() and candidate.resolve().is_relative_to(root):
                return str(candidate), candidate.read_text()
        lost.append((folder, reference))
        raise RuntimeError("not found")

    try:
        text = rjsonnet.evaluate_file(
            str(root / file),
            max_stack=_MAX_STACK,
            ext_vars={n: v for n, v, code in task.ext_vars if not code},
            ext_codes={n: v for n, v, code in task.ext_vars if code},
            tla_vars={n: v for n, v, code in task.tlas if not code},
            tla_codes={n: v for n, v, code in task.tlas if code},
            import_callback=load,
        )
    except (RuntimeError, ValueError) as error:
        if lost:
            raise _missing(*lost[0], root) from None
        message = str(error).replace(f"{root}/", "")
        found = re.search(r"([\w./-]+\.(?:lib|j)sonnet):\(?(\d+)", message)
        where = Where(file=found[1], line=int(found[2])) if found else Where(file=file)
        raise RenderError(f"jsonnet: {' '.join(message.split())[:2000]}", where=where) from None
    data = text.encode()
    if len(data) > limits.output_bytes:
        raise RenderError(
            f"the result is larger than {limits.output_bytes // (1024 * 1024)} MiB",
            where=Where(file=file),
            advice="split the application, or look for an endless loop",
        )
    return load_one(data, file=file, limits=DocumentLimits(bytes=limits.output_bytes))


def _missing(folder: str, reference: str, root: Path) -> RenderError:
    """The error for an import that is nowhere, with the first line of that folder's files that has it."""
    for file in sorted(Path(folder).iterdir()):
        if file.suffix in {".jsonnet", ".libsonnet"}:
            for number, line in enumerate(file.read_text(errors="replace").splitlines(), 1):
                if "import" in line and reference in line:
                    where = Where(file=str(file.relative_to(root)), line=number)
                    return RenderError(
                        f"the import {reference} does not exist beside the file, nor in libs", where=where
                    )
    return RenderError(f"the import {reference} does not exist")


def flatten(value: Any, file: str, depth: int = 0) -> Iterator[dict[str, Any]]:
    """The objects in a value: the value itself, or what its lists and mappings hold. Raises RenderError for anything else."""
    if isinstance(value, dict) and value.get("apiVersion") and value.get("kind"):
        yield value
    elif value is None:
        return
    elif isinstance(value, dict | list) and depth < _MAX_DEPTH:
        for item in value.values() if isinstance(value, dict) else value:
            yield from flatten(item, file, depth + 1)
    else:
        raise RenderError(
            f"jsonnet gave a {type(value).__name__} where an object, a list or a mapping of objects was expected",
            where=Where(file=file),
        )
