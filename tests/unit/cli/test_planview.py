"""How a plan reads."""

from __future__ import annotations

from support.memory_backend import OPS_WEB, plan
from taut.cli.planview import plan_lines
from taut.model.plan import Action, Change, FieldChange, Plan
from taut.model.refs import AppKey, ObjectRef
from taut.server.views import PlanView

APP = AppKey("prod", "", "web")
CONFIG = ObjectRef("local", "", "ConfigMap", "shop", "web")


def text(of: Plan) -> str:
    return "\n".join(line.plain for line in plan_lines(PlanView.of(of)))


def changed(*fields: FieldChange, action: Action = Action.UPDATE, reason: str = "") -> Plan:
    return Plan(APP, (Change(CONFIG, action, fields=fields, reason=reason),))


def test_a_whole_plan() -> None:
    assert (
        text(plan(OPS_WEB))
        == f"""\
■ Held: deletes PersistentVolumeClaim shop/data, which holds data

~ Deployment.apps shop/web  update, wave 1
    spec.replicas: 3 → 5  (was set by kubectl-scale)
    metadata.labels.tier: + front
~ Secret shop/web  update
    data.password: •••••• differs
- PersistentVolumeClaim shop/data  delete, no longer in Git
2 to update, 1 to delete, 1 unchanged; plan {plan(OPS_WEB).hash[:8]}"""
    )


def test_nothing_to_do() -> None:
    assert text(Plan(APP, (Change(CONFIG, Action.UNCHANGED),))) == "Nothing would change (1 object unchanged)."


def test_long_texts_are_compared_by_line() -> None:
    before = "\n".join(f"line {n}" for n in range(20))
    shown = text(changed(FieldChange("data.conf", before, before.replace("line 7", "line seven"))))
    assert shown.splitlines()[1:-1] == [
        "    data.conf: ",
        "        … 7 lines unchanged",
        "      - line 7",
        "      + line seven",
        "        … 12 lines unchanged",
    ]


def test_values_of_every_kind() -> None:
    shown = text(
        changed(
            FieldChange("a", True, None),
            FieldChange("b", {"x": [1]}, "text", owner="helm"),
            FieldChange("c", "gone", None, after_set=False),
        )
    )
    assert shown.splitlines()[1:-1] == [
        "    a: true → null",
        '    b: {"x":[1]} → text  (was set by helm)',
        "    c: - gone",
    ]


def test_what_comes_from_others_is_made_safe() -> None:
    shown = text(changed(FieldChange("a\x1b[2J", "\x1b[31m", "\u202e"), reason="because\n\x07"))
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "\x07" not in shown


def test_recreating_says_what_it_does() -> None:
    assert "± ConfigMap shop/web  delete and create again" in text(changed(action=Action.RECREATE))
