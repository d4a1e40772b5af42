"""The engine of rules: what begins, lasts, ends, is told once, is repeated, is kept silent."""

from __future__ import annotations

from typing import Any

import pytest

from taut.dialects.alerts import AlertBook
from taut.model.alerts import Trigger
from taut.model.health import HealthStatus
from taut.model.status import AppStatus, HeldFor, Problem, SyncStatus
from taut.notify.facts import conditions, well
from taut.notify.rules import Alert, Notice, Phase, Step, drifted, due, gone, heard, next_look
from unit.notify.facts_of import NOW, WEB, book, drift, healed, rule, status

DEGRADED = status(health=HealthStatus.DEGRADED, health_message="Deployment web: 1 of 3 replicas are available")
FAILED = status(sync=SyncStatus.OUT_OF_SYNC, operation="Failed", operation_message="the API server refused it")


class World:
    """Open alerts as they become, step by step."""

    def __init__(self, known: AlertBook) -> None:
        self.book = known
        self.alerts: dict[str, Alert] = {}

    def see(self, found: AppStatus, now: float, *, hasty: bool = True) -> list[Notice]:
        """The application's status is this."""
        facts = conditions(found, now)
        notices = self._take(heard(self.book, self.alerts, WEB, facts, well=well(found), now=now, hasty=hasty))
        return [*notices, *self.at(now)]

    def drift(self, fact: Any, now: float) -> list[Notice]:
        """Drift was found, or is over."""
        return [*self._take(drifted(self.book, self.alerts, fact, now)), *self.at(now)]

    def at(self, now: float) -> list[Notice]:
        """Time has come."""
        return self._take(due(self.book, self.alerts, now))

    def gone(self, now: float) -> list[Notice]:
        """The application is no more."""
        return self._take(gone(self.book, self.alerts, now))

    def _take(self, step: Step) -> list[Notice]:
        for key, alert in step.alerts.items():
            if alert is None:
                self.alerts.pop(key, None)
            else:
                self.alerts[key] = alert
        return step.notices


def told(notices: list[Notice]) -> list[tuple[str, str]]:
    return [(n.phase.value, n.fact.trigger.value) for n in notices]


@pytest.mark.parametrize(
    ("found", "trigger", "words"),
    [
        (FAILED, Trigger.SYNC_FAILED, "the API server refused it"),
        (
            status(sync=SyncStatus.UNKNOWN, problems=(Problem("no such chart", "apps/web", "", "render"),)),
            Trigger.SYNC_FAILED,
            "no such chart (apps/web)",
        ),
        (status(held_for=(HeldFor("deletes-data", "deletes a claim"),)), Trigger.HELD, "deletes a claim"),
        (DEGRADED, Trigger.HEALTH_DEGRADED, "1 of 3 replicas"),
        (status(held_for=(HeldFor("policy", "no limits", (), False),)), Trigger.POLICY_DENIED, "no limits"),
        (
            status(held_for=(HeldFor("secret-unresolved", "no answer", (), False),)),
            Trigger.SECRET_UNRESOLVED,
            "no answer",
        ),
        (
            status(sync=SyncStatus.UNKNOWN, problems=(Problem("refused", "https://git.example.com", "", "source"),)),
            Trigger.SOURCE_UNREACHABLE,
            "refused (https://git.example.com)",
        ),
    ],
)
def test_every_condition_is_told_once_and_so_is_its_end(found: AppStatus, trigger: Trigger, words: str) -> None:
    world = World(book(rule(trigger)))
    [notice] = world.see(found, NOW)
    assert (notice.phase, notice.fact.trigger, notice.receiver) == (Phase.FIRING, trigger, "ops")
    assert words in notice.fact.why
    assert world.see(found, NOW + 1) == world.at(NOW + 10_000) == []
    [end] = world.see(status(), NOW + 60)
    assert (end.phase, end.key, end.since) == (Phase.RESOLVED, notice.key, NOW)
    assert world.see(status(), NOW + 61) == []
    assert world.alerts == {}
    [again] = world.see(found, NOW + 120)
    assert (again.key, again.name != notice.name) == (notice.key, True)


def test_of_other_conditions_a_rule_says_nothing() -> None:
    world = World(book(rule(Trigger.HELD)))
    assert world.see(DEGRADED, NOW) == world.see(FAILED, NOW) == []


def test_what_ends_before_its_time_is_never_told() -> None:
    world = World(book(rule(Trigger.HEALTH_DEGRADED, for_="5m")))
    assert world.see(DEGRADED, NOW) == world.see(DEGRADED, NOW + 299) == []
    assert next_look(world.book, world.alerts.values(), NOW) == NOW + 300
    assert world.see(status(), NOW + 299.5) == []
    assert world.at(NOW + 600) == []
    world.see(DEGRADED, NOW + 1000)
    assert told(world.at(NOW + 1300)) == [("firing", "health-degraded")]


