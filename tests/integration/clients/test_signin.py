"""Signing in to a real API server in every way that a kubeconfig knows, with TLS verified."""

from __future__ import annotations

import asyncio
import base64
import shutil
import stat
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web

from support.kubernetes import kubectl
from taut.clients.kubernetes import KubernetesClient, load_config
from taut.clients.kubernetes.oidc import expiry
from taut.model.errors import BadInput, TargetError

pytestmark = pytest.mark.integration


async def whoami(kubeconfig: Path | None, **options: Any) -> dict[str, Any]:
    """Whom the API server takes us for."""
    async with KubernetesClient(load_config(kubeconfig, **options)) as client:
        return await ask(client)


async def ask(client: KubernetesClient) -> dict[str, Any]:
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    answer = await client.request("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", body=body)
    return answer["status"]["userInfo"]


@pytest.fixture
def write(plane: Any, tmp_path: Path) -> Callable[..., Path]:
    """Write a kubeconfig for the plane with this user and this cluster."""

    def make(user: dict[str, Any], **cluster: Any) -> Path:
        ca = {"certificate-authority-data": base64.b64encode(plane.ca.read_bytes()).decode()}
        file = tmp_path / "kubeconfig"
        merged = {k: v for k, v in {"server": plane.server, **ca, **cluster}.items() if v is not None}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u", "namespace": "shop"}}],
            "clusters": [{"name": "c", "cluster": merged}],
            "users": [{"name": "u", "user": user}],
        }
        file.write_bytes(orjson.dumps(document))
        return file

    return make


@pytest.fixture
def token(plane: Any, namespace: str) -> Callable[..., Awaitable[str]]:
    """Tokens of service accounts of the namespace."""

    async def make(name: str = "robot") -> str:
        names = (await kubectl(plane.kubeconfig, "-n", namespace, "get", "sa", "-o", "name")).split()
        if f"serviceaccount/{name}" not in names:
            await kubectl(plane.kubeconfig, "-n", namespace, "create", "serviceaccount", name)
        return (await kubectl(plane.kubeconfig, "-n", namespace, "create", "token", name)).strip()

    return make


async def test_token(write: Any, token: Any, namespace: str) -> None:
    user = await whoami(write({"token": await token()}))
    assert user["username"] == f"system:serviceaccount:{namespace}:robot"


async def test_a_wrong_token_is_said(write: Any) -> None:
    with pytest.raises(TargetError) as caught:
        await whoami(write({"token": "wrong-secret-token"}))
    assert caught.value.status == 401
    assert "credentials" in caught.value.advice
    assert "wrong-secret-token" not in str(caught.value)


