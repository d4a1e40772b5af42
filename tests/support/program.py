"""The `taut` program as a person runs it: a real process that keeps a cluster to Git, and the commands that talk to it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sysconfig
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from taut.documents.yaml import dump

TAUT = str(Path(sysconfig.get_path("scripts")) / "taut")
DEADLINE = 60.0


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, as JSON."""
        return json.loads(self.out)


@dataclass
class Program:
    """One folder with a `taut.yaml`, and the `taut run` in it. A context manager: leaving it stops the process."""

    folder: Path
    config: Mapping[str, Any] | None
    """None: there is a taut.yaml already."""
    process: subprocess.Popen[bytes] | None = None
    extra: dict[str, str] = field(default_factory=dict)
    """More variables of its environment."""

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "run").mkdir(exist_ok=True)
        if self.config is not None:
            self.config_file.write_text(dump(dict(self.config)))

    @property
    def config_file(self) -> Path:
        """The configuration."""
        return self.folder / "taut.yaml"

    @property
    def log(self) -> str:
        """What `taut run` has said so far."""
        file = self.folder / "taut.log"
        return file.read_text() if file.exists() else ""

    @property
    def environment(self) -> dict[str, str]:
        """For commands: they find this taut, and no other one of this user."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("TAUT_")}
        scripts = str(Path(TAUT).parent)
        return {
            **inherited,
            "PATH": f"{scripts}{os.pathsep}{os.environ.get('PATH', '')}",
            "XDG_RUNTIME_DIR": str(self.folder / "run"),
            "GIT_CONFIG_GLOBAL": os.devnull,
            **self.extra,
        }

    def start(self) -> None:
        """Run it, and wait until it serves and has read its roots."""
        offset = self.spawn()
        self.until(lambda: "applications from" in self.log[offset:], "taut has started")

    def spawn(self) -> int:
        """Run it, and do not wait; the answer is the place in its log at which it begins."""
        with (self.folder / "taut.log").open("ab") as log:
            offset = log.tell()
            run = [TAUT, "run", "--config", str(self.config_file)]
            self.process = subprocess.Popen(
                run, cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        return offset

    def kill(self) -> None:
        """End it at once, as a crash does."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.process = None

    def stop(self) -> int:
        """Ask it to stop; the answer is its exit code."""
        if self.process is None:
            return 0
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(DEADLINE)
        self.process = None
        return code

    def __enter__(self) -> Program:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.stop()

    def taut(self, *args: str, cwd: Path | None = None, stdin: str = "") -> Ended:
        """Run a command to its end."""
        done = subprocess.run(
            [TAUT, *args],
            cwd=cwd or self.folder,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=DEADLINE,
        )
        assert "Traceback" not in done.stderr + done.stdout, done.stderr
        return Ended(done.returncode, done.stdout, done.stderr)

    def ok(self, *args: str, cwd: Path | None = None) -> str:
        """Run a command that must end with 0; the answer is what it printed."""
        ended = self.taut(*args, cwd=cwd)
        assert ended.code == 0, f"taut {' '.join(args)} ended with {ended.code}\n{ended.out}{ended.err}"
        return ended.out

    def json(self, *args: str) -> Any:
        """The JSON answer of a command that must end with 0."""
        return json.loads(self.ok(*args, "-o", "json"))

    def statuses(self) -> dict[str, dict[str, Any]]:
        """Every application's status by its name, as `taut status -o json` has it."""
        return {s["name"]: s for s in self.json("status")}

    def metric(self, name: str) -> float:
        """A metric without labels."""
        text = self._get("/metrics")
        found = re.search(rf"^taut_{name} (\S+)$", text, re.MULTILINE)
        assert found is not None, f"there is no metric taut_{name}:\n{text}"
        return float(found[1])

    @property
    def server(self) -> str:
        """The address of its API."""
        return str(self._announced()["server"])

    def _announced(self) -> dict[str, Any]:
        [file] = (self.folder / "run" / "taut").glob("*.json")
        return json.loads(file.read_text())

    def _get(self, path: str) -> str:
        said = self._announced()
        token = Path(said["tokenFile"]).read_text().strip()
        request = urllib.request.Request(said["server"] + path, headers={"Authorization": f"Bearer {token}"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.read().decode()

    def until[T](self, fact: Callable[[], T | None], what: str, seconds: float = DEADLINE) -> T:
        """Wait for a fact, and return it. Fails with taut's log when it does not come, or taut ends."""
        deadline = time.monotonic() + seconds
        while True:
            value = fact()
            if value:
                return value
            ended = self.process is not None and self.process.poll() is not None
            broken = "an error inside taut" in self.log
            if ended or broken or time.monotonic() > deadline:
                raise AssertionError(f"it never happened: {what}\n{self.log[-6000:]}")
            time.sleep(0.05)

    def synced(self, *names: str, at: str = "", seconds: float = DEADLINE) -> dict[str, dict[str, Any]]:
        """Wait until these applications (none: all) are in sync and healthy, at a commit if told; the answer is every status."""

        def fact() -> dict[str, dict[str, Any]] | None:
            found = self.statuses()
            chosen = [found.get(n) for n in names] if names else list(found.values())
            good = bool(chosen) and all(
                s is not None
                and (s["sync"], s["health"]) == ("Synced", "Healthy")
                and s["operation"] != "Running"
                and at[:8] in s["revision"]
                for s in chosen
            )
            return found if good else None

        return self.until(fact, f"{names or 'all'} in sync", seconds)


def usage(pid: int) -> tuple[float, int]:
    """A process's CPU seconds so far, and its memory in MiB (resident, without its children)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = os.sysconf("SC_CLK_TCK")
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return (int(fields[11]) + int(fields[12])) / ticks, pages * os.sysconf("SC_PAGE_SIZE") // 2**20
