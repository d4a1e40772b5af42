"""When an operation may start: the whole policy as rows."""

from __future__ import annotations

import pytest

from taut.controller.starting import Facts, Nothing, NotNow, Start, decide, next_try
from taut.model.application import Backoff, Retry, SyncMode, SyncPolicy
from taut.model.operation import OperationKind
from taut.model.plan import Action, Change, Plan
from taut.model.refs import AppKey, ObjectRef

KEY = AppKey("root", "", "app")
A, B = (ObjectRef("c", "", "ConfigMap", "ns", n) for n in "ab")
UPDATE = Plan(KEY, (Change(A, Action.UPDATE), Change(B, Action.DELETE, uid="u")))
SAME = Plan(KEY, (Change(A, Action.UNCHANGED),))
MANUAL = SyncPolicy(mode=SyncMode.MANUAL)
REPORT = SyncPolicy(mode=SyncMode.REPORT)


def facts(policy: SyncPolicy = SyncPolicy(), **more: object) -> Facts:
    return Facts(**({"policy": policy, "now": 1000.0, "fresh": True} | more))


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (facts(), OperationKind.SYNC),
        (facts(fresh=False), OperationKind.HEAL),
        (facts(MANUAL, asked=True), OperationKind.SYNC),
        (facts(fresh=False, asked=True), OperationKind.SYNC),
        (facts(removed=True), OperationKind.DELETE),
        (facts(failures=9, asked=True, failure="x"), OperationKind.SYNC),
        (facts(failures=2, failure="x", retry_at=900.0), OperationKind.SYNC),
        (facts(failures=2, failure="x", retry_at=1000.0 + 3600), OperationKind.SYNC),  # the clock went back meanwhile
    ],
)
def test_starts(given: Facts, kind: OperationKind) -> None:
    decision = decide(UPDATE, given)
    assert isinstance(decision, Start)
    assert decision.kind is kind


@pytest.mark.parametrize(
    ("given", "word"),
    [
        (facts(suspended=True), "suspended"),
        (facts(suspended=True, asked=True), "suspended"),
        (facts(held="deletes 9 objects"), "deletes"),
        (facts(held="deletes 9 objects", asked=True), "deletes"),
        (facts(MANUAL), "taut sync"),
        (facts(REPORT), "report-only"),
        (facts(SyncPolicy(heal=False), fresh=False), "self-heal is off"),
        (facts(dependency="waits for db"), "waits for db"),
        (facts(window_closed="closed until six"), "closed until six"),
        (facts(window_closed="closed", asked=True), "closed"),
        (facts(fresh=False, contested={A: 100.0, B: 200.0}), "contested"),
        (facts(failures=1, failure="broke", retry_at=1004.0), "next try in 4 s"),
        (facts(failures=6, failure="broke"), "waits for a new commit"),
    ],
)
def test_waits_and_says_why(given: Facts, word: str) -> None:
    decision = decide(UPDATE, given)
    assert isinstance(decision, NotNow)
    assert word in decision.why


def test_nothing_to_do_is_nothing_whatever_else_holds() -> None:
    assert isinstance(decide(SAME, facts(suspended=True, failures=3)), Nothing)


def test_pruning_off_leaves_deletions_out() -> None:
    decision = decide(UPDATE, facts(SyncPolicy(prune=False)))
    assert isinstance(decision, Start)
    assert [c.ref for c in decision.changes] == [A]


def test_what_is_not_fought_over_is_healed_meanwhile() -> None:
    decision = decide(UPDATE, facts(fresh=False, contested={A: 100.0, B: 0.0}))
    assert isinstance(decision, Start)
    assert [c.ref for c in decision.changes] == [B]
    assert isinstance(decide(UPDATE, facts(fresh=True, contested={A: 100.0, B: 100.0})), Start)


def test_letting_go_of_an_object_is_no_healing() -> None:
    plan = Plan(KEY, (Change(A, Action.RELEASE),))
    assert isinstance(decide(plan, facts(fresh=False)), Nothing)
    assert isinstance(decide(plan, facts()), Start)
    assert isinstance(decide(plan, facts(failures=9, failure="x")), Nothing)


def test_what_was_aborted_waits_for_a_word() -> None:
    endless = SyncPolicy(retry=Retry(limit=-1))
    stopped = decide(UPDATE, facts(endless, stopped="aborted by ada"))
    assert isinstance(stopped, NotNow)
    assert "aborted by ada" in stopped.why
    assert isinstance(decide(UPDATE, facts(endless, stopped="aborted by ada", asked=True)), Start)


def test_only_the_asked_objects() -> None:
    decision = decide(UPDATE, facts(asked=True, asked_objects=frozenset({B})))
    assert isinstance(decision, Start)
    assert [c.ref for c in decision.changes] == [B]


def test_endless_retries() -> None:
    policy = SyncPolicy(retry=Retry(limit=-1))
    assert isinstance(decide(UPDATE, facts(policy, failures=500, failure="x")), Start)


def test_backoff_grows_and_is_capped() -> None:
    policy = SyncPolicy(retry=Retry(backoff=Backoff(duration="2s", factor=3.0, max_duration="20s")))
    assert [next_try(policy, n) for n in (1, 2, 3, 4)] == [2.0, 6.0, 18.0, 20.0]


@pytest.mark.parametrize(
    "waits",
    [
        facts(held="deletes 9 objects", drifted=frozenset({A})),
        facts(dependency="waits for db", drifted=frozenset({A})),
        facts(failures=9, failure="broke", drifted=frozenset({A})),
    ],
)
def test_what_was_synced_before_is_healed_while_new_content_waits(waits: Facts) -> None:
    decision = decide(UPDATE, waits)
    assert isinstance(decision, Start)
    assert decision.kind is OperationKind.HEAL
    assert [c.ref for c in decision.changes] == [A]


@pytest.mark.parametrize(
    "given",
    [
        facts(SyncPolicy(heal=False), held="x", drifted=frozenset({A})),
        facts(MANUAL, drifted=frozenset({A})),
        facts(suspended=True, drifted=frozenset({A})),
        facts(held="x", removed=True, drifted=frozenset({A})),
        facts(held="x", window_closed="closed", drifted=frozenset({A})),
        facts(failures=1, failure="x", retry_at=1005.0, drifted=frozenset({A})),
    ],
)
def test_nothing_is_healed_where_nothing_may_be(given: Facts) -> None:
    assert isinstance(decide(UPDATE, given), NotNow)


def test_tries_are_spread() -> None:
    """What failed together is not tried again in the same moment; what never stops failing has a longest pause."""
    policy = SyncPolicy(retry=Retry(limit=-1, backoff=Backoff(duration="10s", factor=2, max_duration="1m")))
    assert [next_try(policy, n, 0.0) for n in (1, 2, 3, 4, 5000)] == [10, 20, 40, 60, 60]
    assert [round(next_try(policy, n, 1.0), 6) for n in (1, 2, 4)] == [11, 22, 66]
