"""A real OpenBao on a free port of the loopback, with nothing in it."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import requests

BINARY = Path(sys.executable).with_name("bao")
TOKEN = "root-of-the-tests"


@dataclass(frozen=True)
class OpenBao:
    """Where it is, and its root token."""

    address: str
    token: str = TOKEN

    def write(self, path: str, **data: object) -> dict[str, object]:
        """Write to a path of the API; the answer's JSON comes out."""
        answer = requests.post(
            f"{self.address}/v1/{path}", json=data, headers={"X-Vault-Token": self.token}, timeout=10
        )
        answer.raise_for_status()
        return answer.json() if answer.content else {}


@contextmanager
def openbao(log: Path) -> Iterator[OpenBao]:
    """A server in development mode (in memory, unsealed) that ends with the block."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [str(BINARY), "server", "-dev", f"-dev-root-token-id={TOKEN}", f"-dev-listen-address=127.0.0.1:{port}"]
    with log.open("wb") as out:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *command], stdout=out, stderr=out, env={"HOME": str(log.parent)}
        )
    try:
        deadline = time.monotonic() + 30
        while True:
            with suppress(requests.RequestException):
                if requests.get(f"{address}/v1/sys/health", timeout=1).status_code == 200:
                    break
            if time.monotonic() > deadline or process.poll() is not None:
                raise AssertionError(f"OpenBao did not start: {log.read_text()[-2000:]}")
            time.sleep(0.05)
        yield OpenBao(address)
    finally:
        process.kill()
        process.wait()