def test_a_health_that_is_not_known_ends_nothing() -> None:
    world = World(book(rule(Trigger.HEALTH_DEGRADED)))
    world.see(DEGRADED, NOW)
    for health in (HealthStatus.PROGRESSING, HealthStatus.UNKNOWN, HealthStatus.MISSING):
        assert world.see(status(health=health), NOW + 1) == []
    assert world.see(status(sync=SyncStatus.UNKNOWN, health=HealthStatus.PROGRESSING), NOW + 2) == []
    assert told(world.see(status(), NOW + 3)) == [("resolved", "health-degraded")]


def test_a_sync_that_is_tried_again_is_no_new_failure() -> None:
    world = World(book(rule(Trigger.SYNC_FAILED)))
    assert len(world.see(FAILED, NOW)) == 1
    running = status(sync=SyncStatus.OUT_OF_SYNC, operation="Running")
    assert world.see(running, NOW + 1) == world.see(FAILED, NOW + 2) == world.see(running, NOW + 3) == []
    assert told(world.see(status(), NOW + 4)) == [("resolved", "sync-failed")]


def test_right_after_a_start_no_end_is_believed() -> None:
    world = World(book(rule(Trigger.SYNC_FAILED, Trigger.RECOVERED)))
    world.see(FAILED, NOW)
    assert world.see(status(), NOW + 1, hasty=False) == []
    assert sorted(told(world.see(status(), NOW + 61))) == [("event", "recovered"), ("resolved", "sync-failed")]


def test_it_is_repeated_while_it_lasts_under_one_key_and_another_name() -> None:
    world = World(book(rule(Trigger.HELD, repeat="1h")))
    held = status(held_for=(HeldFor("deletes-data", "deletes a claim"),))
    [first] = world.see(held, NOW)
    assert world.at(NOW + 3599) == []
    [second] = world.at(NOW + 3600)
    assert (second.key, second.count, second.phase) == (first.key, 2, Phase.FIRING)
    assert second.name != first.name
    assert next_look(world.book, world.alerts.values(), NOW + 3600) == NOW + 7200


def test_the_same_step_gives_the_same_names() -> None:
    one, other = World(book(rule(Trigger.HELD))), World(book(rule(Trigger.HELD)))
    held = status(held_for=(HeldFor("deletes-data", "deletes a claim"),))
    assert [n.name for n in one.see(held, NOW)] == [n.name for n in other.see(held, NOW)]


def test_drift_is_told_by_field_and_its_end_too() -> None:
    world = World(book(rule(Trigger.DRIFT_FOUND)))
    [replicas] = world.drift(drift(), NOW)
    [image] = world.drift(drift("spec.template"), NOW)
    assert replicas.key != image.key
    fact = replicas.fact
    assert fact.what == "ada@example.com (kubectl-scale) changed spec.replicas of Deployment.apps shop/web"
    assert (fact.desired, fact.found, fact.next) == ("2", "5", "taut puts it back.")
    [end] = world.drift(healed(), NOW + 3)
    assert (end.phase, end.key, end.fact.outcome, end.fact.next) == (
        Phase.RESOLVED,
        replicas.key,
        "healed",
        "taut put it back.",
    )
    assert [a.fact.field for a in world.alerts.values()] == ["spec.template"]


def test_that_it_was_healed_is_told_once() -> None:
    both = World(book(rule(Trigger.DRIFT_FOUND, Trigger.DRIFT_HEALED)))
    both.drift(drift(), NOW)
    assert told(both.drift(healed(), NOW + 3)) == [("resolved", "drift-found")]
    alone = World(book(rule(Trigger.DRIFT_HEALED)))
    assert alone.drift(drift(), NOW) == []
    assert told(alone.drift(healed(), NOW + 3)) == [("event", "drift-healed")]
    unresolved = World(book(rule(Trigger.DRIFT_FOUND, Trigger.DRIFT_HEALED, resolve=False)))
    unresolved.drift(drift(), NOW)
    assert told(unresolved.drift(healed(), NOW + 3)) == [("event", "drift-healed")]


def test_drift_that_is_healed_sooner_than_a_rule_waits_is_not_told() -> None:
    world = World(book(rule(Trigger.DRIFT_FOUND, for_="1m")))
    assert world.drift(drift(), NOW) == world.drift(healed(), NOW + 3) == world.at(NOW + 100) == []


def test_recovered_is_told_when_all_is_well_after_trouble_that_lasted() -> None:
    world = World(book(rule(Trigger.RECOVERED, for_="1m")))
    assert world.see(FAILED, NOW) == []
    assert world.see(DEGRADED, NOW + 70) == []
    [event] = world.see(status(), NOW + 80)
    assert (event.phase, event.fact.what, event.fact.why) == (
        Phase.EVENT,
        "all is well again",
        "Before: health is Degraded",
    )
    world.see(FAILED, NOW + 100)
    assert world.see(status(), NOW + 110) == []


