"""How verdicts are printed: for people, as SARIF 2.1.0, as JUnit."""

from __future__ import annotations

from collections import defaultdict
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import msgspec

from taut.cli.policies import Found, Outcome
from taut.model import verdict as model
from taut.model.visible import clean, one_line
from taut.policy.waiving import way_out

_LEVELS = {model.Enforcement.DENY: "error", model.Enforcement.WARN: "warning", model.Enforcement.AUDIT: "note"}
_BAD = frozenset({model.Outcome.FAIL, model.Outcome.ERROR, model.Outcome.WARN})
_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def sarif(outcome: Outcome) -> str:
    """All failures as one SARIF log (OASIS SARIF 2.1.0)."""
    bad = [f for f in outcome.found if f.verdict.result in _BAD]
    names = sorted({_rule(f.verdict) for f in bad})
    log: dict[str, Any] = {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": {"name": "taut", "rules": [{"id": name} for name in names]}},
                "results": [_result(f, names) for f in bad],
            }
        ],
    }
    return msgspec.json.format(msgspec.json.encode(log), indent=2).decode()


def _result(found: Found, names: list[str]) -> dict[str, Any]:
    file, _, line = found.origin.rpartition(":")
    verdict = found.verdict
    region = {"region": {"startLine": max(1, int(line))}} if line.isdigit() else {}
    return {
        "ruleId": _rule(verdict),
        "ruleIndex": names.index(_rule(verdict)),
        "level": "warning" if verdict.result is model.Outcome.WARN else _LEVELS[verdict.enforcement],
        "message": {"text": f"{verdict.subject}: {verdict.message or 'not as the policy wants it'}"},
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": file or found.origin}, **region}}],
    }


def _rule(verdict: model.Verdict) -> str:
    return f"{verdict.engine}/{verdict.policy}" + (f"/{verdict.rule}" if verdict.rule else "")


def junit(outcome: Outcome) -> str:
    """Every verdict as a test case, a suite a policy."""
    suites: dict[str, list[model.Verdict]] = defaultdict(list)
    for found in outcome.found:
        suites[f"{found.verdict.engine}/{found.verdict.policy}"].append(found.verdict)
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', "<testsuites>"]
    for name, verdicts in sorted(suites.items()):
        counts = {o: sum(v.result is o for v in verdicts) for o in model.Outcome}
        lines.append(
            f"  <testsuite name={quoteattr(name)} tests={quoteattr(str(len(verdicts)))}"
            f" failures={quoteattr(str(counts[model.Outcome.FAIL]))} errors={quoteattr(str(counts[model.Outcome.ERROR]))}"
            f" skipped={quoteattr(str(counts[model.Outcome.SKIP]))}>"
        )
        lines += [_case(v) for v in verdicts]
        lines.append("  </testsuite>")
    return "\n".join([*lines, "</testsuites>"])


def _case(verdict: model.Verdict) -> str:
    name = f"{verdict.rule or verdict.policy}: {verdict.subject}"
    head = f"    <testcase name={quoteattr(clean(name))} classname={quoteattr(clean(verdict.policy))}"
    said = escape(clean(verdict.message))
    match verdict.result:
        case model.Outcome.FAIL if verdict.denies:
            return f"{head}><failure message={quoteattr(clean(verdict.message))}>{said}</failure></testcase>"
        case model.Outcome.ERROR:
            return f"{head}><error message={quoteattr(clean(verdict.message))}>{said}</error></testcase>"
        case model.Outcome.SKIP:
            return f"{head}><skipped message={quoteattr(clean(verdict.message))}/></testcase>"
        case model.Outcome.PASS:
            return head + "/>"
        case _:
            return f"{head}><system-out>{said}</system-out></testcase>"


def tell(outcome: Outcome) -> None:
    """The failures for people, and how many there are."""
    from rich.text import Text

    from taut.cli.printing import console

    out = console()
    bad = [f for f in outcome.found if f.verdict.result in _BAD]
    for found in bad:
        verdict = found.verdict
        line = Text(one_line(found.origin), style="bold")
        line.append(f"  {one_line(str(verdict.subject))}", style="dim")
        out.print(line, soft_wrap=True)
        colour = "red" if verdict.denies else "yellow"
        rule = f"{verdict.policy}/{verdict.rule}" if verdict.rule else verdict.policy
        out.print(Text(f"  {verdict.result} ({_follows(verdict)}) {one_line(rule)}", style=colour), soft_wrap=True)
        for text in (verdict.message, verdict.difference, _way_out(verdict)):
            if text:
                out.print(Text(f"  {one_line(text)}"), soft_wrap=True)
    denied = sum(f.verdict.denies for f in outcome.found)
    good = sum(f.verdict.result is model.Outcome.PASS for f in outcome.found)
    text = f"{denied} denied, {len(bad) - denied} warned or written down, {good} passed: {_count(outcome.objects, 'object', 'objects')}, {_count(outcome.policies, 'policy', 'policies')}."
    out.print(Text(text), soft_wrap=True)


def _count(number: int, one: str, more: str) -> str:
    return f"{number} {one if number == 1 else more}"


def _follows(verdict: model.Verdict) -> str:
    return {"deny": "denied", "warn": "warned of", "audit": "written down"}[str(verdict.enforcement)]


def _way_out(verdict: model.Verdict) -> str:
    """How to leave an object as it is, where that is taut's to say."""
    out = way_out(verdict) if verdict.engine == "taut" else ""
    return f"to leave it as it is, {out}" if out else ""
