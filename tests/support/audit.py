"""What the API server was asked, from its audit log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import orjson

WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})


@dataclass(frozen=True)
class Asked:
    """One request. `name` is empty for collections; `plural` holds the group (`deployments.apps`), and is empty where no object was asked for."""

    verb: str
    path: str
    query: dict[str, list[str]]
    plural: str
    namespace: str
    name: str
    status: int
    impersonated: str = ""
    """The user that it was made as, when that is not the one that signed in."""

    @property
    def writes(self) -> bool:
        """Whether it could change something."""
        return self.verb in WRITES and "dryRun" not in self.query

    @property
    def watches(self) -> bool:
        """Whether it is an open watch."""
        return self.verb == "watch"

    @property
    def initial(self) -> bool:
        """Whether it brings the whole of a collection: a list, or the watch that begins with one."""
        return self.verb == "list" or (self.watches and "resourceVersion" not in self.query)

    def __str__(self) -> str:
        return f"{self.verb} {self.path}"


class AuditLog:
    """The requests of one program (by the start of its user agent) from the moment on when this was made."""

    def __init__(self, file: Path | None, agent: str = "taut/") -> None:
        assert file is not None, "the control plane was started without an audit log"
        self._file = file
        self._agent = agent
        self._offset = file.stat().st_size

    def mark(self) -> None:
        """Forget what was asked until now."""
        self._offset = self._file.stat().st_size

    def requests(self, *which: Callable[[Asked], bool]) -> list[Asked]:
        """What was asked since, each request once (a watch when it was opened), in the order of their answers."""
        with self._file.open("rb") as log:
            log.seek(self._offset)
            lines = log.read().split(b"\n")
        found: dict[str, Asked] = {}
        for line in lines:
            if self._agent.encode() not in line or not line.endswith(b"}"):
                continue
            entry = orjson.loads(line)
            if str(entry.get("userAgent", "")).startswith(self._agent) and entry["auditID"] not in found:
                found[entry["auditID"]] = _asked(entry)
        return [a for a in found.values() if all(fits(a) for fits in which)]

    def writes(self) -> list[Asked]:
        """What could have changed something."""
        return self.requests(lambda a: a.writes)


def _asked(entry: dict[str, object]) -> Asked:
    url = urlsplit(str(entry["requestURI"]))
    ref = entry.get("objectRef") or {}
    assert isinstance(ref, dict)
    plural = ".".join(filter(None, (ref.get("resource"), ref.get("apiGroup"))))
    code = entry.get("responseStatus") or {}
    user = entry.get("impersonatedUser") or {}
    assert isinstance(code, dict)
    assert isinstance(user, dict)
    return Asked(
        verb=str(entry["verb"]),
        path=url.path,
        query=parse_qs(url.query),
        plural=plural,
        namespace=str(ref.get("namespace", "")),
        name=str(ref.get("name", "")),
        status=int(code.get("code", 0)),
        impersonated=str(user.get("username", "")),
    )


def by_verb(requests: Iterable[Asked]) -> Counter[str]:
    """How many of each verb."""
    return Counter(a.verb for a in requests)
