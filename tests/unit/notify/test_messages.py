"""Groups, their order, and the words of messages."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import pytest

from taut.dialects.templates import LONGEST, template_fault
from taut.model.alerts import AlertTemplate, Trigger
from taut.notify.facts import Fact
from taut.notify.messages import MOST_NOTICES, Pending, message_name, ready
from taut.notify.rules import Notice, Phase
from taut.notify.templates import LONGEST_TEXT, LONGEST_TITLE, MOST_SHOWN, words
from unit.notify.facts_of import NOW, WEB, drift, healed, notice

OWN = AlertTemplate()


def fact(app: str = "web", trigger: Trigger = Trigger.SYNC_FAILED) -> Fact:
    who = msgspec.structs.replace(WEB, name=app, key=f"fleet/shop/{app}")
    return Fact(
        trigger=trigger, about=who, at=NOW, what="the sync failed", why="it was refused", next="taut tries again."
    )


def pending(number: int, due: float, *, rule: str = "all", receiver: str = "ops", app: str = "web") -> Pending:
    return Pending(number, notice(fact(app), number=number, rule=rule, receiver=receiver), due)


def ids(groups: list[list[Pending]]) -> list[list[int]]:
    return [[p.id for p in group] for group in groups]


def test_a_group_waits_for_its_window_which_its_first_notice_begins() -> None:
    waiting = [pending(1, NOW + 30), pending(2, NOW + 59)]
    assert ready(waiting, NOW + 29) == []
    assert ids(ready(waiting, NOW + 30)) == [[1, 2]]


def test_rules_and_receivers_are_groups_of_their_own() -> None:
    waiting = [
        pending(1, NOW),
        pending(2, NOW, receiver="pager"),
        pending(3, NOW, rule="other", app="api"),
        pending(4, NOW),
    ]
    assert ids(ready(waiting, NOW)) == [[1, 4], [2], [3]]


def test_what_an_application_has_to_tell_a_receiver_stays_in_order() -> None:
    """A rule without a window does not overtake another that waits with the same application's earlier news."""
    waiting = [pending(1, NOW + 60, rule="slow"), pending(2, NOW, rule="fast")]
    assert ids(ready(waiting, NOW)) == [[1], [2]]
    other_app = [pending(1, NOW + 60, rule="slow", app="api"), pending(2, NOW, rule="fast")]
    assert ids(ready(other_app, NOW)) == [[2]]
    other_receiver = [pending(1, NOW + 60, rule="slow", receiver="pager"), pending(2, NOW, rule="fast")]
    assert ids(ready(other_receiver, NOW)) == [[2]]


def test_a_crowd_is_several_messages() -> None:
    groups = ready([pending(n, NOW) for n in range(MOST_NOTICES + 1)], NOW)
    assert [len(g) for g in groups] == [MOST_NOTICES, 1]


def test_the_same_notices_are_the_same_message() -> None:
    one = [notice(fact(), number=1), notice(fact(), number=2)]
    assert message_name(one) == message_name(list(one))
    assert message_name(one) != message_name(one[:1])


def test_taut_s_words_say_what_why_and_what_comes_next() -> None:
    title, text = words([notice(drift())], OWN)
    assert title == "shop/web drifted"
    assert text.splitlines() == [
        "shop/web on production: ada@example.com (kubectl-scale) changed spec.replicas of Deployment.apps shop/web.",
        "Git says 2, found was 5.",
        "Changed at 2025-12-31T23:59:58Z.",
        "taut puts it back.",
    ]


@pytest.mark.parametrize(
    ("notices", "title"),
    [
        ([notice(fact())], "shop/web failed to sync"),
        ([notice(fact("web")), notice(fact("api"))], "2 applications failed to sync"),
        ([notice(drift()), notice(drift("spec.paused"))], "shop/web drifted (2 fields)"),
        ([notice(drift()), notice(healed(), phase=Phase.RESOLVED)], "shop/web drifted"),
        ([notice(healed(), phase=Phase.RESOLVED)], "[resolved] shop/web drifted"),
        ([notice(fact()), notice(drift())], "shop/web: 2 alerts"),
    ],
)
def test_titles(notices: list[Notice], title: str) -> None:
    assert words(notices, OWN)[0] == title


