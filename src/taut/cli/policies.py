"""`taut check --policies … --resources …`: other people's policies on rendered or written objects, without a cluster."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from taut.cli.ending import Exit
from taut.documents.yaml import load_documents
from taut.model.application import Application
from taut.model.errors import BadInput, Where
from taut.model.manifests import Body, Manifest
from taut.model.verdict import Verdict
from taut.policy.documents import Objects
from taut.policy.engines import is_policy
from taut.policy.plurals import placed
from taut.policy.review import Given, Review, Trouble
from taut.policy.waivers import content_of, read_waivers, waived

if TYPE_CHECKING:
    from taut.policy.builtin import Schemas
    from taut.policy.testing import Runner

_SUFFIXES = frozenset({".yaml", ".yml", ".json"})
_MOST_FILES = 20_000
_MOST_WORKERS = 4
_PATIENT_SECONDS = 2.0
_NO_OBJECTS = ("cli.kyverno.io/", "test.gatekeeper.sh/", "kustomize.config.k8s.io/", "chainsaw.kyverno.io/")


class Named(msgspec.Struct, frozen=True):
    """An object, as `-o json` prints it (a contract with scripts)."""

    apiVersion: str  # noqa: N815 (the contract's name)
    kind: str
    namespace: str
    name: str


class Row(msgspec.Struct, frozen=True):
    """One verdict, as `-o json` prints it (a contract with scripts)."""

    policy: str
    rule: str
    engine: str
    resource: Named
    result: str
    message: str


@dataclass(frozen=True)
class Found:
    """A verdict and where its object was written."""

    verdict: Verdict
    origin: str


@dataclass(frozen=True)
class Outcome:
    """All verdicts, and what of the policies could not be used."""

    found: tuple[Found, ...]
    troubles: tuple[Trouble, ...]
    objects: int
    policies: int

    @property
    def code(self) -> Exit:
        """2: a policy cannot be used; 1: something that is enforced failed."""
        if any(t.grave for t in self.troubles):
            return Exit.BAD_INPUT
        return Exit.FAILED if any(f.verdict.denies for f in self.found) else Exit.DONE


def check_policies(
    policies: Sequence[Path],
    resources: Sequence[Path],
    exceptions: Sequence[Path],
    *,
    builtin: bool = False,
    without: Sequence[str] = (),
    schemas: Schemas | None = None,
) -> Outcome:
    """Judge the objects below `resources` by the policies below `policies`, and with `builtin` by taut's own checks but those in `without`.

    `schemas` is what the target serves (None: the Kubernetes version that taut knows). Raises BadInput for files that cannot be read, and PolicyError when no worker can be had that judges.
    """
    given = _policies(policies, exceptions)
    objects = [g for g in _given(resources) if _is_object(g.body)]
    if not objects:
        raise _nothing("object", resources)
    bodies = [g.body for g in objects]
    known = [g.body for g in given if not is_policy(str(g.body.get("apiVersion")), str(g.body.get("kind")))]
    judged = _judged(given, [_scene(objects, known, _resources([*bodies, *known]))])
    waivers = Waivers(given)
    found = [
        Found(verdict, each.origin)
        for each, verdicts in zip(objects, judged.verdicts[0], strict=True)
        for verdict in waivers.on(each.body, verdicts)
    ]
    if builtin:
        from taut.policy.builtin import check

        found += [
            Found(verdict, objects[number].origin)
            for number, verdict in check(bodies, without=without, schemas=schemas)
        ]
    return Outcome(tuple(found), (*waivers.troubles, *judged.troubles), len(objects), judged.policies)


def check_rendered(
    objects: Sequence[tuple[Application, Manifest]],
    policies: Sequence[Path],
    exceptions: Sequence[Path],
    *,
    without: Sequence[str] = (),
    schemas: Schemas | None = None,
) -> Outcome:
    """Judge what a working copy's applications render to: by taut's own checks but those in `without`, and by the policies below `policies`.

    What shows only in several objects together is looked for among all applications of one cluster. Raises as `check_policies` does.
    """
    from taut.policy.builtin import check

    given = _policies(policies, exceptions)
    waivers, found = Waivers(given), list[Found]()
    clusters: dict[str, list[Given]] = {}
    decrypted: dict[str, list[tuple[tuple[str, ...], ...]]] = {}
    for app, manifest in objects:
        origin = manifest.origin
        place = origin.place or str(app.key.name)
        body = placed(manifest.body, app.spec.target.namespace or "")
        clusters.setdefault(app.spec.target.cluster, []).append(Given(body, place))
        decrypted.setdefault(app.spec.target.cluster, []).append(origin.secret)
    known = [g.body for g in given if not is_policy(*_type(g))]
    scenes = [
        _scene(each, known, _resources([*(g.body for g in each), *(g.body for g in given)]), spaces=False)
        for each in clusters.values()
    ]
    judged = _judged(given, scenes)
    for (cluster, each), all_verdicts in zip(clusters.items(), judged.verdicts, strict=True):
        for g, verdicts in zip(each, all_verdicts, strict=True):
            found += [Found(v, g.origin) for v in waivers.on(g.body, verdicts)]
        found += [
            Found(v, each[number].origin)
            for number, v in check(
                [g.body for g in each], without=without, schemas=schemas, decrypted=decrypted[cluster]
            )
        ]
    return Outcome(tuple(found), (*waivers.troubles, *judged.troubles), len(objects), judged.policies)


def _policies(policies: Sequence[Path], exceptions: Sequence[Path]) -> list[Given]:
    """The documents of both. Raises BadInput when no policy is among those: a check by nothing would be passed by everything."""
    found = list(_given(policies))
    if policies and not any(is_policy(*_type(g)) for g in found):
        raise _nothing("policy", policies)
    return [*found, *_given(exceptions)]


def _nothing(what: str, paths: Sequence[Path]) -> BadInput:
    places = ", ".join(map(str, paths))
    return BadInput(
        f"there is no {what} in {places}", advice="name the folder or file with them; YAML and JSON are read"
    )


@dataclass(frozen=True)
class _Scene:
    """Objects that are judged together, and what policies may look up."""

    reviews: tuple[Review, ...]
    lookup: Objects


def _scene(
    objects: Sequence[Given], known: Sequence[Body], resources: dict[tuple[str, str], str], *, spaces: bool = True
) -> _Scene:
    """The scene of some objects with what is known besides them; with `spaces` a Namespace may be among those as well."""
    bodies = [g.body for g in objects]
    namespaces = {
        _name(b): b
        for b in (*bodies, *(known if spaces else ()))
        if b.get("kind") == "Namespace" and b.get("apiVersion") == "v1"
    }
    return _Scene(tuple(_review(b, namespaces, resources) for b in bodies), Objects([*bodies, *known]))


@dataclass(frozen=True)
class _Judged:
    """Of each scene the verdicts on each object; what of the policies cannot be used, and how many there are."""

    verdicts: Sequence[Sequence[Sequence[Verdict]]]
    troubles: tuple[Trouble, ...] = ()
    policies: int = 0


def _judged(given: Sequence[Given], scenes: Sequence[_Scene]) -> _Judged:
    """What the policies among `given` say, in workers; without a policy there is none. Raises PolicyError when no worker can be had."""
    if not any(is_policy(*_type(g)) for g in given):
        return _Judged([[()] * len(scene.reviews) for scene in scenes])
    return asyncio.run(_in_workers(given, scenes))


async def _in_workers(given: Sequence[Given], scenes: Sequence[_Scene]) -> _Judged:
    from taut.policy import checking
    from taut.policy.service import PolicyService

    workers = min(os.process_cpu_count() or 1, _MOST_WORKERS)
    service = PolicyService(workers=workers)
    progress = _Progress()
    try:
        rules = await checking.build(service, given, [r for scene in scenes for r in scene.reviews])
        check = checking.Check(service, rules, workers=workers, told=progress.tell)
        verdicts = [await check.judge(scene.reviews, scene.lookup) for scene in scenes]
    finally:
        progress.end()
        await service.close()
    return _Judged(verdicts, rules.troubles, len(rules.about.policies))


class _Progress:
    """A line on a terminal that says how far a check is, when it takes long."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._shown = False

    def tell(self, done: int, of: int) -> None:
        """So many objects have been judged."""
        if sys.stderr.isatty() and (self._shown or time.monotonic() - self._began > _PATIENT_SECONDS):
            click.echo(f"\r{done} of {of} objects are judged", nl=False, err=True)
            self._shown = True

    def end(self) -> None:
        """Take the line away."""
        if self._shown:
            click.echo("\r\x1b[K", nl=False, err=True)


