"""How the demo speaks: every step is a command that is shown, run and waited for."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

COLOUR = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
PATIENCE = 120.0


def say(text: str) -> None:
    """A sentence between the commands."""
    print(f"\n\033[1m{text}\033[0m" if COLOUR else f"\n# {text}", flush=True)


class Story:
    """Runs commands with one environment, and shows them as a person would type them."""

    def __init__(self, environment: dict[str, str], shown: dict[str, str], log: Path) -> None:
        self._environment = environment
        self._shown = shown
        self._log = log
        self.steps: list[tuple[str, str]] = []

    def run(self, *argv: str, cwd: Path | None = None, quiet: bool = False, expect: int = 0) -> str:
        """Show a command, run it, show what it printed. Ends the demo when its exit code is not the expected one."""
        text = self.show(*argv)
        done = subprocess.run(argv, cwd=cwd, env=self._environment, capture_output=True, text=True, check=False)
        if done.returncode != expect:
            raise SystemExit(f"{text}: exit code {done.returncode}, not {expect}\n{done.stdout}{done.stderr}")
        if not quiet and (done.stdout or done.stderr):
            print((done.stdout + done.stderr).rstrip(), flush=True)
        return done.stdout

    def show(self, *argv: str) -> str:
        """Show a command as a person would type it; the answer is that text."""
        text = " ".join(f'"{a}"' if " " in a or "{" in a else a for a in argv)
        for long, short in self._shown.items():
            text = text.replace(long, short)
        print(f"\033[36m$ {text}\033[0m" if COLOUR else f"$ {text}", flush=True)
        return text

    def follow(self, what: str, found: Callable[[], object], *argv: str) -> None:
        """Show a command that does not end by itself, and what it prints, until a fact is there."""
        self.show(*argv)
        with subprocess.Popen(argv, env=self._environment) as process:
            try:
                took = self._wait(what, found)
            finally:
                process.send_signal(signal.SIGINT)
        self._tell(what, took)

    def ask(self, *argv: str) -> Any:
        """The JSON answer of a command that is not shown."""
        done = subprocess.run([*argv, "-o", "json"], env=self._environment, capture_output=True, text=True, check=False)
        return json.loads(done.stdout) if done.returncode == 0 and done.stdout else None

    def until(self, what: str, found: Callable[[], object]) -> None:
        """Wait for a fact; says how long it took. Ends the demo when it does not come."""
        self._tell(what, self._wait(what, found))

    def _tell(self, what: str, took: float) -> None:
        print(f"  {what}: {took:.2f} s", flush=True)
        self.steps.append((what, f"{took:.2f} s"))

    def _wait(self, what: str, found: Callable[[], object]) -> float:
        start = time.monotonic()
        while not found():
            if time.monotonic() - start > PATIENCE:
                status = subprocess.run(
                    ["taut", "status"], env=self._environment, capture_output=True, text=True, check=False
                )
                said = self._log.read_text()[-4000:] if self._log.exists() else ""
                raise SystemExit(
                    f"{what}: not within {PATIENCE:.0f} s\n{status.stdout}{status.stderr}\ntaut says:\n{said}"
                )
            time.sleep(0.02)
        return time.monotonic() - start
