"""Who changed an object: the right person of several, or nobody."""

from __future__ import annotations

import pytest

from taut.admission.recording import CHANGES, CLOSE, RECENT, Recorder
from taut.model.refs import ObjectRef
from taut.policy.review import Operation

WEB = ObjectRef("local", "apps", "Deployment", "shop", "web")
API = WEB._replace(name="api")


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def recorder(clock: Clock) -> Recorder:
    return Recorder(objects=3, clock=clock)


def test_nobody_is_known_of_an_object_that_nobody_changed(recorder: Recorder) -> None:
    assert recorder.who(WEB, "kubectl-edit", 0) is None
    assert recorder.who(WEB, "", 0) is None


def test_the_manager_tells_two_people_apart(recorder: Recorder, clock: Clock) -> None:
    recorder.note(WEB, "ada", Operation.UPDATE, manager="kubectl-edit")
    recorder.note(WEB, "bob", Operation.UPDATE, manager="helm")
    at = clock.now
    assert recorder.who(WEB, "kubectl-edit", at) == "ada"
    assert recorder.who(WEB, "helm", at) == "bob"
    assert recorder.who(WEB, "argocd", at) is None
    assert recorder.who(API, "helm", at) is None


def test_the_time_tells_two_changes_by_one_program_apart(recorder: Recorder, clock: Clock) -> None:
    first = clock.now
    recorder.note(WEB, "ada", Operation.UPDATE, manager="kubectl-edit")
    clock.now += 100
    recorder.note(WEB, "bob", Operation.UPDATE, manager="kubectl-edit")
    assert recorder.who(WEB, "kubectl-edit", first) == "ada"
    assert recorder.who(WEB, "kubectl-edit", clock.now - 1) == "bob", "times in managedFields are whole seconds"
    assert recorder.who(WEB, "kubectl-edit", first + 50) is None
    assert recorder.who(WEB, "kubectl-edit", first - CLOSE - 1) is None
    assert recorder.who(WEB, "kubectl-edit", 0) == "bob"


def test_of_two_changes_in_one_second_the_time_is_that_of_the_last(recorder: Recorder, clock: Clock) -> None:
    """The API server writes whole seconds, that of the manager's last change."""
    second = clock.now
    clock.now = second + 0.1
    recorder.note(WEB, "ada", Operation.UPDATE, manager="kubectl-patch")
    clock.now = second + 0.9
    recorder.note(WEB, "bob", Operation.UPDATE, manager="kubectl-patch")
    assert recorder.who(WEB, "kubectl-patch", second) == "bob"
    clock.now = second + 4
    recorder.note(WEB, "eve", Operation.UPDATE, manager="kubectl-patch")
    assert recorder.who(WEB, "kubectl-patch", second) == "bob", "who came later cannot have done it"
    assert recorder.who(WEB, "kubectl-patch", second + 4) == "eve"
    assert recorder.who(WEB, "kubectl-patch", second - 2) == "ada", "a clock that is ahead"


def test_a_client_that_names_no_manager_may_be_any(recorder: Recorder, clock: Clock) -> None:
    recorder.note(WEB, "ada", Operation.UPDATE)
    assert recorder.who(WEB, "python-requests", clock.now) == "ada"
    recorder.note(WEB, "bob", Operation.UPDATE, manager="helm")
    assert recorder.who(WEB, "helm", clock.now) == "bob", "who names it is meant before who does not"
    assert recorder.who(WEB, "python-requests", clock.now) == "ada"


def test_a_removal_is_the_last_change_of_a_moment_ago(recorder: Recorder, clock: Clock) -> None:
    recorder.note(WEB, "ada", Operation.UPDATE, manager="kubectl-edit")
    recorder.note(WEB, "bob", Operation.DELETE)
    assert recorder.who(WEB, "", 0) == "bob"
    clock.now += RECENT + 1
    assert recorder.who(WEB, "", 0) is None


def test_memory_is_bounded(recorder: Recorder) -> None:
    refs = [WEB._replace(name=f"w{n}") for n in range(4)]
    for ref in refs[:3]:
        recorder.note(ref, "ada", Operation.UPDATE)
    recorder.note(refs[0], "bob", Operation.UPDATE)
    recorder.note(refs[3], "eve", Operation.UPDATE)
    assert len(recorder) == 3
    assert recorder.who(refs[1], "", 0) is None, "what was changed longest ago is forgotten"
    assert recorder.who(refs[0], "", 0) == "bob"
    for number in range(50):
        recorder.note(WEB, f"user{number}", Operation.UPDATE)
    assert len(recorder.changes(WEB)) == CHANGES
    assert recorder.changes(WEB)[-1].user == "user49"