class Waivers:
    """The waivers among policy documents, as of now."""

    def __init__(self, given: Iterable[Given]) -> None:
        self._waivers, troubles = read_waivers(given)
        self._now = time.time()
        over = (w for w in self._waivers if w.until < self._now)
        said = "it ran out: what it let pass is judged again"
        self.troubles = (*troubles, *(Trouble("waiver", f"PolicyWaiver {w.name}", said, doubt=True) for w in over))

    def on(self, body: Body, verdicts: Sequence[Verdict]) -> Sequence[Verdict]:
        """The verdicts on an object; what is waived is a skip."""
        return waived(verdicts, self._waivers, content_of(body), self._now) if self._waivers else verdicts


def _type(given: Given) -> tuple[str, str]:
    return str(given.body.get("apiVersion")), str(given.body.get("kind"))


def rows(outcome: Outcome) -> list[Row]:
    """The verdicts in the shape of the contract."""
    return [
        Row(
            v.policy,
            v.rule,
            v.engine,
            Named(v.subject.api_version, v.subject.kind, v.subject.namespace, v.subject.name),
            str(v.result),
            v.message,
        )
        for v in (f.verdict for f in outcome.found)
    ]


def tell_troubles(outcome: Outcome) -> None:
    """Say on stderr what of the policies is not judged by."""
    for trouble in outcome.troubles:
        click.echo(str(trouble), err=True)


