"""Jsonnet, inside the prison. Imports are looked for beside the importing file and in the libraries, in the closed directory only."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import rjsonnet

from taut.model.errors import RenderError, Where
from taut.render.wire import JsonnetTask, OutDocument, Reply

_MAX_STACK = 500
_MAX_DEPTH = 32


def evaluate(task: JsonnetTask, root: Path) -> Reply:
    """Evaluate the files and flatten what comes out. Raises RenderError with Jsonnet's message, its file and line."""
    documents: list[OutDocument] = []
    for file in task.files:
        documents += [OutDocument(file, 0, body) for body in flatten(_value(task, root, file), file)]
    return Reply(documents=documents)


def _value(task: JsonnetTask, root: Path, file: str) -> Any:
    def load(folder: str, reference: str) -> tuple[str, str | None]:
        for base in (folder, *(str(root / lib) for lib in task.libs)):
            candidate = Path(base, reference)
            if candidate.is_file():
                return str(candidate), candidate.read_text()
        raise RuntimeError(f"couldn't open import {reference!r}: no match beside the file or in libs")

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
        message = str(error).replace(f"{root}/", "")
        found = re.search(r"([\w./-]+\.(?:lib|j)sonnet):\(?(\d+)", message)
        where = Where(file=found[1], line=int(found[2])) if found else Where(file=file)
        raise RenderError(f"jsonnet: {' '.join(message.split())[:2000]}", where=where) from None
    return json.loads(text)


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