def test_a_silence_keeps_what_lasts_until_its_end_and_swallows_what_does_not() -> None:
    silent = [{"from": "2026-01-01T00:00:00Z", "until": "2026-01-01T01:00:00Z"}]
    world = World(book(rule(Trigger.HELD, Trigger.DRIFT_HEALED, Trigger.HEALTH_DEGRADED, silences=silent)))
    assert world.see(status(held_for=(HeldFor("x", "y"),), health=HealthStatus.DEGRADED), NOW + 1) == []
    assert world.drift(healed(), NOW + 2) == []
    assert world.see(status(held_for=(HeldFor("x", "y"),)), NOW + 1800) == [], "its end is not told either"
    assert next_look(world.book, world.alerts.values(), NOW + 1800) == NOW + 1830
    assert told(world.at(NOW + 3600)) == [("firing", "held")]


@pytest.mark.parametrize(
    ("hour", "silent"), [(0, True), (5.9, True), (6, False), (12, False), (21.9, False), (22, True), (23, True)]
)
def test_a_silence_may_come_every_night(hour: float, silent: bool) -> None:
    nights = [{"schedule": "0 22 * * *", "duration": "8h"}]
    world = World(book(rule(Trigger.HELD, silences=nights)))
    assert (world.see(status(held_for=(HeldFor("x", "y"),)), NOW + hour * 3600) == []) is silent


@pytest.mark.parametrize(
    ("match", "fits"),
    [
        ({}, True),
        ({"applications": ["web"]}, True),
        ({"applications": ["shop/*"]}, True),
        ({"applications": ["fleet/shop/web"]}, True),
        ({"applications": ["api", "w?b"]}, True),
        ({"applications": ["api"]}, False),
        ({"projects": ["shop"], "clusters": ["prod*"], "namespaces": ["shop"]}, True),
        ({"projects": ["other"]}, False),
        ({"clusters": ["staging"]}, False),
        ({"namespaces": ["default"]}, False),
        ({"labels": {"team": "b*"}}, True),
        ({"labels": {"team": "red"}}, False),
        ({"labels": {"tier": "*"}}, False),
    ],
)
def test_which_applications_a_rule_is_about(match: dict[str, Any], fits: bool) -> None:
    world = World(book(rule(Trigger.SYNC_FAILED, match=match)))
    assert bool(world.see(FAILED, NOW)) is fits


def test_a_root_that_is_not_trusted_tells_of_its_own_applications_only() -> None:
    own, other = rule(Trigger.SYNC_FAILED, root="fleet"), rule(Trigger.SYNC_FAILED, root="strangers")
    assert [n.rule for n in World(book(own, other)).see(FAILED, NOW)] == ["fleet/all"]
    trusted = World(book(own, other, everywhere=("strangers",)))
    assert [n.rule for n in trusted.see(FAILED, NOW)] == ["fleet/all", "strangers/all"]


def test_a_suspended_rule_says_nothing() -> None:
    assert World(book(rule(Trigger.SYNC_FAILED, suspended=True))).see(FAILED, NOW) == []


def test_who_was_told_hears_of_the_end_when_rule_or_application_go() -> None:
    world = World(book(rule(Trigger.SYNC_FAILED)))
    world.see(FAILED, NOW)
    world.book = book()
    [end] = world.at(NOW + 1)
    assert (end.phase, end.receiver, end.fact.next) == (
        Phase.RESOLVED,
        "ops",
        "Its rule is no more, or no longer about it.",
    )
    assert world.alerts == {}
    world.book = book(rule(Trigger.SYNC_FAILED))
    world.see(FAILED, NOW + 2)
    assert told(world.gone(NOW + 3)) == [("resolved", "sync-failed")]
    assert world.alerts == {}


def test_of_an_application_that_was_not_looked_at_nothing_is_told() -> None:
    assert conditions(status(sync=SyncStatus.UNKNOWN, health=HealthStatus.DEGRADED), NOW) == {}


def test_values_that_cannot_be_had_are_told_although_nothing_is_held() -> None:
    found = conditions(status(), NOW, ["ExternalSecret shop/db: the store does not answer"])
    fact = found[Trigger.SECRET_UNRESOLVED]
    assert fact is not None
    assert fact.why == "ExternalSecret shop/db: the store does not answer"


def test_a_secret_s_value_is_in_no_fact() -> None:
    fact = drift("data.password", desired="hunter2", found="letmein", secret=True)
    assert "hunter2" not in repr(fact)
    assert "letmein" not in repr(fact)
    assert (fact.desired, fact.found, fact.secret) == ("••••••", "••••••", True)


def test_what_strangers_wrote_is_made_visible_and_cut() -> None:
    fact = drift(found="\x1b[31m" + "x" * 1000, who="kub\u202ectl")
    assert "\x1b" not in fact.found
    assert len(fact.found) < 250
    assert "\u202e" not in fact.what
