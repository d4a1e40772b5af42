"""Running `suite.yaml` files (test.gatekeeper.sh/v1alpha1, Suite), as `gator verify` does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from taut.documents import re2
from taut.documents.yaml import load_documents
from taut.model.errors import BadInput, TautError, Where
from taut.model.manifests import Body
from taut.model.verdict import Outcome, Verdict
from taut.policy.documents import Objects
from taut.policy.gatekeeper.build import ENGINE
from taut.policy.review import Built, Given, Operation, Review, User
from taut.policy.roots import root_of
from taut.policy.testing import TestFailure, TestReport

_GROUP = "test.gatekeeper.sh/"


def run_suites(folder: Path) -> TestReport:
    """All suites at or below a folder, each case counted once."""
    root = root_of(folder)
    report = TestReport(0, 0)
    for file in suite_files(folder):
        report = report.plus(run_file(file, root))
    return report


def suite_files(folder: Path) -> list[Path]:
    """The files at or below a folder that may hold suites."""
    return [folder] if folder.is_file() else sorted(p for p in folder.rglob("*") if p.suffix in {".yaml", ".yml"})


def run_file(file: Path, root: Path) -> TestReport:
    """The suites of one file; none is no fault. Files that they name have to lie below `root`."""
    try:
        return _run_suites(file, root)
    except Exception as error:  # noqa: BLE001 (a suite is hostile: it fails alone)
        return TestReport(
            0, 1, (TestFailure(str(file), "", "a suite", "none", f"its shape is wrong ({type(error).__name__})"),)
        )


def _run_suites(file: Path, root: Path) -> TestReport:
    try:
        data = file.read_bytes()
        if b"test.gatekeeper.sh/" not in data:
            return TestReport(0, 0)
        documents = [d.body for d in load_documents(data, file=str(file)) if isinstance(d.body, dict)]
    except (TautError, OSError) as error:
        return TestReport(0, 1, (TestFailure(str(file), "", "a suite", "none", str(error)),))
    report = TestReport(0, 0)
    for suite in documents:
        if str(suite.get("apiVersion")).startswith(_GROUP) and suite.get("kind") == "Suite" and not suite.get("skip"):
            for test in suite.get("tests") or ():
                report = report.plus(_run_test(file, root, test))
    return report


def _run_test(file: Path, root: Path, test: Body) -> TestReport:
    name = str(test.get("name") or "")
    if test.get("skip"):
        return TestReport(0, 0)
    try:
        built = _built(test, file.parent, root)
    except (TautError, OSError) as error:
        return _failed(file, test, name, str(error))
    if test.get("invalid"):
        good = bool(built.troubles)
        failure = TestFailure(str(file), name, "an invalid template or constraint", "a valid one")
        return TestReport(int(good), 1, () if good else (failure,))
    if built.troubles:
        return _failed(file, test, name, "; ".join(t.what for t in built.troubles))
    report = TestReport(0, 0)
    for case in test.get("cases") or ():
        if not case.get("skip"):
            report = report.plus(_run_case(file, root, name, case, built))
    return report


def _failed(file: Path, test: Body, name: str, why: str) -> TestReport:
    cases = [f"{name}/{c.get('name')}" for c in test.get("cases") or ()] or [name]
    return TestReport(0, len(cases), tuple(TestFailure(str(file), c, "a result", "none", why) for c in cases))


def _built(test: Body, folder: Path, root: Path) -> Built:
    documents = [
        Given(body, str(test[key])) for key in ("template", "constraint", "expansion") if test.get(key)
        for body in _objects(folder / str(test[key]), root)
    ]  # fmt: skip
    return ENGINE.build(documents)


def _run_case(file: Path, root: Path, test: str, case: Body, built: Built) -> TestReport:
    name = f"{test}/{case.get('name')}"
    try:
        known = [b for path in case.get("inventory") or () for b in _objects(file.parent / str(path), root)]
        objects = list(_objects(file.parent / str(case.get("object")), root))
        verdicts = [v for body in objects for v in _judged(body, known, built)]
    except (TautError, OSError) as error:
        return TestReport(0, 1, (TestFailure(str(file), name, "a result", "none", str(error)),))
    errors = [v.message for v in verdicts if v.result is Outcome.ERROR]
    if errors:
        return TestReport(0, 1, (TestFailure(str(file), name, "a result", "an error", errors[0]),))
    found = [v for v in verdicts if v.result is Outcome.FAIL]
    for assertion in case.get("assertions") or ({"violations": "yes"},):
        fault = _fault(assertion, found)
        if fault:
            said = "; ".join(v.message for v in found)
            return TestReport(0, 1, (TestFailure(str(file), name, fault, f"{len(found)} violations", said),))
    return TestReport(1, 1)


def _judged(body: Body, known: list[Body], built: Built) -> Iterator[Verdict]:
    review = _review(body)
    lookup = Objects([*known, review.body], complete=True) if known else Objects([review.body])
    for policy in built.policies:
        yield from policy.validate(review, lookup)


def _review(body: Body) -> Review:
    """An object is reviewed as if it came anew; a file may hold the whole request instead."""
    if body.get("kind") != "AdmissionReview":
        return Review(body)
    request: dict[str, Any] = body.get("request") or {}
    operation = str(request.get("operation") or "CREATE")
    info: dict[str, Any] = request.get("userInfo") or {}
    user = User(
        str(info.get("username") or ""), tuple(info.get("groups") or ()), str(info.get("uid") or ""), known=True
    )
    return Review(
        request.get("object"),
        request.get("oldObject"),
        Operation(operation) if operation in {o.value for o in Operation} else Operation.CREATE,
        user,
    )


def _fault(assertion: Body, found: list[Verdict]) -> str:
    """What an assertion wants, where it is not so."""
    wanted, message = assertion.get("violations", "yes"), assertion.get("message")
    try:
        fits = [v for v in found if message is None or re2.matches(str(message), v.message)]
    except re2.ExpressionError as error:
        return f"a message that can be looked for: {error}"
    suffix = f" with {message!r}" if message is not None else ""
    if wanted in {"yes", True}:
        return "" if fits else f"a violation{suffix}"
    if wanted in {"no", False}:
        return f"no violation{suffix}" if fits else ""
    return "" if len(fits) == int(wanted) else f"{wanted} violations{suffix}"


def _objects(path: Path, root: Path) -> Iterator[Body]:
    resolved = path.resolve()
    if not resolved.is_relative_to(root.resolve()):
        raise BadInput("a suite names a file outside of the folder that is checked", where=Where(file=str(path)))
    for document in load_documents(resolved.read_bytes(), file=str(path)):
        if isinstance(document.body, dict):
            yield document.body
