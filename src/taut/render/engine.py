"""Rendering: sources in, manifests out. One engine for the controller, the pull requests and the command line.

What comes out depends on content alone: the files a render could read, its options, what it was told and read of the target. The key says
all of that, results are kept by it, and the closure tells whether another commit can change anything.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from taut import __version__
from taut.model.application import ApplicationSpec, PlainOptions, Renderer, Source, Substitute
from taut.model.errors import TautError
from taut.model.live import Capabilities
from taut.model.manifests import Manifest
from taut.model.snapshot import Snapshot
from taut.prison.limits import Limits
from taut.prison.pool import Pool
from taut.prison.walls import Held, Prison
from taut.render.closure import Closure
from taut.render.context import SourceContext, SourceResult
from taut.render.decryption import LEAST_FOUND, DecryptedField, Decryption, marked, warnings_of
from taut.render.detect import detect
from taut.render.from_helm import HELM_VERSION, from_helm
from taut.render.from_jsonnet import JSONNET_VERSION, from_jsonnet
from taut.render.from_kustomize import from_kustomize
from taut.render.keys import Keys
from taut.render.normalise import normalise
from taut.render.plain import render_plain
from taut.render.protocols import Allowed, Cache, Decrypter, Fetcher, NoCache, Opened, TargetReader
from taut.render.reach import Reach
from taut.render.substitute import checked, substitute
from taut.render.target_values import TargetRead, TargetValues
from taut.render.templates import GoTemplates
from taut.render.tools import Kustomize, find_kustomize
from taut.render.workers import RENDERING, run_job

_log = logging.getLogger(__name__)
_CLOSURE = "render_closure"
_READERS = 2


def _nothing_is_allowed(_: str) -> bool:
    return False


@dataclass(frozen=True)
class RenderSource:
    """A source as written, and the snapshot it stands for now."""

    spec: Source
    snapshot: Snapshot


@dataclass(frozen=True)
class RenderJob:
    """What to render. `allowed` tells which remote addresses (bases, dependencies) the project lists; by default none.

    `decrypter` opens encrypted files; without one they stay as they are, and an object that is still encrypted is refused unless
    `keep_encrypted`. `opened` are files of this kind whose values the options hold already.
    """

    app: str
    namespace: str
    sources: tuple[RenderSource, ...]
    substitute: Substitute | None = None
    capabilities: Capabilities = field(default_factory=Capabilities)
    allowed: Allowed = _nothing_is_allowed
    decrypter: Decrypter | None = None
    keep_encrypted: bool = False
    opened: tuple[Opened, ...] = ()


@dataclass(frozen=True, slots=True)
class RandomField:
    """A field that a second render of the same inputs gave differently: `object` as `ObjectRef.id`, a dotted path (empty: all of it)."""

    object: str
    path: str


@dataclass(frozen=True)
class Rendered:
    """What came out. Equal keys, equal manifests."""

    manifests: tuple[Manifest, ...]
    key: str
    closure: Closure
    warnings: tuple[str, ...] = ()
    cached: bool = False
    """Whether no source had to be run. Plain sources are read again each time: that is as quick as looking them up."""
    target_reads: tuple[TargetRead, ...] = ()
    random: tuple[RandomField, ...] = ()
    capabilities: bool = False
    """Whether a source asked what the target can do (its version, its kinds): then a change of that may change what comes out."""
    decryption: str = ""
    """A keyed hash that stands for the keys that encrypted files were opened with; empty when no such file took part."""
    decrypted: tuple[DecryptedField, ...] = ()
    """Where values of encrypted files came to."""


def closure_of(error: BaseException) -> Closure | None:
    """What a render that failed with `error` had looked at: while that stays the same, so does the failure, unless it was one of time,
    memory, or a place that could not be reached. None for an error that is not from a render.
    """
    closure = getattr(error, _CLOSURE, None)
    return closure if isinstance(closure, Closure) else None


class RenderEngine:
    """Renders applications. `secret` keys the keys: with the same one, results are found again after a restart."""

    def __init__(
        self,
        *,
        cache: Cache | None = None,
        fetcher: Fetcher | None = None,
        kustomize: Path | None = None,
        limits: Limits | None = None,
        workers: int = 2,
        idle_seconds: float = 30,
        secret: bytes = b"",
        namespaces: bool = True,
    ) -> None:
        self._cache = cache or NoCache()
        self._fetcher = fetcher
        self._limits = limits or Limits()
        self._keys = Keys(secret or os.urandom(32))
        self._configured = kustomize
        self._kustomize: Kustomize | None = None
        self._namespaces = namespaces
        self._pool = Pool(RENDERING, self._prison, size=workers, idle_seconds=idle_seconds, on_start=self._started)
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="taut-reading")
        self.held: Held | None = None
        """The prison that the last worker reported; None before the first one."""

    async def render(self, job: RenderJob, target: TargetReader | None = None) -> Rendered:
        """Render all sources, substitute, and bring the objects into one form.

        `target` gives the ConfigMaps and Secrets that values and variables come from. Raises BadInput and RenderError with file and line,
        SourceError for what cannot be fetched, TargetError for what cannot be read. An empty result is no error.
        `closure_of` an error tells what was read until then.
        """
        decryption = Decryption(job.decrypter, self._keys.seal, job.keep_encrypted)
        for opened in job.opened:
            decryption.note(opened, "the options")
        reaches = [
            Reach(s.snapshot.tree, s.snapshot.url or s.spec.url, self._limits, decryption=decryption)
            for s in job.sources
        ]
        try:
            rendered = await self._all(job, reaches, TargetValues(target, job.namespace, self._keys.seal), decryption)
            return _traced(rendered, decryption) if decryption.used else rendered
        except TautError as error:
            decryption.mask(error)
            setattr(error, _CLOSURE, Closure(tuple(r.closure() for r in reaches)))
            raise

    async def _all(
        self, job: RenderJob, reaches: list[Reach], values: TargetValues, decryption: Decryption
    ) -> Rendered:
        others = {s.spec.name: r for s, r in zip(job.sources, reaches, strict=True) if s.spec.name}
        results: list[SourceResult] = []
        for source, reach in zip(job.sources, reaches, strict=True):
            if not is_files_only(source.spec):
                results.append(await self._source(job, source.spec, reach, others, values, decryption))
        manifests = tuple(m for result in results for m in result.manifests)
        variables = checked(await values.variables(job.substitute)) if job.substitute else {}
        if job.substitute:
            manifests = tuple(substitute(m, variables, strict=job.substitute.strict) for m in manifests)
        key = self._keys.of([r.key for r in results], variables, job.substitute)
        normalised = normalise(manifests)
        decryption.check(normalised)
        return Rendered(
            manifests=normalised,
            key=key,
            closure=Closure(tuple(r.closure() for r in reaches)),
            warnings=tuple(w for r in results for w in r.warnings),
            cached=all(r.cached for r in results),
            target_reads=values.reads,
            random=tuple(_random(results)),
            capabilities=any(r.capabilities for r in results),
        )

    def templates(self) -> GoTemplates:
        """Go templates of strangers, run by the same workers."""
        return GoTemplates(self._pool)

    def identity(self, spec: ApplicationSpec, app: str) -> str:
        """A keyed hash of all that decides a render besides what its closure says: the options, the names, and the tools' versions.

        With equal closures, equal identities mean equal manifests, as long as nothing is read from the target or from elsewhere.
        """
        try:
            kustomize = self._tool().version
        except TautError:
            kustomize = ""
        tools = (kustomize, HELM_VERSION, JSONNET_VERSION, __version__)
        return self._keys.of("identity", tools, app, spec.target.namespace, spec.all_sources, spec.substitute)

    def keys_of(self, decrypter: Decrypter) -> str:
        """What `Rendered.decryption` is for renders with this decrypter that meet an encrypted file."""
        return decrypter.identity(self._keys.seal)

    async def close(self) -> None:
        """End all workers."""
        await self._pool.close()
        self._readers.shutdown(wait=False, cancel_futures=True)

    async def __aenter__(self) -> RenderEngine:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _source(
        self,
        job: RenderJob,
        source: Source,
        reach: Reach,
        others: dict[str, Reach],
        values: TargetValues,
        decryption: Decryption,
    ) -> SourceResult:
        context = SourceContext(
            app=job.app,
            namespace=job.namespace,
            source=source,
            reach=reach,
            others=others,
            capabilities=job.capabilities,
            allowed=job.allowed,
            target=values,
            fetcher=self._fetcher,
            cache=self._cache,
            keys=self._keys,
            limits=self._limits,
            run=partial(run_job, self._pool),
            read=_Reading(self._readers, [reach, *others.values()], self._limits.wall_seconds),
            decryption=decryption,
        )
        try:
            return await self._rendered(context)
        except TautError as error:
            if error.where.repository:
                raise
            error.where = replace(error.where, repository=reach.repository, file=error.where.file or source.path)
            raise

    async def _rendered(self, context: SourceContext) -> SourceResult:
        match detect(context.reach, context.source):
            case Renderer.HELM:
                return await from_helm(context)
            case Renderer.KUSTOMIZE:
                return await from_kustomize(context, self._tool())
            case Renderer.JSONNET:
                return await from_jsonnet(context)
            case _:
                options = context.source.plain or PlainOptions()
                plain = await context.read(lambda: render_plain(context.reach, context.source.path, options))
                parts = (options, context.source.path, plain.closure.to_json())
                key = context.keys.of("plain", *parts, *context.decryption.key)
                return SourceResult(plain.manifests, key, plain.warnings, cached=True)

    def _tool(self) -> Kustomize:
        if self._kustomize is None:
            self._kustomize = find_kustomize(self._configured)
        return self._kustomize

    def _prison(self) -> Prison:
        try:
            tools = {self._tool().tool: str(self._tool().path)}
        except TautError:
            tools = {}
        return Prison(limits=self._limits, tools=tools, namespaces=self._namespaces)

    def _started(self, held: Held) -> None:
        if self.held is None:
            _log.log(logging.INFO if held.complete else logging.WARNING, "render workers: %s", held.describe())
        self.held = held


class _Reading:
    """Runs what reads trees in a thread of the engine's, for as long as a render may take."""

    def __init__(self, threads: ThreadPoolExecutor, reaches: Sequence[Reach], seconds: float) -> None:
        self._threads = threads
        self._reaches = reaches
        self._seconds = seconds

    async def __call__[T](self, work: Callable[[], T]) -> T:
        def timed() -> T:
            self._until(time.monotonic() + self._seconds)
            return work()

        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, timed)
        except asyncio.CancelledError:
            self._until(0)  # nobody waits for it any more
            raise

    def _until(self, when: float) -> None:
        for reach in self._reaches:
            reach.until = when


def is_files_only(source: Source) -> bool:
    """Whether nothing is rendered from a source: it says so, or it has a name and neither a path, nor a chart, nor a renderer's options."""
    if source.files_only or not source.name:
        return source.files_only
    options = source.plain or source.kustomize or source.helm_options or source.jsonnet
    return source.path in {"", "."} and not source.chart and source.renderer is Renderer.AUTO and options is None


def _traced(rendered: Rendered, decryption: Decryption) -> Rendered:
    """A render of encrypted files, with what is to be said of their values, and nothing said that holds one."""
    traces = tuple(decryption.traces(rendered.manifests))
    said = (decryption.masked(w) for w in rendered.warnings)
    ours = (decryption.masked(w, LEAST_FOUND) for w in warnings_of(traces, rendered.manifests))
    return replace(
        rendered,
        manifests=marked(rendered.manifests, traces),
        warnings=(*said, *ours),
        decryption=next(iter(decryption.key), ""),
        decrypted=traces,
    )


def _random(results: list[SourceResult]) -> list[RandomField]:
    return [
        RandomField(result.manifests[number].ref("").id, path) for result in results for number, path in result.random
    ]
