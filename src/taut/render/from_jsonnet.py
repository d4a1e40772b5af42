"""Jsonnet on its way to manifests."""

from __future__ import annotations

from importlib.metadata import version

from taut.model.application import JsonnetOptions
from taut.model.errors import RenderError, Where
from taut.render.context import Raw, SourceContext, SourceResult
from taut.render.inputs_jsonnet import resolve_jsonnet
from taut.render.wire import Job, JsonnetTask

JSONNET_VERSION = version("rjsonnet")


async def from_jsonnet(context: SourceContext) -> SourceResult:
    """Evaluate the source's Jsonnet files. Raises RenderError with file and line."""
    options = context.source.jsonnet or JsonnetOptions()
    inputs = await context.read(lambda: resolve_jsonnet(context.reach, context.source.path, options))
    if not inputs.entry_points:
        raise RenderError(
            "there is no *.jsonnet file in this folder",
            where=Where(repository=context.reach.repository, file=context.source.path),
        )
    task = JsonnetTask(
        inputs.entry_points,
        inputs.libs,
        tuple((v.name, v.value, v.code) for v in options.ext_vars),
        tuple((v.name, v.value, v.code) for v in options.tlas),
    )
    key = context.keys.of("jsonnet", JSONNET_VERSION, task, context.reach.closure().to_json(), *context.decryption.key)

    async def make() -> Raw:
        reply = await context.done(Job(inputs.files, inputs.links, task, context.limits, context.decryption.used))
        return Raw(reply.documents, reply.warnings)

    return await context.kept(key, make)
