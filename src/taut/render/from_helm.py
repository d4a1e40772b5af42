"""A chart on its way to manifests: dependencies, values in their order, the run, and what is left out afterwards."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import version

import msgspec

from taut.documents.yaml import dump
from taut.model.application import HelmOptions
from taut.model.manifests import Manifest
from taut.render.asking import asks
from taut.render.closure import entry_hash
from taut.render.context import Raw, SourceContext, SourceResult
from taut.render.inputs_helm import chart_folder, file_parameters, missing, missing_error, resolve_chart, values_layers
from taut.render.reach import Reach
from taut.render.wire import HelmTask, Job, ValuesLayer

HELM_VERSION = version("helm-python-sdk")
HOOK = "helm.sh/hook"


async def from_helm(context: SourceContext) -> SourceResult:
    """Render the source's chart. Raises RenderError, BadInput, and SourceError for a dependency that cannot be fetched."""
    options = context.source.helm_options or HelmOptions()
    reach = context.reach
    chart = await context.read(lambda: _taken(reach, context.source.path))
    complete, warnings = await _with_dependencies(context, chart)
    inputs = await context.read(lambda: resolve_chart(complete, chart, schema=not options.skip_schema_validation))
    layers = tuple(await _layers(context, chart, options))
    task = HelmTask(
        folder=chart,
        release=options.release_name or context.app,
        namespace=options.namespace or context.namespace,
        kube_version=options.kube_version or context.capabilities.kube_version,
        api_versions=tuple(options.api_versions or context.capabilities.api_versions),
        layers=layers,
        crds=not options.skip_crds,
        schema=not options.skip_schema_validation,
    )
    content = [(f.path, context.keys.seal(f.data)) for f in inputs.files] if complete is not reach else []
    texts = [*((f.path, f.data) for f in inputs.files), *((layer.origin, layer.text) for layer in task.layers)]
    asking = await context.read(lambda: asks(texts))
    # A kind that comes or goes must not have every chart rendered anew: only those that ask for it.
    known = task if asking else msgspec.structs.replace(task, kube_version="", api_versions=())
    key = context.keys.of("helm", HELM_VERSION, known, reach.closure().to_json(), content, *context.decryption.key)

    async def make() -> Raw:
        reply = await context.done(Job(inputs.files, inputs.links, task, context.limits, context.decryption.used))
        return Raw(reply.documents, reply.warnings, reply.random)

    result = await context.kept(key, make)
    return _leave_out(replace(result, warnings=(*warnings, *result.warnings), capabilities=asking), options)


def _taken(reach: Reach, path: str) -> str:
    chart = chart_folder(reach, path)
    reach.take_folder(chart)
    return chart


async def _with_dependencies(context: SourceContext, chart: str) -> tuple[Reach, tuple[str, ...]]:
    """The source's tree, with the chart's dependencies in it if the repository does not hold them itself."""
    reach = context.reach
    lacking = [d for d in await context.read(lambda: missing(reach, chart)) if not d.is_local]
    if not lacking:
        return reach, ()
    if context.fetcher is None:
        raise missing_error(reach, lacking)
    filled = await context.fetcher.chart_with_dependencies(
        reach.tree, chart, allowed=context.allowed, credentials=context.source.credentials
    )
    reach.remember(f"dependencies of {chart or '.'}", entry_hash(filled.tree, chart) or "")
    return Reach(filled.tree, reach.repository, reach.limits, decryption=reach.decryption), filled.warnings


async def _layers(context: SourceContext, chart: str, options: HelmOptions) -> list[ValuesLayer]:
    """All values, in the order of HelmOptions: files, from the target, inline, files of parameters, parameters."""
    layers = await context.read(lambda: values_layers(context.reach, chart, options, context.others))
    layers += await context.target.layers(options)
    if options.values:
        layers.append(ValuesLayer(dump(options.values).encode(), "values of the application"))
    layers += await context.read(lambda: file_parameters(context.reach, chart, options, context.others))
    for parameter in options.parameters:
        how = "text" if parameter.force_string else "set"
        layers.append(ValuesLayer(parameter.value.encode(), f"parameter {parameter.name}", parameter.name, how))
    return layers


def _leave_out(result: SourceResult, options: HelmOptions) -> SourceResult:
    """Leave out tests and hooks where the options say so; the numbers of random objects follow."""
    kept = [n for n, m in enumerate(result.manifests) if not _is_left_out(m, options)]
    if len(kept) == len(result.manifests):
        return result
    places = {old: new for new, old in enumerate(kept)}
    random = tuple((places[n], path) for n, path in result.random if n in places)
    return replace(result, manifests=tuple(result.manifests[n] for n in kept), random=random)


def _is_left_out(manifest: Manifest, options: HelmOptions) -> bool:
    events = [e.strip() for e in str(manifest.annotations.get(HOOK, "")).split(",") if e.strip()]
    is_test = any(e in {"test", "test-success", "test-failure"} for e in events)
    return bool(events) and (options.skip_hooks or (options.skip_tests and is_test))
