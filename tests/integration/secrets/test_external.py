"""ExternalSecrets resolved against a real OpenBao, AWS's stand-in, a webhook and a Kubernetes API."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import requests

from servers.aws import REGION, Aws, aws
from servers.openbao import OpenBao, openbao
from taut.localplane import Plane
from taut.localplane.api import Api
from taut.model.errors import BadInput, RenderError, TautError, Where
from taut.model.manifests import Body
from taut.render.engine import RenderEngine
from taut.secrets.external.asking import Rules
from taut.secrets.external.documents import read_external
from taut.secrets.external.errors import NoValueError, SecretError
from taut.secrets.external.resolve import Needs, Resolved, Wanted, expand, secret, values
from taut.secrets.external.stores import StoreDocument

pytestmark = pytest.mark.integration

MARK = "s3cr3t-m4rk"


class Target:
    """A cluster with a few Secrets and ConfigMaps."""

    def __init__(self) -> None:
        self.secrets: dict[str, dict[str, bytes]] = {}
        self.maps: dict[str, dict[str, bytes]] = {}
        self.labels: dict[str, str] = {}
        self.tokens: list[str] = []
        self.server = ("", "")
        self.account_token = "account-token"

    async def secret(self, namespace: str, name: str) -> Mapping[str, bytes] | None:
        return self.secrets.get(f"{namespace}/{name}")

    async def config_map(self, namespace: str, name: str) -> Mapping[str, bytes] | None:
        return self.maps.get(f"{namespace}/{name}")

    async def token(self, namespace: str, account: str, audiences: list[str]) -> str:
        self.tokens.append(f"{namespace}/{account} {audiences}")
        return self.account_token

    async def namespace(self, name: str) -> Body | None:
        return {"metadata": {"name": name, "labels": self.labels}}


class Stage:
    """Stores, a target and templates, for one test."""

    def __init__(self, engine: RenderEngine, aws_endpoint: str = "") -> None:
        self.target = Target()
        self.engine = engine
        self.stores: dict[tuple[str, str, str], StoreDocument] = {}
        self.rules = Rules(aws_endpoint=aws_endpoint)

    def store(self, provider: dict[str, Any], name: str = "store", kind: str = "SecretStore", **spec: Any) -> None:
        space = "shop" if kind == "SecretStore" else ""
        body = {"apiVersion": "external-secrets.io/v1", "kind": kind, "spec": {"provider": provider, **spec}}
        self.stores[kind, space, name] = StoreDocument(kind, space, name, body, Where(object=f"{kind} {name}"))

    def wanted(self, **spec: Any) -> Wanted:
        full = {"secretStoreRef": {"name": "store"}, **spec}
        labels = {"app": "shop"}
        body = {
            "kind": "ExternalSecret",
            "metadata": {"name": "db", "namespace": "shop", "labels": labels},
            "spec": full,
        }
        where = Where(file="db.yaml", line=1, object="ExternalSecret shop/db")
        return Wanted("db", "shop", read_external(body, where), body, where)

    @property
    def needs(self) -> Needs:
        return Needs(self.target, self.engine.texts, lambda *key: self.stores.get(key), self.rules)

    async def values(self, **spec: Any) -> Resolved:
        return await values(self.wanted(**spec), self.needs)

    async def secret(self, **spec: Any) -> Body:
        wanted = self.wanted(**spec)
        return await secret(wanted, (await values(wanted, self.needs)).data, self.needs)


def datum(key: str, remote: str, **ref: Any) -> dict[str, Any]:
    return {"secretKey": key, "remoteRef": {"key": remote, **ref}}


def plain(body: Body) -> dict[str, str]:
    return {k: base64.b64decode(v).decode() for k, v in body["data"].items()}


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    with openbao(tmp_path_factory.mktemp("bao") / "log") as server:
        server.write("sys/mounts/kv1", type="kv", options={"version": "1"})
        server.write("sys/policies/acl/reader", policy='path "secret/*" { capabilities = ["read", "list"] }')
        server.write("sys/auth/approle", type="approle")
        server.write("sys/auth/userpass", type="userpass")
        server.write("auth/userpass/users/ada", password="pw-of-ada", token_policies="reader")
        server.write("auth/approle/role/taut", token_policies="reader", token_ttl="1h")
        yield server


@pytest.fixture(scope="module")
def cloud() -> Iterator[Aws]:
    with aws() as server:
        yield server


@pytest.fixture
async def stage(cloud: Aws) -> AsyncIterator[Stage]:
    async with RenderEngine() as engine:
        yield Stage(engine, cloud.endpoint)


def write(bao: OpenBao, path: str, **data: Any) -> None:
    bao.write(f"secret/data/{path}", data=data)


def use_bao(stage: Stage, bao: OpenBao, **more: Any) -> None:
    stage.target.secrets["shop/bao"] = {"token": bao.token.encode()}
    auth = {"tokenSecretRef": {"name": "bao", "key": "token"}}
    stage.store({"vault": {"server": bao.address, "path": "secret", "auth": auth, **more}})


async def test_created_rotated_down_and_deleted(stage: Stage, bao: OpenBao) -> None:
    use_bao(stage, bao)
    write(bao, "shop/db", password="one", user="shop", port=5432, deep={"a.b": "dotted", "list": ["x", {"y": "z"}]})
    asked = [
        datum("PASSWORD", "shop/db", property="password"),
        datum("PORT", "shop/db", property="port"),
        datum("DEEP", "shop/db", property="deep.list.1.y"),
        datum("DOTTED", "shop/db", property="deep.a\\.b"),
    ]
    body = await stage.secret(data=asked)
    assert plain(body) == {"PASSWORD": "one", "PORT": "5432", "DEEP": "z", "DOTTED": "dotted"}
    assert (body["type"], body["metadata"]) == (
        "Opaque",
        {"name": "db", "namespace": "shop", "labels": {"app": "shop"}},
    )
    write(bao, "shop/db", password="two")
    assert plain(await stage.secret(data=asked[:1])) == {"PASSWORD": "two"}
    assert plain(await stage.secret(data=[datum("OLD", "shop/db", property="password", version="1")])) == {"OLD": "one"}

    requests.delete(f"{bao.address}/v1/secret/metadata/shop/db", headers={"X-Vault-Token": bao.token}, timeout=10)
    with pytest.raises(NoValueError, match=r"SecretStore shop/store, shop/db: .* has no shop/db") as caught:
        await stage.values(data=asked[:1])
    assert caught.value.where.field == "spec.data[0]"
    gone = await stage.values(data=asked[:1], target={"deletionPolicy": "Delete"})
    assert gone.gone
    write(bao, "shop/db", password="three")
    rest = await stage.values(data=[*asked[:1], datum("X", "shop/none")], target={"deletionPolicy": "Merge"})
    assert (rest.data, rest.missing) == ({"PASSWORD": b"three"}, ("spec.data[1]",))

    use_bao(stage, OpenBao("http://127.0.0.1:9"))
    with pytest.raises(SecretError, match=r"shop/db: 127.0.0.1 does not answer \(no connection\)"):
        await stage.values(data=asked[:1])


async def test_many_values_at_once_are_found_and_renamed(stage: Stage, bao: OpenBao) -> None:
    use_bao(stage, bao)
    write(bao, "find/a-one", user="u1")
    write(bao, "find/deep/b-two", user="u2")
    found = await stage.values(dataFrom=[{"find": {"path": "find", "name": {"regexp": "(one|two)$"}}}])
    assert found.data == {"find_a-one": b'{"user":"u1"}', "find_deep_b-two": b'{"user":"u2"}'}
    rules = [
        {"regexp": {"source": "^find/(?:deep/)?(.*)$", "target": "got-$1"}},
        {"transform": {"template": "{{ .value | upper }}"}},
    ]
    found = await stage.values(dataFrom=[{"find": {"path": "find", "name": {"regexp": "one"}}, "rewrite": rules}])
    assert list(found.data) == ["GOT-A-ONE"]
    write(bao, "whole", user="ada", **{"not a key!": "x"})
    found = await stage.values(dataFrom=[{"extract": {"key": "whole"}}])
    assert found.data == {"user": b"ada", "not_a_key_": b"x"}
    found = await stage.values(dataFrom=[{"extract": {"key": "whole", "conversionStrategy": "Unicode"}}])
    assert "not_U0020_a_U0020_key_U0021_" in found.data
    merge = {"merge": {"conflictPolicy": "Ignore"}}
    found = await stage.values(dataFrom=[{"find": {"path": "find", "name": {"regexp": "."}}, "rewrite": [merge]}])
    assert found.data == {"user": b"u2"}


async def test_engine_version_1_and_encodings(stage: Stage, bao: OpenBao) -> None:
    bao.write("kv1/db", password=base64.b64encode(b"raw").decode())
    use_bao(stage, bao, path="kv1", version="v1")
    for strategy, wanted in (("Base64", b"raw"), ("None", b"cmF3"), ("Auto", b"raw")):
        found = await stage.values(data=[datum("p", "db", property="password", decodingStrategy=strategy)])
        assert found.data == {"p": wanted}


@pytest.mark.parametrize("way", ["appRole", "userPass", "wrong"])
async def test_ways_to_sign_in(stage: Stage, bao: OpenBao, way: str) -> None:
    write(bao, "login", a="1")
    if way == "appRole":
        role = requests.get(
            f"{bao.address}/v1/auth/approle/role/taut/role-id", headers={"X-Vault-Token": bao.token}, timeout=10
        ).json()["data"]["role_id"]
        given: Any = bao.write("auth/approle/role/taut/secret-id")["data"]
        stage.target.secrets["shop/role"] = {"id": given["secret_id"].encode()}
        auth = {"appRole": {"path": "approle", "roleId": role, "secretRef": {"name": "role", "key": "id"}}}
    elif way == "userPass":
        stage.target.secrets["shop/ada"] = {"pw": b"pw-of-ada"}
        auth = {"userPass": {"path": "userpass", "username": "ada", "secretRef": {"name": "ada", "key": "pw"}}}
    else:
        stage.target.secrets["shop/ada"] = {"pw": MARK.encode()}
        auth = {"tokenSecretRef": {"name": "ada", "key": "pw"}}
    stage.store({"vault": {"server": bao.address, "path": "secret", "auth": auth}})
    if way == "wrong":
        with pytest.raises(SecretError, match="refuses with 403") as caught:
            await stage.values(data=[datum("a", "login", property="a")])
        assert MARK not in str(caught.value)
        return
    assert (await stage.values(data=[datum("a", "login", property="a")])).data == {"a": b"1"}


@pytest.mark.parametrize("key", ["../../sys/mounts", "a/../../../sys/seal", "", "a/./b"])
async def test_a_key_leads_nowhere_else(stage: Stage, bao: OpenBao, key: str) -> None:
    use_bao(stage, bao)
    with pytest.raises(SecretError, match="is no key"):
        await stage.values(data=[datum("a", key)])


async def test_templates(stage: Stage, bao: OpenBao) -> None:
    use_bao(stage, bao)
    write(bao, "shop/tpl", user="ada", password=MARK)
    stage.target.maps["shop/tpl"] = {"app.conf": b"login={{ .user }}", "many": b"A: {{ .user }}\nB: 2"}
    items = [{"key": "app.conf"}, {"key": "many", "templateAs": "KeysAndValues"}]
    template = {
        "type": "kubernetes.io/basic-auth",
        "metadata": {"labels": {"for": "{{ .user }}"}, "annotations": {"n": "1"}},
        "data": {"url": "db://{{ .user }}:{{ .password | b64enc }}@host", "x": '{{ if eq .user "ada" }}<&>{{ end }}'},
        "templateFrom": [{"configMap": {"name": "tpl", "items": items}}, {"literal": "C: {{ .user | quote }}"}],
    }
    asked: dict[str, Any] = {"dataFrom": [{"extract": {"key": "shop/tpl"}}]}
    body = await stage.secret(**asked, target={"name": "made", "template": template, "immutable": True})
    assert plain(body) == {
        "url": f"db://ada:{base64.b64encode(MARK.encode()).decode()}@host",
        "x": "<&>",
        "app.conf": "login=ada",
        "A": "ada",
        "B": "2",
        "C": "ada",
    }
    assert (body["type"], body["immutable"]) == ("kubernetes.io/basic-auth", True)
    assert body["metadata"] == {
        "name": "made",
        "namespace": "shop",
        "labels": {"for": "ada"},
        "annotations": {"n": "1"},
    }
    merge = {**template, "mergePolicy": "Merge", "templateFrom": []}
    assert plain(await stage.secret(**asked, target={"template": merge}))["password"] == MARK
    for text in ("{{ fail .password }}", "{{ .user | toDate }}", "{{ if }}", "{{ include .password . }}"):
        with pytest.raises(RenderError) as caught:
            await stage.secret(**asked, target={"template": {"data": {"broken": text}}})
        assert MARK not in str(caught.value)
        assert "broken" in str(caught.value)


async def test_secrets_manager_and_parameter_store(stage: Stage, cloud: Aws) -> None:
    manager, parameters = cloud.client("secretsmanager"), cloud.client("ssm")
    manager.create_secret(
        Name="prod/db", SecretString=json.dumps({"user": "ada"}), Tags=[{"Key": "team", "Value": "red"}]
    )
    manager.create_secret(Name="prod/raw", SecretBinary=b"\x00\x01")
    parameters.put_parameter(Name="/prod/flag", Value="on", Type="SecureString")
    stage.target.secrets["shop/aws"] = {"id": b"test", "key": b"test"}
    keys = {
        "accessKeyIDSecretRef": {"name": "aws", "key": "id"},
        "secretAccessKeySecretRef": {"name": "aws", "key": "key"},
    }
    for service in ("SecretsManager", "ParameterStore"):
        settings = {"service": service, "region": REGION, "auth": {"secretRef": keys}}
        stage.store({"aws": settings}, name=service)
    manager_ref: dict[str, Any] = {"secretStoreRef": {"name": "SecretsManager"}}
    asked = [datum("user", "prod/db", property="user"), datum("raw", "prod/raw")]
    assert (await stage.values(**manager_ref, data=asked)).data == {"user": b"ada", "raw": b"\x00\x01"}
    manager.put_secret_value(SecretId="prod/db", SecretString=json.dumps({"user": "eve"}))
    assert (await stage.values(**manager_ref, data=asked[:1])).data == {"user": b"eve"}
    old = [datum("user", "prod/db", property="user", version="AWSPREVIOUS")]
    assert (await stage.values(**manager_ref, data=old)).data == {"user": b"ada"}
    found = await stage.values(**manager_ref, dataFrom=[{"find": {"tags": {"team": "red"}}}])
    assert found.data == {"prod_db": b'{"user": "eve"}'}
    store_ref = {"secretStoreRef": {"name": "ParameterStore"}}
    assert (await stage.values(**store_ref, data=[datum("flag", "/prod/flag")])).data == {"flag": b"on"}
    parameters.put_parameter(Name="/prod/flag", Value="off", Type="SecureString", Overwrite=True)
    assert (await stage.values(**store_ref, data=[datum("flag", "/prod/flag")])).data == {"flag": b"off"}
    assert (await stage.values(**store_ref, data=[datum("f", "/prod/flag", version="1")])).data == {"f": b"on"}
    manager.delete_secret(SecretId="prod/db", ForceDeleteWithoutRecovery=True)
    with pytest.raises(NoValueError, match="AWS has no such value"):
        await stage.values(**manager_ref, data=asked[:1])


@pytest.fixture
def answering() -> Iterator[tuple[str, list[dict[str, str]]]]:
    seen: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            seen.append(
                {"path": self.path, "key": self.headers.get("X-Key", ""), "body": self.rfile.read(length).decode()}
            )
            status = 302 if self.path == "/moved" else 404 if self.path.startswith("/none") else 200
            self.send_response(status)
            self.send_header("Location", "http://127.0.0.1:1/")
            self.end_headers()
            self.wfile.write(json.dumps({"data": {"items": [{"value": f"of {self.path}"}]}}).encode())

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", seen
    server.shutdown()


async def test_a_webhook_is_asked_with_its_templates(stage: Stage, answering: tuple[str, list[dict[str, str]]]) -> None:
    url, seen = answering
    stage.target.secrets["shop/hook"] = {"token": MARK.encode()}
    hook = {
        "url": url + "/{{ .remoteRef.key }}",
        "method": "POST",
        "headers": {"X-Key": "{{ .auth.token }}"},
        "body": '{"want": "{{ .remoteRef.property }}"}',
        "result": {"jsonPath": "$.data.items[0].value"},
        "secrets": [{"name": "auth", "secretRef": {"name": "hook", "key": "token"}}],
    }
    stage.store({"webhook": hook})
    assert (await stage.values(data=[datum("a", "one")])).data == {"a": b"of /one"}
    assert seen == [{"path": "/one", "key": MARK, "body": '{"want": ""}'}]
    with pytest.raises(NoValueError):
        await stage.values(data=[datum("a", "none")])
    with pytest.raises(SecretError, match="answers with 302"):
        await stage.values(data=[datum("a", "moved")])


async def test_a_cluster_of_its_own_rights(stage: Stage, plane: Plane, plane_api: Api, namespace: str) -> None:
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "src"}, "stringData": {"a": "1", "b": "2"}}
    assert plane_api.request("POST", f"/api/v1/namespaces/{namespace}/secrets", body)[0] == 201
    stage.target.server = (plane.server, plane.ca.read_text())
    stage.target.account_token = plane.token
    settings = {"remoteNamespace": namespace, "auth": {"serviceAccount": {"name": "reader"}}}
    stage.store({"kubernetes": settings})
    found = await stage.values(data=[datum("x", "src", property="a")], dataFrom=[{"extract": {"key": "src"}}])
    assert found.data == {"a": b"1", "b": b"2", "x": b"1"}
    assert stage.target.tokens == ["shop/reader []"]
    stage.target.account_token = "nobody"
    with pytest.raises(SecretError, match="refuses the Secret src with 401"):
        await stage.values(data=[datum("x", "src", property="a")])


async def test_who_may_use_a_store_and_which_hosts_are_asked(stage: Stage) -> None:
    fake = {"fake": {"data": [{"key": "a", "value": "1"}]}}
    asked: dict[str, Any] = {"secretStoreRef": {"name": "all", "kind": "ClusterSecretStore"}, "data": [datum("a", "a")]}
    conditions = [
        {"namespaces": ["other"]},
        {"namespaceRegexes": ["o.*"]},
        {"namespaceSelector": {"matchLabels": {"t": "1"}}},
    ]
    stage.store(fake, "all", "ClusterSecretStore", conditions=conditions)
    with pytest.raises(SecretError, match="is not for the namespace shop"):
        await stage.values(**asked)
    stage.target.labels = {"t": "1"}
    assert (await stage.values(**asked)).data == {"a": b"1"}
    with pytest.raises(SecretError, match="there is no SecretStore shop/none"):
        await stage.values(secretStoreRef={"name": "none"}, data=[datum("a", "a")])
    stage.target.secrets["shop/bao"] = {"token": b"x"}
    auth = {"tokenSecretRef": {"name": "bao", "key": "token"}}
    for server in ("http://169.254.169.254", "http://metadata.google.internal/x"):
        stage.store({"vault": {"server": server, "auth": auth}})
        with pytest.raises(SecretError, match="stores may not ask"):
            await stage.values(data=[datum("a", "b/a")])
    stage.rules = Rules(hosts=("*.example.com",))
    stage.store({"vault": {"server": "https://127.0.0.1", "auth": auth}})
    with pytest.raises(SecretError, match="stores may not ask"):
        await stage.values(data=[datum("a", "b/a")])


@pytest.mark.parametrize(
    ("spec", "field", "words"),
    [
        ({"data": []}, "spec", "asks for nothing"),
        ({"data": [datum("a", "a")], "refreshInterval": "often"}, "spec.refreshInterval", "no duration"),
        ({"data": [datum("a", "a")], "target": {"creationPolicy": "Maybe"}}, "spec.target.creationPolicy", "not known"),
        ({"data": [{"secretKey": "a"}]}, "spec.data[0]", "remoteRef"),
        ({"data": 7}, "spec.data", "array"),
    ],
)
def test_documents_that_cannot_be_meant(spec: dict[str, Any], field: str, words: str) -> None:
    with pytest.raises(BadInput, match=words) as caught:
        read_external({"spec": spec}, Where(file="x.yaml", line=3))
    assert (caught.value.where.file, caught.value.where.line, caught.value.where.field) == ("x.yaml", 3, field)


async def test_stores_that_cannot_be_meant(stage: Stage) -> None:
    for provider in ({}, {"gcpsm": {}}, {"vault": {}}, {"aws": {"service": "S3"}}, {"kubernetes": {}}):
        stage.store(provider)
        with pytest.raises(TautError) as caught:
            await stage.values(data=[datum("a", "a")])
        assert isinstance(caught.value, BadInput)


def test_one_for_each_namespace() -> None:
    spec = {
        "namespaceSelectors": [{"matchLabels": {"team": "red"}}],
        "namespaces": ["extra"],
        "externalSecretName": "db",
        "externalSecretSpec": {"data": []},
    }
    spaces = [{"metadata": {"name": n, "labels": {"team": t}}} for n, t in (("a", "red"), ("b", "blue"))]
    body = {
        "apiVersion": "external-secrets.io/v1",
        "kind": "ClusterExternalSecret",
        "metadata": {"name": "all"},
        "spec": spec,
    }
    assert [(e["metadata"]["namespace"], e["metadata"]["name"]) for e in expand(body, spaces, Where())] == [
        ("a", "db"),
        ("extra", "db"),
    ]
