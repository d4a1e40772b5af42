"""Builds, starts and talks to the forge."""

from __future__ import annotations

import base64
import http.client
import json
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from taut.localplane.building import Progress, build_lock, content_hash, find_go, go_build, module_version, to_stderr
from taut.localplane.paths import default_cache

_SOURCE = Path(__file__).resolve().parent
_GITEA = "code.gitea.io/gitea"
_START_DEADLINE = 60.0
_TRIES = 5
_AS_ROOT = {"GITEA_I_AM_BEING_UNSAFE_RUNNING_AS_ROOT": "true"}

_CONFIG = """
APP_NAME = forge
RUN_MODE = prod
WORK_PATH = {folder}
[server]
PROTOCOL = http
HTTP_ADDR = 127.0.0.1
HTTP_PORT = {port}
ROOT_URL = http://127.0.0.1:{port}/
STATIC_ROOT_PATH = {assets}
OFFLINE_MODE = true
DISABLE_SSH = true
LFS_START_SERVER = false
[database]
DB_TYPE = sqlite3
PATH = {folder}/forge.db
[repository]
ROOT = {folder}/repositories
DEFAULT_BRANCH = main
[security]
INSTALL_LOCK = true
INTERNAL_TOKEN = {internal}
SECRET_KEY = {secret}
PASSWORD_HASH_ALGO = pbkdf2_v2
[oauth2]
JWT_SECRET = {jwt}
[service]
DISABLE_REGISTRATION = true
[webhook]
ALLOWED_HOST_LIST = loopback
[mailer]
ENABLED = false
[cron.update_checker]
ENABLED = false
[log]
MODE = console
LEVEL = Warn
"""


@dataclass
class Forge:
    """A forge that runs, and its administrator."""

    url: str
    user: str
    password: str
    token: str
    folder: Path
    process: subprocess.Popen[bytes] = field(repr=False)

    @property
    def registry(self) -> str:
        """The host and port of the OCI registry (plain HTTP)."""
        return self.url.removeprefix("http://")

    @property
    def helm_repository(self) -> str:
        """The URL of the administrator's Helm repository."""
        return f"{self.url}/api/packages/{self.user}/helm"

    def api(self, method: str, path: str, body: Any = None) -> Any:
        """Ask the API (`path` follows `/api/v1`). The answer is JSON or None; a refusal is an AssertionError."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", "Authorization": f"token {self.token}"}
        status, answer = self.request(method, f"/api/v1{path}", data, headers)
        assert status < 300, f"{method} {path}: {status} {answer.decode(errors='replace')[:300]}"
        return json.loads(answer) if answer.strip() else None

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Send any request; the answer is its status and body. Without headers it is signed in as the administrator."""
        connection = http.client.HTTPConnection(self.registry, timeout=30)
        try:
            connection.request(method, path, body, dict(headers or {"Authorization": self.basic}))
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    @property
    def basic(self) -> str:
        """The Authorization header's value for the administrator's name and password."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()

    def create_repository(self, name: str, *, private: bool = False) -> str:
        """Make a repository with a first commit on main; the answer is its URL for cloning."""
        made = self.api(
            "POST", "/user/repos", {"name": name, "private": private, "auto_init": True, "default_branch": "main"}
        )
        return str(made["clone_url"])

    def upload_chart(self, archive: bytes) -> None:
        """Put a packaged chart (.tgz) into the Helm repository."""
        status, answer = self.request("POST", f"/api/packages/{self.user}/helm/api/charts", archive)
        assert status == http.client.CREATED, f"the chart was refused: {status} {answer.decode(errors='replace')[:300]}"

    def stop(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()


def build_forge(*, progress: Progress = to_stderr) -> Path:
    """The forge's program, built when the sources changed (it needs Go and a C compiler)."""
    folder = default_cache() / f"forge-{content_hash(_SOURCE)}"
    program = folder / "forge"
    if program.is_file():
        os.utime(folder)
        return program
    go = find_go("to build the forge for the tests")
    with build_lock(default_cache(), progress):
        if not program.is_file():
            progress("forge: building Gitea; about three minutes the first time")
            folder.mkdir(exist_ok=True)
            partial = folder / "forge.partial"
            version = module_version(_SOURCE, _GITEA).lstrip("v")
            tags = ("sqlite", "sqlite_unlock_notify")
            stamps = {"main.version": version}
            go_build(go, _SOURCE, ".", partial, progress=progress, stamps=stamps, tags=tags, cgo=True)
            for name in ("templates", "options"):
                shutil.copytree(_module_folder(go) / name, folder / "assets" / name, dirs_exist_ok=True)
            partial.rename(program)
    return program


def start_forge(folder: Path) -> Forge:
    """Start a forge with its data in `folder`, on a free port, with an administrator and a token; wait until it answers."""
    program = build_forge()
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "app.ini"
    for _ in range(_TRIES):
        port = _free_port()
        secret = {key: secrets.token_urlsafe(32) for key in ("secret", "jwt")}
        internal = subprocess.run(
            [program, "generate", "secret", "INTERNAL_TOKEN"], capture_output=True, text=True, check=True
        )
        assets = program.parent / "assets"
        config.write_text(
            _CONFIG.format(folder=folder, port=port, assets=assets, internal=internal.stdout.strip(), **secret)
        )
        _run(program, config, "migrate")
        process = _spawn(program, config, folder)
        if _answers(port, process):
            break
    else:
        raise AssertionError(f"the forge did not start; see {folder / 'forge.log'}")
    user, password = "tester", secrets.token_urlsafe(16)
    about = [
        "--username",
        user,
        "--password",
        password,
        "--email",
        "tester@example.test",
        "--must-change-password=false",
    ]
    _run(program, config, "admin", "user", "create", "--admin", *about)
    token = _run(
        program, config, "admin", "user", "generate-access-token", "--username", user, "--scopes", "all", "--raw"
    )
    return Forge(f"http://127.0.0.1:{port}", user, password, token.split()[-1], folder, process)


def _spawn(program: Path, config: Path, folder: Path) -> subprocess.Popen[bytes]:
    """Start the server so that the kernel ends it when this process ends, however it ends."""
    bound = [shutil.which("setpriv") or "setpriv", "--pdeathsig", "KILL", "--"]
    with (folder / "forge.log").open("ab") as log:
        argv = [*bound, str(program), "web", "--config", str(config)]
        return subprocess.Popen(argv, env=_environment(folder), stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def _run(program: Path, config: Path, *args: str) -> str:
    argv = [str(program), *args, "--config", str(config)]
    done = subprocess.run(argv, env=_environment(config.parent), capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"forge {args[0]} failed: {done.stderr[-500:]} {done.stdout[-500:]}"
    return done.stdout


def _environment(folder: Path) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": str(folder), "USER": os.environ.get("USER", "root"), **_AS_ROOT}


def _answers(port: int, process: subprocess.Popen[bytes]) -> bool:
    """Wait until the server is healthy; False when it ended (somebody else may have taken the port)."""
    deadline = time.monotonic() + _START_DEADLINE
    while process.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/api/healthz")
            if connection.getresponse().status == http.client.OK:
                return True
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        assert time.monotonic() < deadline, "the forge does not become healthy"
        time.sleep(0.05)
    return False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _module_folder(go: str) -> Path:
    """The folder of Gitea's module: it reads templates and options from files at run time."""
    argv = [go, "list", "-m", "-f", "{{.Dir}}", _GITEA]
    found = subprocess.run(argv, cwd=_SOURCE, capture_output=True, text=True, check=True)
    return Path(found.stdout.strip())
