"""What is remembered of a root's rules: they count until it is read, and a file with faults takes none away."""

from __future__ import annotations

from taut.dialects.problems import DocumentProblem
from taut.dialects.taut import Parsed
from taut.model.alerts import Trigger
from taut.model.errors import Where
from taut.notify.service import Said, _said
from unit.notify.facts_of import rule

ONE, OTHER = rule(Trigger.HELD, name="one", root="fleet"), rule(Trigger.HELD, name="other", root="fleet")
FAULT = DocumentProblem("no field 'recievers'", Where(file="alerts.yaml"))


def test_what_a_root_says_now_counts() -> None:
    assert _said(Parsed(alert_rules=(ONE,)), Said(rules=(ONE, OTHER))) == Said(rules=(ONE,))


def test_while_a_file_has_faults_what_came_from_it_stays() -> None:
    changed = rule(Trigger.SYNC_FAILED, name="one", root="fleet")
    found = _said(Parsed(alert_rules=(changed,), problems=(FAULT,)), Said(rules=(ONE, OTHER)))
    assert found == Said(rules=(changed, OTHER))