async def test_token_file_is_read_again_after_a_refusal(write: Any, token: Any, namespace: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("stale\n")
    async with KubernetesClient(load_config(write({"tokenFile": "token", "token": "ignored"}))) as client:
        with pytest.raises(TargetError):
            await ask(client)
        (tmp_path / "token").write_text(await token())
        assert (await ask(client))["username"] == f"system:serviceaccount:{namespace}:robot"


@pytest.mark.parametrize("how", ["files", "data"])
async def test_client_certificate(plane: Any, write: Any, how: str) -> None:
    certificate, key = plane.client_certificate("anna", ["shop", "system:masters"])
    user = (
        {"client-certificate": str(certificate), "client-key": str(key)}
        if how == "files"
        else {
            "client-certificate-data": base64.b64encode(certificate.read_bytes()).decode(),
            "client-key-data": base64.b64encode(key.read_bytes()).decode(),
        }
    )
    found = await whoami(write(user))
    assert found["username"] == "anna"
    assert {"shop", "system:masters"} <= set(found["groups"])


async def test_a_renewed_certificate_makes_a_new_connection(
    plane: Any, write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taut.clients.kubernetes.credentials.REREAD_AFTER", 0.0)

    def install(name: str) -> None:
        for source, target in zip(plane.client_certificate(name), ("crt", "key"), strict=True):
            shutil.copy(source, tmp_path / target)

    install("berta")
    async with KubernetesClient(load_config(write({"client-certificate": "crt", "client-key": "key"}))) as client:
        assert (await ask(client))["username"] == "berta"
        install("carla")
        assert (await ask(client))["username"] == "carla"


async def test_impersonation_of_the_kubeconfig(plane: Any, write: Any) -> None:
    user = {
        "token": plane.token,
        "as": "dora",
        "as-groups": ["one", "two"],
        "as-uid": "7",
        "as-user-extra": {"example.org/Reason": ["a b", "c"]},
    }
    found = await whoami(write(user))
    assert (found["username"], found["uid"]) == ("dora", "7")
    assert {"one", "two"} <= set(found["groups"])
    assert found["extra"] == {"example.org/reason": ["a b", "c"]}


PLUGIN = """#!{python}
import json, os, pathlib, sys
here = pathlib.Path({folder!r})
with (here / "runs").open("a") as runs:
    runs.write(os.environ["KUBERNETES_EXEC_INFO"] + chr(10))
answer = json.loads((here / "answer").read_text())
if isinstance(answer, str):
    print(answer, file=sys.stderr)
    sys.exit(3)
assert sys.argv[1:] == ["get", "token"] and os.environ["SHOP"] == "yes"
print(json.dumps(answer))
"""


class Plugin:
    """A credential program that prints what it is told to, and keeps what it was asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        file = folder / "plugin"
        file.write_text(PLUGIN.format(python=sys.executable, folder=str(folder)))
        file.chmod(file.stat().st_mode | stat.S_IXUSR)

    def says(self, api_version: str = "client.authentication.k8s.io/v1", **status: Any) -> None:
        document = {"apiVersion": api_version, "kind": "ExecCredential", "status": status}
        (self.folder / "answer").write_bytes(orjson.dumps(document))

    def fails(self, text: str) -> None:
        (self.folder / "answer").write_bytes(orjson.dumps(text))

    @property
    def runs(self) -> list[dict[str, Any]]:
        return [orjson.loads(line) for line in (self.folder / "runs").read_text().splitlines()]


@pytest.fixture
def plugin(tmp_path: Path) -> Plugin:
    return Plugin(tmp_path)


def program(**more: Any) -> dict[str, Any]:
    return {
        "exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": "./plugin",
            "args": ["get", "token"],
            "env": [{"name": "SHOP", "value": "yes"}],
            "interactiveMode": "IfAvailable",
            **more,
        }
    }


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
async def test_a_credential_program_is_run_once(
    write: Any, token: Any, plugin: Plugin, namespace: str, version: str
) -> None:
    api_version = f"client.authentication.k8s.io/{version}"
    plugin.says(api_version, token=await token())
    file = write(program(apiVersion=api_version, provideClusterInfo=True))
    async with KubernetesClient(load_config(file)) as client:
        found = await asyncio.gather(*(ask(client) for _ in range(5)))
    assert {f["username"] for f in found} == {f"system:serviceaccount:{namespace}:robot"}
    (run,) = plugin.runs
    assert (run["apiVersion"], run["kind"]) == (api_version, "ExecCredential")
    assert run["spec"]["interactive"] is False
    assert run["spec"]["cluster"]["server"].startswith("https://127.0.0.1:")
    assert run["spec"]["cluster"]["certificate-authority-data"]


async def test_a_credential_that_ran_out_is_renewed(write: Any, token: Any, plugin: Plugin) -> None:
    good = await token()
    async with KubernetesClient(load_config(write(program()))) as client:
        plugin.says(token=good, expirationTimestamp=rfc3339(time.time() + 5))
        await ask(client)
        plugin.says(token=good, expirationTimestamp=rfc3339(time.time() + 3600))
        await ask(client)
        await ask(client)
    assert len(plugin.runs) == 2


async def test_a_refused_credential_is_renewed_once(write: Any, token: Any, plugin: Plugin) -> None:
    async with KubernetesClient(load_config(write(program()))) as client:
        plugin.says(token="wrong")
        with pytest.raises(TargetError) as caught:
            await ask(client)
        assert caught.value.status == 401
        assert len(plugin.runs) == 2
        plugin.says(token=await token())
        assert await ask(client)


async def test_a_credential_program_may_give_a_certificate(plane: Any, write: Any, plugin: Plugin) -> None:
    certificate, key = plane.client_certificate("emma")
    plugin.says(clientCertificateData=certificate.read_text(), clientKeyData=key.read_text())
    assert (await whoami(write(program())))["username"] == "emma"


async def test_what_goes_wrong_with_a_credential_program_is_said(write: Any, plugin: Plugin) -> None:
    plugin.fails("please sign in first")
    with pytest.raises(TargetError, match="please sign in first"):
        await whoami(write(program()))
    plugin.says("client.authentication.k8s.io/v1beta1", token="secret-token")
    with pytest.raises(TargetError, match="another apiVersion") as caught:
        await whoami(write(program()))
    assert "secret-token" not in str(caught.value)
    plugin.says(clientCertificateData="secret-half")
    with pytest.raises(TargetError, match="without its key") as caught:
        await whoami(write(program()))
    assert "secret-half" not in str(caught.value)
    with pytest.raises(TargetError, match="not installed") as missing:
        await whoami(write(program(command="no-such-program", installHint="get it from example.org")))
    assert "get it from example.org" in str(missing.value)
    with pytest.raises(TargetError, match="terminal"):
        await whoami(write(program(interactiveMode="Always")))


def rfc3339(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


class Issuer:
    """An OpenID provider: hands out one ID token for each refresh token, which it accepts once."""

    def __init__(self, id_token: str) -> None:
        self.url = ""
        self.id_token = id_token
        self.valid = "refresh-1"
        self.requests: list[dict[str, str]] = []

    async def configuration(self, _: web.Request) -> web.Response:
        return web.json_response({"issuer": self.url, "token_endpoint": f"{self.url}/token"})

    async def token(self, request: web.Request) -> web.Response:
        form = {k: str(v) for k, v in (await request.post()).items()}
        authorization = request.headers.get("Authorization", "")
        self.requests.append(form)
        expected = "Basic " + base64.b64encode(b"taut:s%C3%BC%C3%9F").decode()
        if authorization != expected or form.get("refresh_token") != self.valid:
            return web.json_response({"error": "invalid_grant"}, status=400)
        self.valid = f"refresh-{len(self.requests) + 1}"
        return web.json_response({"id_token": self.id_token, "refresh_token": self.valid, "access_token": "x"})


@asynccontextmanager
async def issuing(id_token: str) -> AsyncGenerator[Issuer]:
    issuer = Issuer(id_token)
    app = web.Application()
    app.router.add_get("/.well-known/openid-configuration", issuer.configuration)
    app.router.add_post("/token", issuer.token)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    issuer.url = "http://{}:{}".format(*runner.addresses[0][:2])
    try:
        yield issuer
    finally:
        await runner.cleanup()


def ended_token() -> str:
    parts = ({"alg": "none"}, {"exp": int(time.time()) - 60})
    return ".".join(base64.urlsafe_b64encode(orjson.dumps(p)).decode().rstrip("=") for p in parts) + "."


async def test_oidc_renews_and_keeps_the_rotated_token(write: Any, token: Any, namespace: str) -> None:
    good = await token()
    assert expiry(good) > time.time()
    async with issuing(good) as issuer:
        config = {
            "idp-issuer-url": issuer.url,
            "client-id": "taut",
            "client-secret": "süß",
            "id-token": ended_token(),
            "refresh-token": "refresh-1",
        }
        file = write({"auth-provider": {"name": "oidc", "config": config}})
        file.chmod(0o600)
        found = await whoami(file)
        assert found["username"] == f"system:serviceaccount:{namespace}:robot"
        # The refresh token was good once: the next process needs the one that came with the answer.
        again = load_config(file)
        again.credentials.refused()
        async with KubernetesClient(again) as client:
            assert await ask(client)
        assert [r["refresh_token"] for r in issuer.requests] == ["refresh-1", "refresh-2"]
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert sorted(p.name for p in file.parent.iterdir()) == ["kubeconfig"]

        issuer.valid = "something-else"
        lost = load_config(file)
        lost.credentials.refused()
        async with KubernetesClient(lost) as client:
            with pytest.raises(TargetError, match="gave no new token") as caught:
                await ask(client)
        assert "refresh-" not in str(caught.value)


async def test_in_cluster_the_service_account_is_used(plane: Any, token: Any, namespace: str, tmp_path: Path) -> None:
    shutil.copy(plane.ca, tmp_path / "ca.crt")
    (tmp_path / "token").write_text(await token())
    (tmp_path / "namespace").write_text(namespace)
    host, _, port = plane.server.removeprefix("https://").rpartition(":")
    environ = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port, "HOME": str(tmp_path)}
    config = load_config(environ=environ, service_account_folder=tmp_path)
    assert config.namespace == namespace
    async with KubernetesClient(config) as client:
        assert (await ask(client))["username"] == f"system:serviceaccount:{namespace}:robot"


async def test_tls_is_verified(plane: Any, write: Any, tmp_path: Path) -> None:
    from taut.localplane.certificates import make_ca

    make_ca(tmp_path / "other.crt", tmp_path / "other.key", "other")
    user = {"token": plane.token}
    other = base64.b64encode((tmp_path / "other.crt").read_bytes()).decode()
    for wrong in (
        {"certificate-authority-data": other},
        {"certificate-authority-data": None},
        {"tls-server-name": "wrong.example.org"},
    ):
        with pytest.raises(TargetError) as caught:
            await whoami(write(user, **wrong))
        assert caught.value.reason == "Certificate"
        assert plane.token not in str(caught.value)
    assert await whoami(write(user, **{"tls-server-name": "localhost"}))
    assert await whoami(write(user, **{"certificate-authority-data": None, "insecure-skip-tls-verify": True}))
    assert await whoami(write(user, **{"certificate-authority-data": None, "certificate-authority": str(plane.ca)}))
    with pytest.raises(BadInput, match="trusted without"):
        await whoami(write(user, **{"insecure-skip-tls-verify": True}))


async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


async def tunnel(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int, hello: bytes
) -> None:
    there, back = await asyncio.open_connection(host, port)
    writer.write(hello)
    await asyncio.gather(pipe(reader, back), pipe(there, writer))


@asynccontextmanager
async def proxying(scheme: str, seen: list[str]) -> AsyncGenerator[str]:
    """A proxy that tunnels: HTTP CONNECT, or SOCKS5 without a password."""

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = (await reader.readuntil(b"\r\n\r\n")).decode()
        address = request.split()[1]
        seen.append(address)
        host, _, port = address.rpartition(":")
        await tunnel(reader, writer, host, int(port), b"HTTP/1.1 200 OK\r\n\r\n")

    async def socks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, methods = await reader.readexactly(2)
        await reader.readexactly(methods)
        writer.write(b"\x05\x00")
        _, _, _, kind = await reader.readexactly(4)
        if kind == 1:
            host = ".".join(str(b) for b in await reader.readexactly(4))
        else:
            host = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        port = int.from_bytes(await reader.readexactly(2))
        seen.append(f"{host}:{port}")
        await tunnel(reader, writer, host, port, b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")

    server = await asyncio.start_server(connect if scheme == "http" else socks, "127.0.0.1", 0)
    try:
        yield "{}://{}:{}".format(scheme, *server.sockets[0].getsockname()[:2])
    finally:
        server.close()


@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_the_kubeconfigs_proxy_is_used(plane: Any, write: Any, scheme: str) -> None:
    seen: list[str] = []
    async with proxying(scheme, seen) as url:
        file = write({"token": plane.token}, **{"proxy-url": url})
        assert await whoami(file)
        assert seen == [plane.server.removeprefix("https://")]
    with pytest.raises(TargetError, match="cannot be reached"):
        await whoami(file)
