"""Go templates that are texts and no manifests: rendered by Helm, in the prison of every render, with nothing but their data in sight."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from taut.model.errors import RenderError
from taut.prison.limits import Limits
from taut.render.wire import HelmTask, InFile, Job, ValuesLayer
from taut.render.workers import Runner, run_job

_CHART = b"apiVersion: v2\nname: texts\nversion: 0.0.0\n"
_HIDDEN = "••••••"
_OUTER = re.compile(r"(?:texts/)?templates/texts\.yaml:(\d+)(?::\d+)?")
_SHORTEST = 3


async def render_texts(
    runner: Runner, limits: Limits, texts: Mapping[str, str], data: Mapping[str, Any]
) -> dict[str, str]:
    """Each template with `data` as its dot (and `$`), by its name. The functions are Helm's.

    Raises RenderError with what is wrong with which template; no value of `data` is in it.
    """
    names = list(texts)
    task = HelmTask(
        folder="",
        release="texts",
        namespace="default",
        kube_version="1.30.0",
        api_versions=(),
        layers=(ValuesLayer(json.dumps({"data": data}).encode(), "data"),),
        crds=False,
        schema=False,
    )
    reply = await run_job(runner, Job(_files([texts[name] for name in names]), [], task, limits))
    if reply.error:
        raise RenderError(_without_values(_named(reply.error, names), data), advice="correct the template")
    for document in reply.documents:
        found = document.body.get("data") if isinstance(document.body, dict) else None
        if isinstance(found, dict) and len(found) == len(names):
            return {name: str(found[f"t{number}"]) for number, name in enumerate(names)}
    raise RenderError("a template breaks out of its place", advice="close every {{ if }}, {{ range }} and {{ define }}")


def _files(texts: list[str]) -> list[InFile]:
    lines = ["apiVersion: v1", "kind: ConfigMap", "metadata: {name: texts}", "data:"]
    lines += [f'  t{n}: {{{{ include "t{n}" .Values.data | toJson }}}}' for n in range(len(texts))]
    inner = [
        InFile(f"templates/_t{n}.tpl", f'{{{{ define "t{n}" }}}}{text}{{{{ end }}}}'.encode())
        for n, text in enumerate(texts)
    ]
    return [InFile("Chart.yaml", _CHART), InFile("templates/texts.yaml", "\n".join(lines).encode()), *inner]


def _named(error: str, names: list[str]) -> str:
    """An error, with templates by their names instead of our files. Line 5 of the outer file asks for the first one."""
    error = _OUTER.sub(
        lambda at: f"the template {names[int(at[1]) - 5]}" if 0 <= int(at[1]) - 5 < len(names) else at[0], error
    )
    for number, name in enumerate(names):
        for place in (f"texts/templates/_t{number}.tpl", f"templates/_t{number}.tpl", f"_t{number}.tpl"):
            error = error.replace(place, f"the template {name}")
    return error


def _without_values(text: str, data: Any) -> str:
    for value in sorted(set(_leaves(data)), key=len, reverse=True):
        if len(value) >= _SHORTEST:
            text = text.replace(value, _HIDDEN)
    return text


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from _leaves(inner)
    elif isinstance(value, str):
        yield value
        yield from value.splitlines()
