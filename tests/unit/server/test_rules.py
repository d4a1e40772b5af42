"""Rights in the form of Argo CD's policy.csv: who may do what, and which line says so."""

from __future__ import annotations

import pytest

from taut.model.errors import BadInput
from taut.model.refs import AppKey
from taut.server.access.principal import NOBODY, Action, Principal, Resource, Target
from taut.server.access.rules import read_rules

POLICY = """
# operators of the shop
p, role:shop, applications, *, shop/*, allow
p, role:shop, applications, approve, shop/*, deny
p, role:deployer, applications, action/apps/Deployment/restart, */web, allow
p, role:suspender, applications, update, shop/*, allow
p, role:logs, logs, get, shop/*, allow
g, my-org:team-shop, role:shop
g, role:lead, role:shop
g, ann, role:lead
g, bob, role:deployer
g, eve, role:suspender
g, root, role:admin
"""
WEB = Target.app(AppKey("prod", "shop", "web"), "shop")
OTHER = Target.app(AppKey("prod", "ops", "web"), "ops")


def who(name: str, *groups: str) -> Principal:
    return Principal(name, frozenset({name, *groups}), "session")


@pytest.mark.parametrize(
    ("principal", "action", "target", "wanted"),
    [
        (who("zoe", "my-org:team-shop"), Action.SYNC, WEB, True),
        (who("zoe", "my-org:team-shop"), Action.SYNC, OTHER, False),
        (who("zoe", "my-org:team-shop"), Action.APPROVE, WEB, False),
        (who("ann"), Action.RESTART, WEB, True),
        (who("ann"), Action.APPROVE, WEB, False),
        (who("bob"), Action.RESTART, WEB, True),
        (who("bob"), Action.RESTART, OTHER, True),
        (who("bob"), Action.SYNC, WEB, False),
        (who("bob"), Action.GET, WEB, True),
        (who("eve"), Action.SUSPEND, WEB, True),
        (who("root"), Action.APPROVE, OTHER, True),
        (who("root"), Action.GET, Target(Resource.AUDIT), True),
        (who("zoe"), Action.GET, OTHER, True),
        (who("zoe"), Action.SYNC, OTHER, False),
        (NOBODY, Action.GET, WEB, False),
    ],
)
def test_who_may_do_what(principal: Principal, action: Action, target: Target, wanted: bool) -> None:
    assert read_rules(POLICY, default="role:readonly").allows(principal, action, target) is wanted


def test_nobody_has_no_more_than_the_anonymous_role() -> None:
    assert read_rules("", anonymous="role:readonly").allows(NOBODY, Action.GET, WEB)
    assert not read_rules("", anonymous="role:readonly").allows(NOBODY, Action.SYNC, WEB)
    assert not read_rules("", default="role:admin").allows(NOBODY, Action.GET, WEB)


def test_a_group_is_not_a_name_of_another_kind() -> None:
    rules = read_rules("g, ann, role:admin\n")
    assert not rules.allows(who("eve", "team"), Action.SYNC, WEB)


def test_roles_in_a_circle_come_to_an_end() -> None:
    rules = read_rules(
        "g, role:a, role:b\ng, role:b, role:a\np, role:b, applications, get, */*, allow\ng, ann, role:a\n"
    )
    assert rules.allows(who("ann"), Action.GET, WEB)


def test_what_denies_is_told() -> None:
    allowed, rule = read_rules(POLICY).why(who("ann"), Action.APPROVE, WEB)
    assert not allowed
    assert rule is not None
    assert (rule.subject, rule.action, rule.allow) == ("role:shop", "approve", False)


def test_rules_of_what_taut_has_not_are_said_to_mean_nothing() -> None:
    assert "applicationsets" in read_rules("p, role:x, applicationsets, get, */*, allow").warnings[0]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("p, role:x, aplications, get, */*, allow", "did you mean applications"),
        ("p, role:x, applications, get, */*, maybe", "neither allow nor deny"),
        ("p, role:x, applications, get", "no rule"),
        ("p, role:x, applications, , */*, allow", "no rule"),
        ("q, role:x", "no rule"),
        ("g, ann", "no rule"),
        ("p, role:x, applications, get, */*, allow, more", "no rule"),
    ],
)
def test_what_cannot_be_read_is_no_right(line: str, words: str) -> None:
    with pytest.raises(BadInput) as caught:
        read_rules(f"# first\n{line}\n", file="policy.csv")
    assert words in str(caught.value) + caught.value.advice
    assert (caught.value.where.file, caught.value.where.line) == ("policy.csv", 2)
