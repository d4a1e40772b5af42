"""What taut wrote into a test's namespace, as the API server's audit log has it."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from integration.loop.harness import Taut

_WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})


@dataclass(frozen=True)
class Write:
    """One request that changed something. `plural` holds the group: `jobs.batch`."""

    verb: str
    plural: str
    name: str
    user: str

    def __str__(self) -> str:
        return f"{self.verb} {self.plural}/{self.name}"


class Writes:
    """Successful writes of taut (dry-runs are none) from the moment when this was made, in the order of their answers."""

    def __init__(self, taut: Taut) -> None:
        assert taut.plane.audit_log is not None
        self._file: Path = taut.plane.audit_log
        self._offset = self._file.stat().st_size
        self._namespace = taut.namespace

    def mark(self) -> None:
        """Forget what was written until now."""
        self._offset = self._file.stat().st_size

    def all(self, namespace: str | None = None) -> list[Write]:
        """Those into the test's namespace, or another; empty for cluster-scoped objects."""
        with self._file.open("rb") as log:
            log.seek(self._offset)
            lines = log.read().split(b"\n")
        space = self._namespace if namespace is None else namespace
        entries = [json.loads(line) for line in lines if b'"taut/' in line and line.endswith(b"}")]
        return [_write(e) for e in entries if _changed(e) and e["objectRef"].get("namespace", "") == space]

    def order(self) -> list[str]:
        """`create jobs.batch/name` and so on."""
        return [str(w) for w in self.all()]

    def runs(self) -> Counter[str]:
        """How often each Job was made."""
        return Counter(w.name for w in self.all() if (w.verb, w.plural) == ("create", "jobs.batch"))


def _changed(entry: dict[str, Any]) -> bool:
    return (
        entry["verb"] in _WRITES
        and entry.get("stage") == "ResponseComplete"
        and str(entry.get("userAgent", "")).startswith("taut/")
        and "dryRun" not in entry["requestURI"]
        and "objectRef" in entry
        and int((entry.get("responseStatus") or {}).get("code", 0)) < 400
    )


def _write(entry: dict[str, Any]) -> Write:
    ref = entry["objectRef"]
    plural = ".".join(filter(None, (ref.get("resource"), ref.get("apiGroup"))))
    who = entry.get("impersonatedUser") or entry.get("user") or {}
    return Write(entry["verb"], plural, ref.get("name", ""), who.get("username", ""))
