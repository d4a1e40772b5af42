"""`taut check --policies … --resources …`: other people's policies on rendered or written objects, without a cluster."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from taut.cli.ending import Exit
from taut.cli.progress import progress
from taut.documents.yaml import load_documents
from taut.model.application import Application
from taut.model.errors import BadInput, Where
from taut.model.manifests import Body, Manifest
from taut.model.verdict import Verdict
from taut.policy.documents import Objects
from taut.policy.engines import build, is_policy
from taut.policy.plurals import placed
from taut.policy.review import Given, Review, Trouble
from taut.policy.waivers import content_of, is_waiver, read_waivers, waived

if TYPE_CHECKING:
    from taut.policy.builtin import Schemas
    from taut.policy.service import PolicyService, PolicySet

_SUFFIXES = frozenset({".yaml", ".yml", ".json"})
_MOST_FILES = 20_000
_CHUNK, _LANES = 32, 2
"""So many objects go to a worker at once, and so many workers judge."""
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
        if any(not t.elsewhere for t in self.troubles):
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

    `schemas` is what the target serves (None: the Kubernetes version that taut knows). Raises BadInput for files that cannot be read, PolicyError where
    the policies cannot be used at all.
    """
    given = list(_given([*policies, *exceptions]))
    objects = [g for g in _given(resources) if _is_object(g.body)]
    judged = judge_groups(given, [objects])
    found = list(judged.found)
    if builtin:
        from taut.policy.builtin import check

        bodies = [g.body for g in objects]
        found += [
            Found(verdict, objects[number].origin)
            for number, verdict in check(bodies, without=without, schemas=schemas)
        ]
    return Outcome(tuple(found), judged.troubles, len(objects), judged.policies)


def check_rendered(
    objects: Sequence[tuple[Application, Manifest]],
    policies: Sequence[Path],
    exceptions: Sequence[Path],
    *,
    without: Sequence[str] = (),
    schemas: Schemas | None = None,
) -> Outcome:
    """Judge what a working copy's applications render to: by taut's own checks but those in `without`, and by the policies below `policies`.

    What shows only in several objects together is looked for among all applications of one cluster. `schemas` is what the target serves (None: the
    Kubernetes version that taut knows). Raises as `check_policies`.
    """
    from taut.policy.builtin import check

    clusters: dict[str, list[Given]] = {}
    for app, manifest in objects:
        origin = manifest.origin
        place = f"{origin.file}:{origin.line or 1}" if origin.file else str(app.key.name)
        body = placed(manifest.body, app.spec.target.namespace or "")
        clusters.setdefault(app.spec.target.cluster, []).append(Given(body, place))
    groups = list(clusters.values())
    judged = judge_groups(list(_given([*policies, *exceptions])), groups)
    found = list(judged.found)
    for each in groups:
        bodies = [g.body for g in each]
        found += [Found(v, each[number].origin) for number, v in check(bodies, without=without, schemas=schemas)]
    return Outcome(tuple(found), judged.troubles, len(objects), judged.policies)


def judge_groups(given: Sequence[Given], groups: Sequence[Sequence[Given]]) -> Outcome:
    """Judge groups of objects by the policies among documents, in a worker: a policy is as hostile as a repository. Without documents no worker is started.

    The objects of a group, and the documents that are no policies, are what policies look up. Raises PolicyError.
    """
    if not given:
        return Outcome((), (), 0, 0)
    return asyncio.run(_judge_groups(given, groups))


async def _judge_groups(given: Sequence[Given], groups: Sequence[Sequence[Given]]) -> Outcome:
    from taut.policy.service import PolicyService, PolicySet

    waivers = Waivers(given)
    policies = PolicySet.of(g for g in given if not is_waiver(g))
    known = [g.body for g in given if not is_policy(*_type(g))]
    found: list[Found] = []
    service = PolicyService(workers=_LANES, gives_up=True)
    try:
        described = await service.describe(policies)
        if described.policies:
            async with progress(sum(map(len, groups))) as done:
                for each in groups:
                    found += await _judge_group(service, policies, each, known, waivers, done)
    finally:
        await service.close()
    troubles = (*waivers.troubles, *described.troubles)
    return Outcome(tuple(found), troubles, sum(map(len, groups)), len(described.policies))


async def _judge_group(
    service: PolicyService,
    policies: PolicySet,
    objects: Sequence[Given],
    known: Sequence[Body],
    waivers: Waivers,
    done: Callable[[int], None],
) -> list[Found]:
    bodies = [*(g.body for g in objects), *known]
    # Those who ask with the same lookup share a worker: each lane has its own.
    lanes, names = [FileLookups(Objects(bodies)) for _ in range(_LANES)], _resources(bodies)
    namespaces = {_name(b): b for b in bodies if b.get("kind") == "Namespace" and b.get("apiVersion") == "v1"}

    async def part(first: int, lookups: FileLookups) -> list[Found]:
        chunk = objects[first : first + _CHUNK]
        reviews = [_review(g.body, namespaces, names) for g in chunk]
        said = await service.judge(policies, reviews, lookups, brief=False)
        done(len(chunk))
        pairs = zip(chunk, said, strict=True)
        return [Found(v, g.origin) for g, each in pairs for v in waivers.on(g.body, each.verdicts)]

    found: list[Found] = []
    for first in range(0, len(objects), _LANES * _CHUNK):
        starts = range(first, min(first + _LANES * _CHUNK, len(objects)), _CHUNK)
        for verdicts in await asyncio.gather(*(part(*each) for each in zip(starts, lanes, strict=False))):
            found += verdicts
    return found


@dataclass(frozen=True, eq=False)
class FileLookups:
    """What policies in a worker may look up: the objects of files, and nothing else."""

    objects: Objects

    async def get(self, api_version: str, kind: str, namespace: str, name: str) -> Body | None:
        """One object. Raises NotKnown."""
        return self.objects.get(api_version, kind, namespace, name)

    async def list(self, api_version: str, kind: str, namespace: str) -> Sequence[Body]:
        """Those of a kind. Raises NotKnown."""
        return self.objects.list(api_version, kind, namespace)

    async def raw(self, method: str, path: str, body: Any) -> Any:
        """Raises NotKnown."""
        return self.objects.raw(method, path, body)

    async def inventory(self) -> dict[str, Any]:
        """All of them, as Gatekeeper's templates look them up."""
        return self.objects.inventory()


class Waivers:
    """The waivers among policy documents, as of now."""

    def __init__(self, given: Iterable[Given]) -> None:
        self._waivers, self.troubles = read_waivers(given)
        self._now = time.time()

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
        kind = "left out" if trouble.elsewhere else "cannot be used"
        click.echo(f"{trouble.origin}: {trouble.policy}: {kind}: {trouble.what}", err=True)


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
    return str((body.get("metadata") or {}).get("name") or "")


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
    """The test files of Kyverno below folders."""
    from taut.policy.kyverno.cli_tests import run_tests

    return TestResult.of([run_tests(folder, build) for folder in folders])


def run_gator(folders: Sequence[Path]) -> TestResult:
    """The suites of Gatekeeper below folders."""
    from taut.policy.gatekeeper.suites import run_suites

    return TestResult.of([run_suites(folder) for folder in folders])


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
