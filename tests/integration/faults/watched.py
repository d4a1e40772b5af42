"""What is really there: objects of the cluster, what taut's API says, and what its store holds. All of it read from outside."""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from support.program import Program
from taut.localplane.api import Api
from taut.store.journal import verify_audit

PATHS = {
    "ConfigMap": "/api/v1/configmaps",
    "Secret": "/api/v1/secrets",
    "Deployment": "/apis/apps/v1/deployments",
    "Job": "/apis/batch/v1/jobs",
    "Namespace": "/api/v1/namespaces",
    "CustomResourceDefinition": "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
}
OWNER = "taut.dev/owner"


@dataclass(frozen=True)
class Live:
    """One object: whose it is (the application's key), what it holds, which object it is."""

    owner: str
    content: str
    uid: str


def found(api: Api, root: str, namespaces: Iterable[str], group: str = "") -> dict[tuple[str, str, str], Live]:
    """Every object in these namespaces, and every object anywhere that carries a mark of this root. What the cluster makes by itself is left out."""
    spaces = set(namespaces)
    paths = PATHS | ({"Widget": f"/apis/{group}/v1/widgets"} if group else {})
    result: dict[tuple[str, str, str], Live] = {}
    for kind, path in paths.items():
        status, body = api.request("GET", path)
        if status == 404 and kind == "Widget":
            continue  # its CRD is not there
        assert status == 200, (kind, status)
        for item in json.loads(body)["items"]:
            meta = item["metadata"]
            owner = (meta.get("annotations") or {}).get(OWNER, "").partition("|")[0]
            here = meta.get("namespace") in spaces and meta["name"] != "kube-root-ca.crt"
            if "deletionTimestamp" not in meta and (here or owner.startswith(f"{root}/")):
                key = (kind, meta.get("namespace", ""), meta["name"])
                result[key] = Live(owner, _content(kind, item), meta["uid"])
    return result


def _content(kind: str, item: dict[str, Any]) -> str:
    match kind:
        case "ConfigMap":
            return str((item.get("data") or {}).get("value", ""))
        case "Secret":
            import base64

            return base64.b64decode((item.get("data") or {}).get("value", "")).decode()
        case "Widget":
            return str(item["spec"].get("value", ""))
        case "Deployment":
            return item["spec"]["template"]["spec"]["containers"][0]["image"]
        case _:
            return ""


class Asking:
    """A running taut's API, asked without starting a program for each question."""

    def __init__(self, program: Program) -> None:
        self._program = program

    def _request(self, method: str, path: str) -> bytes | None:
        """The answer's body; None when this process does not answer (yet)."""
        process = self._program.process
        try:
            [file] = (self._program.folder / "run" / "taut").glob("*.json")
            said = json.loads(file.read_text())
            if process is None or said["pid"] != process.pid:
                return None
            token = Path(said["tokenFile"]).read_text().strip()
            asked = urllib.request.Request(
                said["server"] + path,
                data=b"{}" if method == "POST" else None,
                headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
                method=method,
            )
            with urllib.request.urlopen(asked, timeout=20) as answer:
                return answer.read()
        except (OSError, ValueError):
            return None

    def statuses(self) -> dict[str, dict[str, Any]]:
        """Every application's status by its name; nothing while taut does not answer."""
        body = self._request("GET", "/v1/applications")
        return {} if body is None else {s["name"]: s for s in json.loads(body)}

    def refresh(self) -> bool:
        """Say that something was pushed, as a webhook does; False when taut does not answer."""
        return self._request("POST", "/v1/refresh") is not None

    def ready(self) -> tuple[int, str]:
        """Status and text of the readiness check."""
        [file] = (self._program.folder / "run" / "taut").glob("*.json")
        url = json.loads(file.read_text())["server"] + "/readyz"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return answer.status, answer.read().decode().strip()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode().strip()


class StoreCopy:
    """A copy of a store as it lies on the disk now, read without taut and without touching the original."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def ask(self, sql: str, *arguments: Any) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        with tempfile.TemporaryDirectory() as folder:
            connection = self._open(Path(folder))
            try:
                return connection.execute(sql, arguments).fetchall()
            finally:
                connection.close()

    def audit_broken_at(self) -> int | None:
        """The first entry of the audit that is missing or was changed."""
        with tempfile.TemporaryDirectory() as folder:
            connection = self._open(Path(folder))
            try:
                return verify_audit(connection)
            finally:
                connection.close()

    def running(self) -> int:
        """Operations that have begun and have not ended."""
        return int(self.ask("SELECT count(*) FROM operations WHERE state = 'Running'")[0][0])

    def inventory(self) -> set[tuple[str, str, str, str, bool]]:
        """(application, kind, namespace, name, whether it is a hook's) of every object that an inventory holds."""
        rows = self.ask("SELECT app, kind, namespace, name, item FROM inventory")
        return {(app, kind, space, name, bool(orjson.loads(item).get("hook"))) for app, kind, space, name, item in rows}

    def _open(self, folder: Path) -> sqlite3.Connection:
        for suffix in ("", "-wal"):
            file = self._path.with_name(self._path.name + suffix)
            if file.exists():
                shutil.copyfile(file, folder / f"copy.db{suffix}")
        return sqlite3.connect(folder / "copy.db")


def jobs_made(audit_log: Path, offset: int, namespaces: Iterable[str]) -> Counter[str]:
    """How often taut made each Job since `offset`, by the API server's own log."""
    spaces = set(namespaces)
    made: Counter[str] = Counter()
    with audit_log.open("rb") as log:
        log.seek(offset)
        for line in log:
            if b'"taut/' not in line or b'"jobs"' not in line or b'"create"' not in line or not line.endswith(b"}\n"):
                continue
            entry = orjson.loads(line)
            ref = entry.get("objectRef") or {}
            if entry.get("stage") != "ResponseComplete" or "dryRun" in entry["requestURI"]:
                continue
            if ref.get("namespace") in spaces and int((entry.get("responseStatus") or {}).get("code", 0)) < 400:
                made[ref.get("name", "")] += 1
    return made