def _review(body: Body, namespaces: dict[str, Body], resources: dict[tuple[str, str], str]) -> Review:
    namespace = str((body.get("metadata") or {}).get("namespace") or "")
    version, kind = str(body.get("apiVersion") or ""), str(body.get("kind") or "")
    name = resources.get((version.rpartition("/")[0], kind), "")
    return Review(body, namespace_object=namespaces.get(namespace), resource=f"{version}/{name}" if name else "")


def _resources(bodies: Iterable[Body]) -> dict[tuple[str, str], str]:
    """The names of custom resources, where their definitions are among the objects: group and kind → plural."""
    found: dict[tuple[str, str], str] = {}
    for body in bodies:
        spec = body.get("spec")
        names = spec.get("names") if body.get("kind") == "CustomResourceDefinition" and isinstance(spec, dict) else None
        if isinstance(names, dict) and names.get("kind") and names.get("plural"):
            found[str(spec.get("group") or ""), str(names["kind"])] = str(names["plural"])  # pyright: ignore[reportOptionalMemberAccess]
    return found


def _name(body: Body) -> str:
    metadata = body.get("metadata")
    return str(metadata.get("name") or "") if isinstance(metadata, dict) else ""


def _is_object(body: Body) -> bool:
    version, kind = body.get("apiVersion"), body.get("kind")
    if not isinstance(version, str) or not isinstance(kind, str) or not isinstance(body.get("metadata"), dict):
        return False
    return not version.startswith(_NO_OBJECTS)


def _given(paths: Sequence[Path]) -> Iterator[Given]:
    """All documents below paths, each with its file and line; lists are their items."""
    for path in paths:
        for file in _files(path):
            try:
                documents = load_documents(file.read_bytes(), file=str(file))
            except OSError as error:
                raise BadInput(f"the file cannot be read: {error.strerror}", where=Where(file=str(file))) from None
            for document in documents:
                yield from _items(document.body, f"{file}:{document.line}")


def _items(body: object, origin: str) -> Iterator[Given]:
    if not isinstance(body, dict):
        return
    items = body.get("items")
    if str(body.get("kind") or "").endswith("List") and isinstance(items, list):
        yield from (Given(i, origin) for i in items if isinstance(i, dict))
    else:
        yield Given(body, origin)


def _files(path: Path) -> list[Path]:
    """The YAML and JSON files of a folder. Links that lead out of it are not followed."""
    if path.is_file():
        return [path]
    root = path.resolve()
    found = sorted(
        p for p in path.rglob("*") if p.suffix in _SUFFIXES and p.is_file() and p.resolve().is_relative_to(root)
    )
    if len(found) > _MOST_FILES:
        raise BadInput(
            f"there are more than {_MOST_FILES} files", where=Where(file=str(path)), advice="name a folder below"
        )
    return found


def run_kyverno(folders: Sequence[Path]) -> TestResult:
    """The test files of Kyverno below folders, run in a worker. Raises PolicyError when none can be had."""
    from taut.policy.kyverno.cli_tests import files_below

    return _tried("kyverno", folders, files_below)


def run_gator(folders: Sequence[Path]) -> TestResult:
    """The suites of Gatekeeper below folders, run in a worker. Raises PolicyError when none can be had."""
    from taut.policy.gatekeeper.suites import suite_files

    return _tried("gator", folders, suite_files)


def _tried(runner: Runner, folders: Sequence[Path], files: Callable[[Path], list[Path]]) -> TestResult:
    from taut.policy.trials import run

    return TestResult.of([run(runner, folder, files(folder)) for folder in folders])


class Failure(msgspec.Struct, frozen=True):
    """A case that came out otherwise than its file says, as `-o json` prints it."""

    file: str
    case: str
    wanted: str
    found: str
    why: str


class TestResult(msgspec.Struct, frozen=True):
    """What running test files gave, as `-o json` prints it (a contract with scripts)."""

    __test__ = False

    passed: int
    total: int
    failures: tuple[Failure, ...]

    @staticmethod
    def of(reports: Sequence[object]) -> TestResult:
        """Several reports as one."""
        from taut.policy.testing import TestReport

        whole = TestReport(0, 0)
        for report in reports:
            if isinstance(report, TestReport):
                whole = whole.plus(report)
        failures = tuple(Failure(f.file, f.case, f.wanted, f.found, f.why) for f in whole.failures)
        return TestResult(whole.passed, whole.total, failures)
