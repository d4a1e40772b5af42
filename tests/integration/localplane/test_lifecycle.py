"""Control planes come, go, and leave nothing behind."""

from __future__ import annotations

import json
import os
import signal
import ssl
import stat
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from support.waiting import until
from taut import localplane
from taut.localplane import Plane, PlaneState
from taut.localplane.api import Api
from taut.model.errors import BadInput, TautError

pytestmark = pytest.mark.integration

CONFIG_MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kept"}, "data": {"a": "1"}}
CONFIG_MAP_PATH = "/api/v1/namespaces/default/configmaps/kept"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A folder for control planes; whatever still runs there is stopped in the end."""
    folder = tmp_path / "planes"
    yield folder
    for plane in localplane.planes(home=folder):
        with suppress(TautError):
            localplane.delete(plane.name, home=folder)


def api(plane: Plane) -> Api:
    return Api(int(plane.server.rpartition(":")[2]), plane.ca, plane.token)


def processes_in(folder: Path) -> list[str]:
    """The command lines of all processes that work in `folder`, and of the supervisor told to."""
    found = []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            inside = (process / "cwd").readlink().is_relative_to(folder)
        except OSError:
            continue
        if inside or ("taut.localplane.supervisor" in command and str(folder) in command):
            found.append(command)
    return found


def test_two_at_once_are_apart_and_gone_after_stop(home: Path) -> None:
    with localplane.start("one", home=home) as one, localplane.start("two", home=home) as two:
        assert one.server != two.server
        assert one.token != two.token
        api(one).apply(CONFIG_MAP_PATH, CONFIG_MAP)
        assert api(two).get(CONFIG_MAP_PATH) is None
        # The key to one opens no door of the other, nor does the other's CA vouch for it.
        assert Api(int(two.server.rpartition(":")[2]), two.ca, one.token).request("GET", "/api/v1/nodes")[0] == 401
        listed = localplane.planes(home=home)
        assert [(p.name, p.state) for p in listed] == [("one", PlaneState.RUNNING), ("two", PlaneState.RUNNING)]
        # etcd, API server, controller manager, scheduler, kwok and the supervisor.
        assert len(processes_in(home / "one")) + len(processes_in(home)) >= 12
    assert processes_in(home) == []
    assert localplane.planes(home=home) == []


def test_data_are_kept_when_asked(home: Path) -> None:
    with localplane.start("kept", keep=True, home=home) as plane:
        api(plane).apply(CONFIG_MAP_PATH, CONFIG_MAP)
        token = plane.token
    assert [(p.name, p.state, p.server) for p in localplane.planes(home=home)] == [("kept", PlaneState.STOPPED, "")]
    with pytest.raises(BadInput, match="data that are kept"):
        localplane.start("kept", home=home)
    with localplane.start("kept", keep=True, home=home) as plane:
        assert (api(plane).get(CONFIG_MAP_PATH) or {})["data"] == {"a": "1"}
        # A copy of the kubeconfig still opens the door.
        assert plane.token == token
    localplane.delete("kept", home=home)
    assert not (home / "kept").exists()
    assert localplane.planes(home=home) == []


@pytest.mark.parametrize("victim", ["owner", "supervisor"])
def test_kill_9_leaves_no_process(home: Path, victim: str) -> None:
    program = (
        "import sys, time; from pathlib import Path; from taut import localplane;"
        f"plane = localplane.start('doomed', home=Path({str(home)!r})); print(plane.pid, flush=True); time.sleep(600)"
    )
    owner = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    supervisor = int(owner.stdout.readline())
    assert len(processes_in(home)) == 6
    os.kill(owner.pid if victim == "owner" else supervisor, signal.SIGKILL)
    until(lambda: not processes_in(home), "all processes are gone")
    owner.kill()
    owner.communicate()
    # The name is free at once, and nothing of the old one is in the way.
    with localplane.start("doomed", home=home) as plane:
        assert api(plane).ready()


def test_a_component_that_dies_takes_the_plane_with_it(home: Path) -> None:
    plane = localplane.start("frail", home=home)
    scheduler = until(
        lambda: [p for p in Path("/proc").iterdir() if p.name.isdigit() and is_scheduler_in(p, home)], "the scheduler"
    )
    os.kill(int(scheduler[0].name), signal.SIGKILL)
    until(lambda: not processes_in(home), "all processes are gone")
    with pytest.raises(TautError, match="does not run"):
        localplane.stop("frail", home=home)
    plane.stop()


def is_scheduler_in(process: Path, folder: Path) -> bool:
    try:
        return b"kube-scheduler" in (process / "cmdline").read_bytes() and (process / "cwd").readlink().is_relative_to(
            folder
        )
    except OSError:
        return False


def test_a_detached_plane_outlives_the_one_who_started_it(home: Path) -> None:
    program = (
        "from pathlib import Path; from taut import localplane;"
        f"localplane.start('loose', detached=True, home=Path({str(home)!r}))"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    plane = localplane.get("loose", home=home)
    assert plane.state is PlaneState.RUNNING
    assert api(plane).ready()
    with pytest.raises(TautError, match="runs already"):
        localplane.start("loose", home=home)
    localplane.delete("loose", home=home)
    assert processes_in(home) == []


def test_a_failed_start_says_why_and_leaves_nothing(home: Path) -> None:
    with pytest.raises(TautError, match=r"kube-apiserver ended with code 1.*no-such-flag"):
        localplane.start("wrong", home=home, apiserver_args=["--no-such-flag"])
    assert processes_in(home) == []
    with pytest.raises(TautError, match="there is no control plane"):
        localplane.get("wrong", home=home)


def test_what_does_not_exist_is_said_in_a_sentence(home: Path) -> None:
    for verb in (localplane.stop, localplane.delete, localplane.get):
        with pytest.raises(TautError, match="nothing"):
            verb("nothing", home=home)
    for name in ("", "../up", "UPPER", "a" * 50, "-x"):
        with pytest.raises(BadInput, match="is no name"):
            localplane.start(name, home=home)


def test_files_are_private(plane: Plane) -> None:
    assert stat.S_IMODE(plane.folder.stat().st_mode) == 0o700
    open_to_others = [f for f in plane.folder.rglob("*") if not f.is_symlink() and f.stat().st_mode & 0o077]
    assert open_to_others == []


def test_tls_is_verified_by_the_ca_of_the_plane(plane: Plane) -> None:
    request = urllib.request.Request(f"{plane.server}/version", headers={"Authorization": f"Bearer {plane.token}"})
    # The strictest context that Python has: it wants a CA with keyUsage and identifiers.
    strict = ssl.create_default_context(cafile=str(plane.ca))
    assert strict.verify_flags & ssl.VERIFY_X509_STRICT
    with urllib.request.urlopen(request, context=strict) as answer:
        assert json.load(answer)["minor"] == "37"
    with pytest.raises(urllib.request.URLError, match="CERTIFICATE_VERIFY_FAILED"):
        urllib.request.urlopen(request, context=ssl.create_default_context())


def test_a_client_certificate_signs_in(plane: Plane) -> None:
    certificate, key = plane.client_certificate("grace", ["ops"])
    context = ssl.create_default_context(cafile=str(plane.ca))
    context.load_cert_chain(certificate, key)
    body = json.dumps({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}).encode()
    url = f"{plane.server}/apis/authentication.k8s.io/v1/selfsubjectreviews"
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, context=context) as answer:
        who = json.load(answer)["status"]["userInfo"]
    assert who["username"] == "grace"
    assert "ops" in who["groups"]


def test_the_audit_log_tells_who_asked_for_what(plane: Plane, plane_api: Api) -> None:
    plane_api.get("/api/v1/namespaces/default/configmaps/only-the-audit-knows")
    log = plane.audit_log
    assert log is not None

    def entry() -> dict[str, str] | None:
        lines = [json.loads(line) for line in log.read_text().splitlines() if line.endswith("}")]
        return next((e for e in lines if "only-the-audit-knows" in e["requestURI"]), None)

    found = until(entry, "the request is in the audit log")
    assert (found["verb"], found["level"], found["stage"]) == ("get", "Metadata", "ResponseComplete")
    assert found["user"]["username"] == "localplane:admin"  # pyright: ignore[reportArgumentType]
