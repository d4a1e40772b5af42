"""A kustomization on its way to manifests: resolve, fetch what is elsewhere, build, and fall back to the whole tree when a file was overlooked."""

from __future__ import annotations

import re
from dataclasses import replace

from taut.model.application import KustomizeOptions
from taut.model.errors import RenderError, TautError, Where
from taut.model.manifests import Origin
from taut.render.context import Raw, SourceContext, SourceResult
from taut.render.inputs_kustomize import MAIN, KustomizeInputs, Remote, resolve
from taut.render.reach import join
from taut.render.run_kustomize import ORIGIN
from taut.render.tools import Kustomize
from taut.render.wire import Job, KustomizeTask, OutDocument

_ROUNDS = 20
_MISSING = re.compile(
    r"no such file|doesn't exist|does not exist|not found|must resolve|couldn't find|unable to find|failure on",
    re.IGNORECASE,
)
_TOKEN = re.compile(r"(?:^|[\s'\"(])" + re.escape(MAIN) + r"([^\s'\":,)]+)")


async def from_kustomize(context: SourceContext, tool: Kustomize) -> SourceResult:
    """Build the source's kustomization. Raises RenderError, BadInput, and SourceError for a base that cannot be fetched."""
    options = context.source.kustomize or KustomizeOptions()
    remotes: dict[str, Remote] = {}
    inputs = await _resolved(context, options, remotes)
    result = await _kept(context, tool, options, inputs)
    if isinstance(result, str):
        overlooked = result
        whole = await context.read(lambda: resolve(context.reach, context.source.path, options, remotes, whole=True))
        result = await _kept(context, tool, options, whole)
        if isinstance(result, str):
            raise RenderError(f"kustomize does not find {result}", where=Where(file=context.source.path))
        warning = f"kustomize read {overlooked}, which taut did not find by following references: the whole repository is its input now"
        result = replace(result, warnings=(*result.warnings, warning))
    warnings = tuple(w for remote in remotes.values() for w in remote.warnings)
    return replace(
        result,
        warnings=(*warnings, *result.warnings),
        manifests=tuple(replace(m, origin=_origin(m.annotations.get(ORIGIN), m.origin)) for m in result.manifests),
    )


async def _kept(
    context: SourceContext, tool: Kustomize, options: KustomizeOptions, inputs: KustomizeInputs
) -> SourceResult | str:
    """The result for these inputs; or the path of a file that the tool asked for in vain although the repository has it."""
    parts = (tool.version, options, context.source.path, inputs.closure.to_json())
    key = context.keys.of("kustomize", *parts, *context.decryption.key)
    try:
        return await context.kept(key, lambda: _build(context, tool, inputs))
    except TautError as error:
        overlooked = _overlooked(context, error)
        if not overlooked:
            raise
        return overlooked


async def _resolved(context: SourceContext, options: KustomizeOptions, remotes: dict[str, Remote]) -> KustomizeInputs:
    for _ in range(_ROUNDS):
        inputs = await context.read(lambda: resolve(context.reach, context.source.path, options, remotes))
        if not inputs.wanted:
            return inputs
        for url in inputs.wanted:
            if context.fetcher is None:
                raise RenderError(
                    f"the base {url} is elsewhere, and nothing is fetched here", where=Where(file=context.source.path)
                )
            base = await context.fetcher.remote_base(url, allowed=context.allowed)
            remotes[url] = Remote(base.snapshot, base.path, base.warnings)
    raise RenderError(
        f"remote bases refer to remote bases more than {_ROUNDS} times", where=Where(file=context.source.path)
    )


async def _build(context: SourceContext, tool: Kustomize, inputs: KustomizeInputs) -> Raw:
    task = KustomizeTask(inputs.folder, tool.tool)
    job = Job(inputs.files, inputs.links, task, context.limits, context.decryption.used)
    reply = await context.done(job)
    documents = [
        OutDocument(d.file.removeprefix(MAIN).removeprefix(MAIN.rstrip("/")), d.line, d.body) for d in reply.documents
    ]
    return Raw(documents, reply.warnings)


def _overlooked(context: SourceContext, error: TautError) -> str:
    """The file that the tool asked for in vain although the repository has it; empty when that is not what went wrong."""
    if not _MISSING.search(error.what):
        return ""
    for found in _TOKEN.finditer(error.what):
        path = found[1].rstrip(".'\"")
        if not context.reach.has(path) and context.reach.tree.entry(path) is not None:
            return path
    return ""


def _origin(annotation: str | None, default: Origin) -> Origin:
    """The file that kustomize says an object is from, where the kustomization asks for it (buildMetadata)."""
    found = re.search(r"^path:\s*(\S+)", annotation or "", re.MULTILINE)
    if not found or "repo:" in (annotation or ""):
        return default
    return Origin(default.source, join(default.file, found[1]), 0)
