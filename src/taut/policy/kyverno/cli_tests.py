"""Running `kyverno-test.yaml` files (cli.kyverno.io/v1alpha1, Test), as the command line of Kyverno does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from taut.documents.yaml import load_documents
from taut.model.errors import TautError
from taut.model.manifests import Body
from taut.model.verdict import Outcome
from taut.policy.kyverno.cli_scene import Scene, Values, load_scene
from taut.policy.kyverno.existing import changed
from taut.policy.kyverno.policy import KyvernoPolicy
from taut.policy.review import Built, Given
from taut.policy.roots import root_of
from taut.policy.testing import TestFailure, TestReport

FILES = ("kyverno-test.yaml", "kyverno-test.yml")
type Build = Callable[[Sequence[Given]], Built]


@dataclass(frozen=True, slots=True)
class Response:
    """What one rule said of one object; `patched` is what a mutation left."""

    policy: str
    rule: str
    body: Body
    outcome: Outcome
    message: str = ""
    patched: Body | None = None
    mutates: bool = False


def run_tests(folder: Path, build: Build) -> TestReport:
    """All test files at or below a folder. A row counts once for each object that it names."""
    report = TestReport(0, 0)
    for file in files_below(folder):
        report = report.plus(run_file(file, build, root_of(folder)))
    return report


def files_below(folder: Path) -> list[Path]:
    """The test files at or below a folder."""
    return [folder] if folder.is_file() else sorted(p for p in folder.rglob("*") if p.name in FILES)


def run_file(file: Path, build: Build, root: Path) -> TestReport:
    """One test file. Files that it names have to lie below `root`."""
    name = str(file)
    try:
        documents = load_documents(file.read_bytes(), file=name)
        tests = [d.body for d in documents if isinstance(d.body, dict)]
        report = TestReport(0, 0)
        for test in tests:
            scene = load_scene(test, file.parent, root)
            report = report.plus(_rows(name, test, scene, list(_responses(scene, build))))
    except (TautError, OSError) as error:
        return TestReport(0, 1, (TestFailure(name, "", "a test", "none", str(error)),))
    except Exception as error:  # noqa: BLE001 (a test file is hostile: it fails alone)
        return TestReport(
            0, 1, (TestFailure(name, "", "a test", "none", f"its shape is wrong ({type(error).__name__})"),)
        )
    return report


def _responses(scene: Scene, build: Build) -> Iterator[Response]:
    built = build(scene.policies)
    for body in scene.resources:
        current = body
        for policy in built.policies:
            values = scene.values_of(policy.name, body)
            made = list(_completed(policy, current, body, scene, values))
            # What a test compares is the object as the whole policy left it.
            current = (made[-1].patched if made else None) or current
            yield from (replace(response, patched=current) for response in made)
        for policy in built.policies:
            yield from _existing(policy, current, scene, scene.values_of(policy.name, body))
        for policy in built.policies:
            yield from _judged(policy, current, body, scene, scene.values_of(policy.name, body))


def _existing(policy: Any, current: Body, scene: Scene, values: Values) -> Iterator[Response]:
    """What rules make of the objects that their targets name."""
    for rule in policy.rules if isinstance(policy, KyvernoPolicy) else ():
        if rule.mutates and rule.body["mutate"].get("targets"):
            review = scene.review(current, values)
            for target, result in changed(rule, review, scene.lookup, values.mocks(rule.name), scene.targets):
                body = result.body or target
                yield Response(policy.name, rule.name, target, result.outcome, result.message, body, True)


def _completed(policy: Any, current: Body, body: Body, scene: Scene, values: Values) -> Iterator[Response]:
    if isinstance(policy, KyvernoPolicy):
        for rule in (r for r in policy.rules if not (r.mutates and r.body["mutate"].get("targets"))):
            review = scene.review(current, values)
            one = KyvernoPolicy(policy.document, (rule,), policy.exemptions)
            for _, result in one.completed(review, scene.lookup, values.mocks(rule.name)):
                current = result.body or current
                yield Response(policy.name, rule.name, body, result.outcome, result.message, current, True)
        return
    review = scene.review(current, values)
    made, verdicts = policy.mutate(review, scene.lookup)
    for verdict in verdicts:
        yield Response(policy.name, verdict.rule, body, verdict.result, verdict.message, made, True)


def _judged(policy: Any, current: Body, body: Body, scene: Scene, values: Values) -> Iterator[Response]:
    if isinstance(policy, KyvernoPolicy):
        for rule in policy.rules:
            one = KyvernoPolicy(policy.document, (rule,), policy.exemptions)
            review = scene.review(current, values)
            for _, result in one.judged(review, scene.lookup, values.mocks(rule.name)):
                yield Response(policy.name, rule.name, body, result.outcome, result.message)
        return
    for verdict in policy.validate(scene.review(current, values), scene.lookup):
        yield Response(policy.name, verdict.rule, body, verdict.result, verdict.message)


def _rows(file: str, test: Body, scene: Scene, responses: list[Response]) -> TestReport:
    passed = total = 0
    failures: list[TestFailure] = []
    for row in test.get("results") or ():
        for name in _names(row):
            found = [r for r in responses if _is_of(row, name, r)]
            total += 1
            wanted = str(row.get("result") or row.get("status") or "pass")
            outcome, why = _outcome(row, found, scene, name)
            if outcome == wanted:
                passed += 1
            else:
                case = f"{row.get('policy')}/{row.get('rule') or ''} {row.get('kind') or ''} {name}"
                failures.append(TestFailure(file, case, wanted, outcome, why))
    return TestReport(passed, total, tuple(failures))


def _names(row: Body) -> list[str]:
    names = row.get("resources") or ([row["resource"]] if row.get("resource") else [])
    listed: list[str] = []
    for name in names:
        listed.append(name if isinstance(name, str) else str((name or {}).get("name")))
    return listed or [""]


def _is_of(row: Body, name: str, response: Response) -> bool:
    metadata = response.body.get("metadata") or {}
    policy = str(row.get("policy") or "")
    if policy not in {response.policy, response.policy.rpartition("/")[2]}:
        return False
    rule = row.get("rule")
    if rule and response.rule and response.rule not in {rule, f"autogen-{rule}"[:63], f"autogen-cronjob-{rule}"[:63]}:
        return False
    if row.get("kind") and row["kind"] != response.body.get("kind"):
        return False
    namespace, slash, plain = name.rpartition("/")
    if slash and metadata.get("namespace") != namespace.rpartition("/")[2]:
        return False
    if row.get("namespace") and metadata.get("namespace") != row["namespace"]:
        return False
    return not plain or plain in {metadata.get("name"), metadata.get("generateName")}


_ORDER = (Outcome.ERROR, Outcome.FAIL, Outcome.WARN, Outcome.PASS, Outcome.SKIP)


def _outcome(row: Body, found: list[Response], scene: Scene, name: str) -> tuple[str, str]:
    """What came out, the worst first; an object that no rule is about was skipped."""
    if not found:
        return "skip", "no rule is about it"
    worst = min(found, key=lambda r: _ORDER.index(r.outcome))
    patched = row.get("patchedResource") or row.get("patchedResources")
    if patched and worst.mutates and worst.outcome in {Outcome.PASS, Outcome.SKIP}:
        if worst.outcome is Outcome.SKIP and (row.get("result") or row.get("status")) == "skip":
            return "skip", worst.message
        last = found[-1]
        return scene.compared(str(patched), last.patched or last.body)
    return str(worst.outcome), worst.message
