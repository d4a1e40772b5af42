"""taut as it is measured: a `taut run` process on its own control plane and repository, asked as little as possible."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import signal
import subprocess
import sys
import sysconfig
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from bench import machine
from taut.localplane.plane import Plane

TAUT = str(Path(sysconfig.get_path("scripts")) / "taut")
_SECRET = b"between the bench and taut"
_DEADLINE = 1800.0
_LOOK = 0.1
_QUIET = 2.0
_QUIET_CPU = 0.03


class Subject:
    """One folder with a `taut.yaml`, its store, and the process. `url` is the repository, `policies` that of the policies (empty: none)."""

    def __init__(self, folder: Path, plane: Plane, url: str, policies: str = "") -> None:
        self.folder, self.url = folder, url
        self.log = folder / "taut.log"
        (folder / "run").mkdir(parents=True)
        (folder / "secret").write_bytes(_SECRET)
        (folder / "taut.yaml").write_text(
            "store: taut.db\nlisten: 127.0.0.1:0\n"
            f"clusters: [{{name: local, kubeconfig: {plane.kubeconfig}}}]\n"
            f'roots: [{{name: bench, git: "{url}", ref: main, path: taut, poll: 30s}}]\n'
            "webhook: {secretFile: secret}\n"
            + (f'policies: [{{name: bench, git: "{policies}", ref: main, poll: 30s}}]\n' if policies else "")
        )
        self.environment = {**os.environ, "XDG_RUNTIME_DIR": str(folder / "run"), "GIT_CONFIG_GLOBAL": os.devnull}
        self.process: subprocess.Popen[bytes] | None = None
        self.profile: Path | None = None
        """Where py-spy writes what the next process spends its time on; None: nowhere."""

    def start(self) -> None:
        """Start the process; it is not waited for."""
        for stale in (self.folder / "run").glob("taut/*.json"):
            stale.unlink()
        with self.log.open("ab") as log:
            argv = [TAUT, "run", "--config", str(self.folder / "taut.yaml")]
            if self.profile is not None:
                spy = [
                    "py-spy",
                    "record",
                    "--gil",
                    "--rate",
                    "200",
                    "--format",
                    "raw",
                    "--output",
                    str(self.profile),
                    "--",
                ]
                argv = [str(Path(TAUT).with_name(spy[0])), *spy[1:], sys.executable, *argv]
            self.process = subprocess.Popen(argv, env=self.environment, stdout=log, stderr=log)

    def stop(self) -> None:
        """Ask it to end, and wait."""
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(60)
            self.process = None

    def wait(self) -> None:
        """Wait until it has ended by itself."""
        if self.process is not None:
            self.process.wait(60)
            self.process = None

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self.process is not None
        return self.process.pid

    @property
    def cpu(self) -> float:
        """CPU seconds until now, of it and all below it."""
        return machine.cpu_of(self.pid)

    @property
    def cli(self) -> list[str]:
        """How its commands begin."""
        return [TAUT]

    def metrics(self) -> dict[str, float]:
        """Its metrics; empty while it does not answer yet."""
        found = list((self.folder / "run").glob("taut/*.json"))
        if not found:
            return {}
        said = json.loads(found[0].read_text())
        token = Path(said["tokenFile"]).read_text().strip()
        request = urllib.request.Request(said["server"] + "/metrics", headers={"Authorization": f"Bearer {token}"})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                lines = answer.read().decode().splitlines()
        except OSError:
            return {}
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[:1] != "#")}

    def in_sync(self, count: int) -> bool:
        """Whether it says that `count` applications are in sync and healthy, and that nothing runs."""
        said = self.metrics()
        good = (said.get('taut_applications{sync="Synced"}'), said.get('taut_applications_health{health="Healthy"}'))
        return good == (count, count) and said.get("taut_operations_running") == 0

    def webhook(self) -> None:
        """Tell it, as a forge does, that the repository's main branch has moved."""
        found = next((self.folder / "run").glob("taut/*.json"))
        server = json.loads(found.read_text())["server"]
        body = json.dumps({"ref": "refs/heads/main", "repository": {"clone_url": self.url}}).encode()
        signature = "sha256=" + hmac.new(_SECRET, body, hashlib.sha256).hexdigest()
        request = urllib.request.Request(server + "/hooks/git", body, {"X-Hub-Signature-256": signature})
        with urllib.request.urlopen(request, timeout=60) as answer:
            answer.read()

    def until(self, fact: Callable[[], bool], what: str, look: float = _LOOK) -> None:
        """Wait for a fact. Raises RuntimeError with the end of the log when it does not come."""
        deadline = time.monotonic() + _DEADLINE
        while not fact():
            assert self.process is not None
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"it never happened: {what}\n{self.log.read_text()[-4000:]}")
            time.sleep(look)

    def quiet(self) -> None:
        """Wait until it uses no CPU to speak of for two seconds."""
        while True:
            before = self.cpu
            time.sleep(_QUIET)
            # py-spy, where it looks on, uses some all the time.
            if self.profile is not None or abs(self.cpu - before) <= _QUIET_CPU:
                return
