"""Signing in by a program: client-go's exec credential plugins (`client.authentication.k8s.io`, v1 and v1beta1)."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from taut.clients.kubernetes.credentials import Credential, bearer
from taut.clients.kubernetes.tls import Certificate
from taut.model.errors import BadInput, TargetError, TautError, Where

API_VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")
LIMIT = 60.0
"""Seconds a program that asks nobody may take."""
INTERACTIVE_LIMIT = 600.0
RENEW_BEFORE = 10.0
"""Seconds before its end that a credential counts as over: the request that carries it takes time too."""


@dataclass(frozen=True)
class ExecSettings:
    """The `exec` of a kubeconfig's user. `folder` is the kubeconfig's: relative commands start there."""

    command: str
    api_version: str
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    install_hint: str = ""
    interactive_mode: str = "IfAvailable"
    cluster_info: Mapping[str, Any] | None = None
    """What the program is told of the cluster (provideClusterInfo), None: nothing."""
    folder: Path = Path()


def terminal() -> bool:
    """Whether a person can be asked something."""
    return sys.stdin is not None and sys.stdin.isatty()


class ExecPlugin:
    """Runs the program when there is no credential, when it ran out, and once more after a 401.

    Requests that come together share one run.
    """

    def __init__(
        self,
        settings: ExecSettings,
        *,
        clock: Callable[[], float] = time.time,
        interactive: Callable[[], bool] = terminal,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._interactive = interactive
        self._environ = os.environ if environ is None else environ
        self._credential: Credential | None = None
        self._expires = float("inf")
        self._lock = asyncio.Lock()

    async def current(self) -> Credential:
        """The credential. Raises BadInput when the program is missing or cannot be asked, TargetError when it failed."""
        async with self._lock:
            if self._credential is None or self._clock() >= self._expires - RENEW_BEFORE:
                self._credential, self._expires = _read(await self._run(), self._settings)
            return self._credential

    def refused(self) -> bool:
        """Forget the credential: the next request runs the program again."""
        self._credential = None
        return True

    async def _run(self) -> bytes:
        settings = self._settings
        asks = self._asks()
        environ = {**self._environ, **settings.env, "KUBERNETES_EXEC_INFO": self._info(asks)}
        command = self._command(environ)
        process = await asyncio.create_subprocess_exec(
            command,
            *settings.args,
            env=environ,
            stdin=None if asks else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=None if asks else asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(INTERACTIVE_LIMIT if asks else LIMIT):
                out, err = await process.communicate()
        except TimeoutError as e:
            raise self._failed("did not end in time") from e
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode != 0:
            said = (err or b"").decode(errors="replace").strip()[-500:]
            raise self._failed(f"ended with {process.returncode}" + (f": {said}" if said else ""))
        return out

    def _asks(self) -> bool:
        mode = self._settings.interactive_mode
        if mode == "Never":
            return False
        if mode == "Always" and not self._interactive():
            raise BadInput(
                f"the credential program {self._settings.command} needs a terminal, and there is none",
                advice="sign in another way (a token, a client certificate, a program with interactiveMode: Never)",
            )
        return self._interactive()

    def _command(self, environ: Mapping[str, str]) -> str:
        """Find the program: a bare name on PATH, a relative path from the kubeconfig's folder."""
        name = self._settings.command
        if os.sep in name and not Path(name).is_absolute():
            name = str(self._settings.folder / name)
        found = shutil.which(name, path=environ.get("PATH"))
        if found is None:
            raise BadInput(
                f"the credential program {name} of the kubeconfig is not installed",
                advice=self._settings.install_hint.strip() or "install it, or put it on PATH",
            )
        return found

    def _info(self, interactive: bool) -> str:
        spec: dict[str, Any] = {"interactive": interactive}
        if self._settings.cluster_info is not None:
            spec["cluster"] = dict(self._settings.cluster_info)
        info = {"apiVersion": self._settings.api_version, "kind": "ExecCredential", "spec": spec}
        return orjson.dumps(info).decode()

    def _failed(self, how: str) -> TargetError:
        return _failure(self._settings, how)


def _failure(settings: ExecSettings, how: str) -> TargetError:
    return TargetError(
        f"the credential program {settings.command} {how}",
        advice="run it by hand with the arguments of the kubeconfig's user, and see what it says",
        reason="Unauthorized",
    )


def _read(out: bytes, settings: ExecSettings) -> tuple[Credential, float]:
    """The credential and when it ends (Unix seconds). The program's output is never quoted: it holds the secret."""
    try:
        answer = orjson.loads(out)
    except orjson.JSONDecodeError:
        raise _failure(settings, "did not print an ExecCredential as JSON") from None
    if not isinstance(answer, dict) or answer.get("kind") != "ExecCredential":
        raise _failure(settings, "did not print an ExecCredential")
    if answer.get("apiVersion") != settings.api_version:
        raise _failure(settings, f"printed another apiVersion than {settings.api_version}")
    status = answer.get("status")
    status = status if isinstance(status, dict) else {}
    token = str(status.get("token") or "")
    pem, key = str(status.get("clientCertificateData") or ""), str(status.get("clientKeyData") or "")
    if bool(pem) != bool(key):
        raise _failure(settings, "printed a certificate without its key, or a key alone")
    if not token and not pem:
        raise _failure(settings, "printed neither a token nor a certificate")
    pair = Certificate(pem.encode(), key.encode()) if pem else None
    return Credential(bearer(token.strip()) if token else "", pair), _expiry(
        status.get("expirationTimestamp"), settings
    )


def _expiry(text: Any, settings: ExecSettings) -> float:
    if not text:
        return float("inf")
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        raise _failure(settings, "printed an expirationTimestamp that is no time") from None


def exec_settings(document: Mapping[str, Any], *, file: str, folder: Path, cluster: Mapping[str, Any]) -> ExecSettings:
    """Read a user's `exec`. Raises BadInput for what client-go refuses as well."""
    where = Where(file=file, field="users.user.exec")
    api_version = str(document.get("apiVersion") or "")
    command = str(document.get("command") or "")
    mode = str(document.get("interactiveMode") or "")
    problem: TautError | None = None
    if api_version not in API_VERSIONS:
        problem = BadInput(
            f"exec plugins of apiVersion {api_version or '(none)'} are not supported",
            where=where,
            advice=f"use {API_VERSIONS[0]}; a newer release of the program has it",
        )
    elif not command:
        problem = BadInput("exec names no command", where=where, advice="write the program's name as command")
    elif mode not in ("Never", "IfAvailable", "Always") and (mode or api_version == API_VERSIONS[0]):
        problem = BadInput(
            f"interactiveMode {mode or 'is missing'}".strip(), where=where, advice="write Never, IfAvailable or Always"
        )
    if problem is not None:
        raise problem
    return ExecSettings(
        command=command,
        api_version=api_version,
        args=tuple(str(a) for a in document.get("args") or ()),
        env={str(e["name"]): str(e.get("value") or "") for e in document.get("env") or ()},
        install_hint=str(document.get("installHint") or ""),
        interactive_mode=mode or "IfAvailable",
        cluster_info=cluster if document.get("provideClusterInfo") else None,
        folder=folder,
    )
