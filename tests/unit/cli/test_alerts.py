"""`taut alerts`: what is open, what waits, how a message reads; with and without a running taut."""

from __future__ import annotations

import json
from pathlib import Path

from support.memory_backend import OPS_WEB, WEB, Running
from taut.documents.yaml import dump


def test_what_is_open(server: Running, taut) -> None:
    lines = taut("alerts", "list").out.splitlines()
    assert lines[0].split() == ["SINCE", "APPLICATION", "TRIGGER", "SEVERITY", "WHAT", "RULE", "TOLD"]
    assert str(WEB) in lines[1]
    assert "a sync is held: deletes PersistentVolumeClaim shop/data" in lines[1]
    assert str(OPS_WEB) in lines[2]


def test_rules_and_what_waits(server: Running, taut) -> None:
    assert "prod/shop" in taut("alerts", "list", "--rules").out
    assert "ops (email)" in taut("alerts", "list", "--rules").out
    assert "mail.example.com:587 cannot be reached" in taut("alerts", "list", "--waiting").out
    data = json.loads(taut("alerts", "list", "-o", "json").out)
    assert [w["tries"] for w in data["waiting"]] == [2]
    assert {a["trigger"] for a in data["open"]} == {"held"}


def test_a_test_shows_and_sends(server: Running, taut) -> None:
    shown = taut("alerts", "test", "ops", "--app", "shop/web")
    assert shown.code == 0
    assert shown.out.startswith("To: ops (email)\nTitle: web is held\n\nprod/shop/web, asked for by ")
    assert "was told" not in shown.out
    assert taut("alerts", "test", "ops", "--send").out.splitlines()[-1] == "ops was told."
    assert json.loads(taut("alerts", "test", "ops", "-o", "json").out)["sent"] is False
    unknown = taut("alerts", "test", "nobody")
    assert unknown.code == 2
    assert "no alert rule or receiver 'nobody'" in unknown.err


def test_a_rule_of_a_file_needs_no_taut(tmp_path: Path, taut) -> None:
    spec = {
        "triggers": ["drift-found"],
        "receivers": ["ops"],
        "template": {"title": "{{ count }} by hand", "text": "{{ alerts[0].field }} by {{ alerts[0].user }}"},
    }
    body = {"apiVersion": "taut.dev/v1", "kind": "AlertRule", "metadata": {"name": "mine"}, "spec": spec}
    file = tmp_path / "rule.yaml"
    file.write_text(dump(body))
    ended = taut("alerts", "test", "mine", "--file", str(file))
    assert ended.out == "To: ops\nTitle: 1 by hand\n\nspec.replicas by ada@example.com\n\n"
    assert taut("alerts", "test", "other", "--file", str(file)).code == 2
    assert taut("alerts", "test", "mine", "--file", str(file), "--send").code == 2
    body["spec"]["template"] = {"text": "{{ x() }}"}
    file.write_text(dump(body))
    broken = taut("alerts", "test", "mine", "--file", str(file))
    assert broken.code == 2
    assert "a call cannot stand here" in broken.err
    assert "rule.yaml" in broken.err