def test_a_reminder_and_an_end_say_so() -> None:
    assert words([notice(fact(), count=2)], OWN)[1].startswith("Still so: shop/web")
    assert words([notice(fact(), phase=Phase.RESOLVED)], OWN)[1].startswith("Resolved: shop/web")


def test_a_long_message_is_cut_and_says_so() -> None:
    _, text = words([notice(fact(f"app-{n}")) for n in range(MOST_SHOWN + 7)], OWN)
    assert text.endswith("… and 7 more.")


def test_own_words() -> None:
    template = AlertTemplate(
        title="{{ count }} in {{ apps | join(', ') }}",
        text="{% for a in alerts %}{{ a.app }}: {{ a.field or a.object }} by {{ a.user or a.who or 'somebody' }}\n{% endfor %}",
    )
    assert words([notice(drift())], template) == (
        "1 in shop/web",
        "shop/web: spec.replicas by ada@example.com",
    )


def test_a_template_that_fails_hides_no_alert() -> None:
    template = AlertTemplate(text="{{ alerts.missing.more }}")
    _, text = words([notice(fact())], template)
    assert "shop/web on production: the sync failed." in text
    assert "(The rule's template could not be used: UndefinedError" in text


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("{% set x = 1 %}", "set"),
        ("{{ alerts.append(1) }}", "a call"),
        ("{{ range(9) }}", "a call"),
        ("{{ 'a' * 1000000000 }}", "mul"),
        ("{{ 2 ** 1000000000 }}", "pow"),
        ("{{ rule ~ rule }}", "~"),
        ("{{ rule.__class__ }}", "__class__"),
        ("{{ rule | replace('a', 'aa') }}", "no filter"),
        ("{{ rule | upper | lower | upper | lower }}", "more than 3 filters"),
        ("{{ rule | truncate(rule) }}", "plain values"),
        ("{% for a in 'xyz' %}{% endfor %}", "a loop goes over a list"),
        ("{% for a in alerts %}{% for b in alerts %}{% for c in alerts %}{% endfor %}{% endfor %}{% endfor %}", "deep"),
        ("{% for a in alerts recursive %}{{ loop(alerts) }}{% endfor %}", "a loop cannot call itself"),
        ("{% macro f() %}{% endmacro %}", "macro"),
        ("{% include 'x' %}", "include"),
        ("{% if %}", "Expected an expression"),
        ("{{ rule is foo }}", "foo"),
        ("x" * (LONGEST + 1), "more than"),
        ("{{ " + "(" * 2000 + "1" + ")" * 2000 + " }}", "deep"),
    ],
)
def test_what_a_template_must_not_do(text: str, word: str) -> None:
    assert word in template_fault(text)[0]
    _, said = words([notice(fact())], AlertTemplate(text=text))
    assert "shop/web on production" in said


@pytest.mark.parametrize(
    "text",
    [
        "{{ ''['__class__']['__mro__'] }}",
        "{{ alerts[0]['__init__'] }}",
        "{{ alerts | join(', ') | upper }}",
        "{% for a in alerts %}{% for b in a.labels %}{{ b }}{% endfor %}{% endfor %}",
    ],
)
def test_what_a_template_may_not_reach(text: str) -> None:
    _, said = words([notice(fact())], AlertTemplate(text=text))
    assert "<class" not in said
    assert "<built-in" not in said


def test_the_worst_template_is_bounded(record_property: Any) -> None:
    """The two deepest loops with as many outputs as fit: it ends, and what comes out is cut."""
    line = "{{ a.what }}" * 320
    template = AlertTemplate(
        title=line[:1000], text="{% for a in alerts %}{% for b in alerts %}" + line[:4000] + "{% endfor %}{% endfor %}"
    )
    assert template_fault(template.text)[0] == "" or len(template.text) > LONGEST
    text = (
        "{% for a in alerts %}{% for b in alerts %}"
        + "{% if a.why == b.why and a.what == 'x' %}y{% endif %}" * 70
        + "{% endfor %}{% endfor %}"
    )
    assert template_fault(text) == ("", 0)
    began = time.process_time()
    notices = [notice(fact(f"app-{n}"), number=n) for n in range(200)]
    title, said = words(notices, AlertTemplate(title="{{ rule }}" * 100, text=text))
    record_property("seconds", time.process_time() - began)
    assert len(title) <= LONGEST_TITLE
    assert len(said) <= LONGEST_TEXT
