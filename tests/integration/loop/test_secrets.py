"""Secrets: what is in them reaches the cluster, and nothing else that taut writes, says or shows."""

from __future__ import annotations

import base64
import logging
from pathlib import Path

import msgspec
import pytest

from integration.loop.harness import Taut, application, config_map, yaml
from taut.model.errors import TautError
from taut.server.controlled import ControllerBackend

pytestmark = pytest.mark.integration

WORDS = {
    name: f"{name}-Kq7xW2vB9z"
    for name in ("first", "second", "byhand", "reported", "encoded", "refused", "malformed", "values", "hook", "failed")
}
"""Every value that the test puts into a Secret; each is looked for everywhere."""


def secret(name: str, body: dict[str, object], **metadata: object) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, **metadata}, **body}


def decoded(taut: Taut, name: str) -> dict[str, str]:
    """What a Secret holds now."""
    found = (taut.get("secrets", name) or {}).get("data") or {}
    return {key: base64.b64decode(value).decode() for key, value in found.items()}


def leaks(data: bytes) -> list[str]:
    """Which values are in `data`, plain or in base64 (at any of its three alignments)."""
    found: list[str] = []
    for name, word in WORDS.items():
        raw = word.encode()
        forms = [raw, *(base64.b64encode(b"\0" * n + raw)[4 * (n > 0) : -4] for n in range(3))]
        if any(form in data for form in forms):
            found.append(name)
    return found


def kept_files(folder: Path) -> list[Path]:
    """All that taut has written, its mirrors of repositories excluded: these hold what Git holds."""
    files = [p for p in folder.rglob("*") if p.is_file()]
    return [p for p in files if not any(part.endswith(".sources") for part in p.parts)]


async def shown(taut: Taut) -> bytes:
    """Everything that taut tells about its applications, as JSON."""
    backend = ControllerBackend(taut.controller)
    parts: list[object] = [*backend.statuses(), *backend.roots()]
    for key in list(backend.keys()):
        parts += [await backend.objects(key), await backend.tree(key)]
        try:
            parts.append(await backend.plan(key))
        except TautError as error:
            parts.append(str(error))
        parts += [await backend.drift(key, open_only=False, limit=100), await backend.history(key, 100)]
    parts += [await backend.events(None, 1000), await backend.audit(1000), backend.metrics()]
    return msgspec.json.encode(parts)


async def test_values_stay_where_they_belong(taut: Taut, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    chart = {
        "apps/helm/Chart.yaml": "apiVersion: v2\nname: helm\nversion: 1.0.0\n",
        "apps/helm/templates/s.yaml": yaml(secret("helm", {"stringData": {"a": "{{ .Values.hidden }}"}})),
        "apps/fails/Chart.yaml": "apiVersion: v2\nname: fails\nversion: 1.0.0\n",
        "apps/fails/templates/s.yaml": '{{ fail (printf "no: %s" .Values.other) }}\n',
    }
    encoded = base64.b64encode(WORDS["encoded"].encode()).decode()
    hook = secret("hook", {"stringData": {"a": WORDS["hook"]}}, annotations={"taut.dev/hook": "pre-sync"})
    files = {
        **chart,
        "apps/web/s.yaml": yaml(secret("web", {"stringData": {"a": WORDS["first"]}, "data": {"b": encoded}})),
        "apps/watched/s.yaml": yaml(secret("watched", {"stringData": {"a": WORDS["reported"]}})),
        "apps/refused/s.yaml": yaml(secret("refused", {"type": "kubernetes.io/tls", "data": {"tls.crt": WORDS["refused"]}})),
        "apps/malformed/s.yaml": yaml(secret("malformed", {"stringData": {"a": [WORDS["malformed"]]}})),
        "apps/hooked/s.yaml": yaml(hook, config_map("hooked")),
    }  # fmt: skip
    values = secret("values", {"stringData": {"v": f"hidden: {WORDS['values']}\nother: {WORDS['failed']}\n"}})
    taut.api.apply(f"/api/v1/namespaces/{taut.namespace}/secrets/values", values)
    helm, fails = application("helm"), application("fails")
    for app in (helm, fails):
        app["spec"]["source"]["helmOptions"] = {"valuesFrom": [{"kind": "Secret", "name": "values", "key": "v"}]}
    rest = ("web", "refused", "malformed", "hooked")
    taut.declare(helm, fails, application("watched"), *(application(n) for n in rest), files=files)
    async with taut.run():
        await taut.synced("web", "watched", "helm", "hooked")
        assert decoded(taut, "web") == {"a": WORDS["first"], "b": WORDS["encoded"]}
        assert decoded(taut, "helm") == {"a": WORDS["values"]}
        await taut.until(lambda: (s := taut.status("refused")) and s.operation == "Failed", "refused")
        await taut.says("malformed", "a value that is no text", "stringData.a")
        await taut.says("fails", "no: ")
        # A change by hand, healed; a change that is only reported; a change in Git.
        taut.patch("secrets", "web", {"stringData": {"a": WORDS["byhand"]}})
        await taut.until(lambda: decoded(taut, "web")["a"] == WORDS["first"], "healed")
        quiet = application("watched", sync={"mode": "report"})
        taut.declare(helm, fails, quiet, *(application(n) for n in rest))
        await taut.poke()
        await taut.until(lambda: (s := taut.status("watched")) and s.mode == "report" and s.sync == "Synced", "report")
        taut.patch("secrets", "watched", {"stringData": {"a": WORDS["byhand"]}})
        await taut.until(lambda: (s := taut.status("watched")) and s.sync == "OutOfSync", "the drift is seen")
        await taut.push({"apps/web/s.yaml": yaml(secret("web", {"stringData": {"a": WORDS["second"]}}))})
        await taut.until(lambda: decoded(taut, "web") == {"a": WORDS["second"]}, "the new value is live")
        await taut.synced("web")

        drift = await taut.drift("watched")
        assert [r.path for r in drift] == ["data.a"], "that it differs is told"
        plan = msgspec.json.encode(await ControllerBackend(taut.controller).plan(taut.key("watched")))
        assert b"data.a" in plan
        said = await shown(taut)
        assert leaks(said) == []
        assert b"watched" in said
        files_now = kept_files(taut.folder)
        assert {p.name for p in files_now} >= {"taut.db", "taut.db.renders", "taut.db.key"}
        assert {p.name: found for p in files_now if (found := leaks(p.read_bytes()))} == {}
    async with taut.run():  # what the sealed cache holds is enough to be in sync again
        await taut.synced("web", "helm", "hooked")
        assert leaks(await shown(taut)) == []
    assert {p.name: found for p in kept_files(taut.folder) if (found := leaks(p.read_bytes()))} == {}
    assert leaks(caplog.text.encode()) == []
    assert caplog.text


def test_the_search_finds_what_it_looks_for() -> None:
    word = WORDS["first"].encode()
    for n in range(4):
        assert leaks(b"x" * n + word + b"y") == ["first"]
        assert leaks(base64.b64encode(b"x" * n + word + b"y")) == ["first"]
