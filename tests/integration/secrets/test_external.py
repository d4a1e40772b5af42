"""External Secrets from a real OpenBao, a stand-in of the AWS API and an HTTP service, with the real engine for templates."""

from __future__ import annotations

import base64
import json
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from servers.aws import REGION, Aws, aws
from servers.openbao import OpenBao, openbao
from support.external import NoTemplates, World, a_secret, a_store, external, go_templates
from taut.render.templates import GoTemplates
from taut.secrets.external.asking import AwsKeys, Options, Templates
from taut.secrets.external.errors import ExternalError
from taut.secrets.external.http import Http
from taut.secrets.external.resolve import Action, Resolved, resolve

pytestmark = pytest.mark.integration

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def jwt(subject: str) -> str:
    def part(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    claims = {"sub": subject, "aud": "vault", "exp": int(time.time()) + 600, "iat": int(time.time())}
    text = ".".join(part(json.dumps(p).encode()) for p in ({"alg": "RS256", "typ": "JWT"}, claims))
    return f"{text}.{part(KEY.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    with openbao(tmp_path_factory.mktemp("bao") / "log") as server:
        server.write("sys/mounts/old", type="kv", options={"version": "1"})
        server.write("sys/policies/acl/shop", policy='path "secret/data/shop/*" { capabilities = ["read"] }')
        server.write("sys/auth/approle", type="approle")
        server.write("auth/approle/role/shop", token_policies="shop")
        server.write("sys/auth/userpass", type="userpass")
        server.write("auth/userpass/users/taut", password="canary-password", token_policies="shop")
        public = KEY.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        # The engine for Kubernetes asks a cluster to review the token; what a store sends to it is what it sends to this one.
        for mount in ("jwt", "kubernetes"):
            server.write(f"sys/auth/{mount}", type="jwt")
            server.write(f"auth/{mount}/config", jwt_validation_pubkeys=[public.decode()])
            role = {"role_type": "jwt", "bound_audiences": ["vault"], "bound_subject": "reader", "user_claim": "sub"}
            server.write(f"auth/{mount}/role/shop", token_policies="shop", **role)
        yield server


@pytest.fixture(scope="module")
def cloud() -> Iterator[Aws]:
    with aws() as server:
        yield server


@pytest.fixture
async def http() -> AsyncIterator[Http]:
    async with Http() as made:
        yield made


@pytest.fixture
async def engine() -> AsyncIterator[GoTemplates]:
    async with go_templates() as made:
        yield made


class Given:
    """Resolves `shop/db` against a world with one store."""

    def __init__(
        self, http: Http, world: World, templates: Templates | None = None, options: Options | None = None
    ) -> None:
        self.http, self.world, self.templates, self.options = http, world, templates or NoTemplates(), options

    async def __call__(self, spec: str, **metadata: Any) -> Resolved:
        made = external(f"secretStoreRef: {{name: main}}\n{spec}", **metadata)
        return await resolve(made, self.world, templates=self.templates, http=self.http, options=self.options)

    async def refused(self, spec: str, *said: str) -> None:
        with pytest.raises(ExternalError) as caught:
            await self(spec)
        text = str(caught.value)
        assert all(part in text for part in said), text
        assert "canary" not in text
        assert "SecretStore shop/main" in text


def vault(address: str, auth: str, more: str = "path: secret") -> str:
    return f"vault: {{server: '{address}', {more}, auth: {{{auth}}}}}"


BY_TOKEN = "tokenSecretRef: {name: token, key: t}"
PASSWORD = "data: [{secretKey: p, remoteRef: {key: shop/db, property: password}}]"


@pytest.fixture
def run(http: Http, bao: OpenBao) -> Given:
    bao.write(
        "secret/data/shop/db", data={"user": "shop", "password": "canary-1", "deep": {"a": [1, 2.5]}, "html": "<>"}
    )
    world = World(a_store(vault(bao.address, BY_TOKEN)))
    world.secrets["shop/token"] = a_secret({"t": bao.token + "\n"})
    return Given(http, world)


def accessors(bao: OpenBao) -> int:
    answer = requests.request(
        "LIST", f"{bao.address}/v1/auth/token/accessors", headers={"X-Vault-Token": bao.token}, timeout=10
    )
    return len(answer.json()["data"]["keys"])


class TestVault:
    """A real OpenBao."""

    @pytest.mark.parametrize(
        ("spec", "content"),
        [
            (PASSWORD, {"p": b"canary-1"}),
            ("data: [{secretKey: p, remoteRef: {key: secret/data/shop/db, property: deep.a.1}}]", {"p": b"2.5"}),
            ("data: [{secretKey: p, remoteRef: {key: shop/db}}]", {"p": b'{"deep":{"a":[1,2.5]},"html":"\\u003c\\u003e","password":"canary-1","user":"shop"}'}),
            ("dataFrom: [{extract: {key: shop/db}}]", {"user": b"shop", "password": b"canary-1", "deep": b'{"a":[1,2.5]}', "html": b"<>"}),
            ("dataFrom: [{extract: {key: shop/db, property: deep}}]", {"a": b"[1,2.5]"}),
        ],
    )  # fmt: skip
    async def test_values(self, run: Given, spec: str, content: dict[str, bytes]) -> None:
        found = await run(spec)
        assert (found.action, found.content) == (Action.APPLY, content)

    async def test_a_rotated_value_gives_another_secret_and_a_version_the_old_one(
        self, run: Given, bao: OpenBao
    ) -> None:
        bao.write("secret/data/shop/turning", data={"password": "canary-a"})
        spec = "data: [{secretKey: p, remoteRef: {key: shop/turning, property: password%s}}]"
        first = await run(spec % "")
        assert (await run(spec % "")).secret == first.secret
        bao.write("secret/data/shop/turning", data={"password": "canary-b"})
        second = await run(spec % "")
        assert (first.content, second.content) == ({"p": b"canary-a"}, {"p": b"canary-b"})
        assert first.secret != second.secret
        assert (await run(spec % ", version: '1'")).content == {"p": b"canary-a"}

    async def test_version_one_of_the_engine(self, http: Http, bao: OpenBao) -> None:
        bao.write("old/shop/db", password="canary-old")
        world = World(a_store(vault(bao.address, BY_TOKEN, "path: old, version: v1")))
        world.secrets["shop/token"] = a_secret({"t": bao.token})
        run = Given(http, world)
        assert (await run(PASSWORD)).content == {"p": b"canary-old"}
        found = await run("dataFrom: [{find: {path: shop, name: {regexp: db}}}]")
        assert found.content == {"shop_db": b'{"password":"canary-old"}'}
        await run.refused("dataFrom: [{find: {tags: {a: b}}}]", "version 1 of the engine has no tags")
        await run.refused(
            "data: [{secretKey: p, remoteRef: {key: shop/db, metadataPolicy: Fetch}}]", "keeps no metadata"
        )

    async def test_the_wrong_version_of_the_engine_is_said(self, http: Http, bao: OpenBao) -> None:
        bao.write("old/data/db", password="canary")
        world = World(a_store(vault(bao.address, BY_TOKEN, "path: old")))
        world.secrets["shop/token"] = a_secret({"t": bao.token})
        await Given(http, world).refused(
            "data: [{secretKey: p, remoteRef: {key: db}}]", "no secret of a key-value engine of version 2"
        )

    async def test_found_by_name_and_tags_and_rewritten(self, run: Given, bao: OpenBao, engine: GoTemplates) -> None:
        bao.write("secret/data/many/db-a", data={"x": "1"})
        bao.write("secret/data/many/inner/db-b", data={"x": "2"})
        bao.write("secret/data/many/other", data={"x": "3"})
        bao.write("secret/metadata/many/other", custom_metadata={"team": "shop", "tier": "web"})
        run.templates = engine
        by_name = "dataFrom: [{find: {path: many, name: {regexp: db-}}%s}]"
        assert (await run(by_name % "")).content == {"many_db-a": b'{"x":"1"}', "many_inner_db-b": b'{"x":"2"}'}
        steps = ", rewrite: [{regexp: {source: '^many/(?:inner/)?db-(?P<n>.*)$', target: 'DB_${n}'}}, {transform: {template: '{{ .value | lower }}_x'}}]"
        assert (await run(by_name % steps)).content == {"db_a_x": b'{"x":"1"}', "db_b_x": b'{"x":"2"}'}
        by_tags = "dataFrom: [{find: {path: many, tags: {team: shop, tier: %s}}}]"
        assert (await run(by_tags % "web")).content == {"many_other": b'{"x":"3"}'}
        assert (await run(by_tags % "db")).action is Action.NOTHING
        merged = "dataFrom: [{find: {path: many, name: {regexp: .}}, rewrite: [{merge: {conflictPolicy: Ignore}}]}]"
        assert (await run(merged)).content == {"x": b"3"}
        await run.refused(
            by_name % ", rewrite: [{regexp: {source: '(', target: ''}}]", r"rewrite[0] fails", "regexReplaceAll fails"
        )
        await run.refused(by_name % ", rewrite: [{transform: {template: '{{ .key }}'}}]", "there is no key key")
        await run.refused(by_name % ", rewrite: [{transform: {template: 'same'}}]", "two values would be called same")
        await run.refused(
            "dataFrom: [{find: {path: none, name: {regexp: .}}}]", "find names like . below none", "there is nothing at"
        )

    async def test_metadata(self, run: Given, bao: OpenBao) -> None:
        bao.write("secret/data/shop/meta", data={"x": "1"})
        bao.write("secret/metadata/shop/meta", custom_metadata={"team": "shop"})
        found = await run("data: [{secretKey: p, remoteRef: {key: shop/meta, metadataPolicy: Fetch, property: team}}]")
        assert found.content == {"p": b"shop"}

    @pytest.mark.parametrize("how", ["deleted", "destroyed", "never"])
    @pytest.mark.parametrize("policy", ["Retain", "Delete", "Merge"])
    async def test_a_key_that_is_gone(self, run: Given, bao: OpenBao, how: str, policy: str) -> None:
        key = f"shop/gone-{how}-{policy}"
        if how != "never":
            bao.write(f"secret/data/{key}", data={"password": "canary"})
            where = f"{bao.address}/v1/secret/{'data' if how == 'deleted' else 'metadata'}/{key}"
            assert requests.delete(where, headers={"X-Vault-Token": bao.token}, timeout=10).status_code == 204
        run.world.secrets["shop/db"] = a_secret({"p": "old", "q": "old"})
        spec = f"target: {{deletionPolicy: {policy}}}\ndata: [{{secretKey: p, remoteRef: {{key: {key}, property: password}}}}"
        if policy == "Retain":
            await run.refused(
                f"{spec}]", f"(vault), key {key}, property password", "no such key at secret/data", "stays as it is"
            )
            return
        found = await run(f"{spec}]")
        assert found.action is (Action.DELETE if policy == "Delete" else Action.APPLY)
        assert found.missing == (f"SecretStore shop/main (vault), key {key}, property password",)
        found = await run(f"{spec}, {{secretKey: q, remoteRef: {{key: shop/db, property: user}}}}]")
        assert (found.action, found.content) == (Action.APPLY, {"q": b"shop"})

    async def test_a_wrong_token_is_refused_with_its_reason(self, run: Given) -> None:
        run.world.secrets["shop/token"] = a_secret({"t": "canary-wrong"})
        await run.refused(PASSWORD, "(vault), key shop/db, property password", "refuses to read secret/data/shop/db (403", "permission denied", "check the store's token")  # fmt: skip
        run.world.secrets["shop/token"] = a_secret({"t": "canary\r\nX-Evil: 1"})
        await run.refused(PASSWORD, "did not answer (ValueError)")

    async def test_a_server_that_is_down(self, http: Http) -> None:
        world = World(a_store(vault("http://127.0.0.1:1", BY_TOKEN)))
        world.secrets["shop/token"] = a_secret({"t": "canary"})
        await Given(http, world).refused(
            PASSWORD, "SecretStore shop/main (vault), key shop/db", "127.0.0.1 cannot be reached"
        )

    @pytest.mark.parametrize(
        ("key", "path"),
        [
            ("../../auth/token/revoke-self", ""),
            ("shop/../../../sys/seal", ""),
            ("shop//db", ""),
            ("./db", ""),
            ("a\x00b", ""),
            ("shop/%2e%2e/db", "shop/%252e%252e/db"),
            ("a?version=1", "a%3Fversion%3D1"),
            ("a#b", "a%23b"),
        ],
    )
    async def test_a_key_cannot_become_another_request(
        self, run: Given, bao: OpenBao, monkeypatch: pytest.MonkeyPatch, key: str, path: str
    ) -> None:
        asked: list[str] = []
        ask = run.http.ask

        async def seen(method: str, url: str, **more: Any) -> Any:
            asked.append(url)
            return await ask(method, url, **more)

        monkeypatch.setattr(run.http, "ask", seen)
        said = "no such key" if path else "is no path in Vault"
        await run.refused(f"data: [{{secretKey: p, remoteRef: {{key: {json.dumps(key)}}}}}]", "(vault)", said)
        assert asked == ([f"{bao.address}/v1/secret/data/{path}"] if path else [])

    @pytest.mark.parametrize(
        ("status", "body", "said"),
        [
            (403, {"errors": ["token canary-token\nis bad"]}, "(403: token ••• is bad)"),
            (500, {"errors": ["canary-token"] * 100}, "answered 500: •••; •••"),
            (503, {"errors": []}, "sealed, or not ready"),
            (200, {"data": {"data": None}}, "the key at secret/data/shop/db was deleted"),
            (200, {"data": {"data": ["canary"]}}, "no secret of a key-value engine"),
            (200, ["canary"], "no secret of a key-value engine"),
            (404, {"errors": []}, "no such key at secret/data/shop/db"),
        ],
    )
    async def test_what_a_server_may_answer(self, http: Http, status: int, body: Any, said: str) -> None:
        async with service(lambda _: web.json_response(body, status=status)) as url:
            world = World(a_store(vault(url, BY_TOKEN)))
            world.secrets["shop/token"] = a_secret({"t": "canary-token"})
            await Given(http, world).refused(PASSWORD, "(vault), key shop/db, property password", said)

    async def test_a_version_cannot_become_another_request(self, run: Given) -> None:
        await run.refused("data: [{secretKey: p, remoteRef: {key: shop/db, version: '1&list=true'}}]", "is no number")

    @pytest.mark.parametrize(
        "auth",
        [
            "appRole: {roleId: ROLE, secretRef: {name: way, key: secret}}",
            "appRole: {path: approle, roleRef: {name: way, key: role}, secretRef: {name: way, key: secret}}",
            "userPass: {username: taut, secretRef: {name: way, key: password}}",
            "jwt: {role: shop, secretRef: {name: way, key: jwt}}",
            "jwt: {role: shop, kubernetesServiceAccountToken: {serviceAccountRef: {name: reader}}}",
            "kubernetes: {role: shop, mountPath: kubernetes, serviceAccountRef: {name: reader}}",
            "kubernetes: {role: shop, secretRef: {name: way, key: jwt}}",
        ],
    )
    async def test_ways_to_sign_in(self, http: Http, bao: OpenBao, run: Given, auth: str) -> None:
        role = requests.get(f"{bao.address}/v1/auth/approle/role/shop/role-id", headers={"X-Vault-Token": bao.token}, timeout=10).json()["data"]["role_id"]  # fmt: skip
        secret: Any = bao.write("auth/approle/role/shop/secret-id")["data"]
        world = World(a_store(vault(bao.address, auth.replace("ROLE", role))))
        world.secrets["shop/way"] = a_secret({"role": role, "secret": secret["secret_id"], "password": "canary-password", "jwt": jwt("reader")})  # fmt: skip
        world.tokens["shop/reader"] = jwt("reader")
        before = accessors(bao)
        given = Given(http, world)
        assert (await given(PASSWORD)).content == {"p": b"canary-1"}
        wanted = {"jwt": [("vault",)], "kubernetes": [()]}.get(auth.partition(":")[0], [])
        assert world.audiences == (wanted if "reader" in auth else [])
        assert accessors(bao) == before, "the token that was lent is given back"
        await given.refused("data: [{secretKey: p, remoteRef: {key: other/db}}]", "refuses to read secret/data/other/db (403", "permission denied")  # fmt: skip
        assert accessors(bao) == before
        world.secrets["shop/way"] = a_secret({"role": role, "secret": "canary", "password": "canary", "jwt": "canary"})
        world.tokens["shop/reader"] = jwt("canary")
        await given.refused(PASSWORD, "signing in at auth/", "was refused (4")

    async def test_a_namespace(self, http: Http, bao: OpenBao) -> None:
        bao.write("sys/namespaces/team")
        inside = {"X-Vault-Token": bao.token, "X-Vault-Namespace": "team"}
        for path, body in (("sys/mounts/kv", {"type": "kv", "options": {"version": "2"}}), ("kv/data/db", {"data": {"p": "canary-team"}})):  # fmt: skip
            assert requests.post(f"{bao.address}/v1/{path}", json=body, headers=inside, timeout=10).ok
        data = "data: [{secretKey: p, remoteRef: {key: db, property: p}}]"
        for more, there in (("path: kv, namespace: team", True), ("path: kv", False)):
            world = World(a_store(vault(bao.address, BY_TOKEN, more)))
            world.secrets["shop/token"] = a_secret({"t": bao.token})
            if there:
                assert (await Given(http, world)(data)).content == {"p": b"canary-team"}
            else:
                await Given(http, world).refused(data, "no such key")

    @pytest.mark.parametrize("auth", ["cert: {path: cert, clientCert: {name: c}, secretRef: {name: c}}", "ldap: {username: taut, secretRef: {name: c, key: p}}"])  # fmt: skip
    async def test_a_client_certificate_and_ldap(self, http: Http, tmp_path: Path, auth: str) -> None:
        pem, context = certificate(tmp_path)
        if auth.startswith("cert"):
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(cadata=pem.decode())
        asked: list[tuple[str, str]] = []

        async def answer(request: web.Request) -> web.Response:
            asked.append((request.path, request.headers.get("X-Vault-Token", "")))
            if "/auth/" in request.path:
                body = await request.json()
                fits = body == ({} if auth.startswith("cert") else {"password": "canary"})
                return web.json_response(
                    {"auth": {"client_token": "lent"}} if fits else {}, status=200 if fits else 400
                )
            return web.json_response({"data": {"data": {"p": "v"}}})

        async with service(answer, context) as url:
            bundle = base64.b64encode(pem).decode()
            world = World(
                a_store(vault(url, auth, f"path: secret, caBundle: {bundle}, headers: {{X-Vault-Token: mine}}"))
            )
            key = KEY.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())  # fmt: skip
            world.secrets["shop/c"] = a_secret({"tls.crt": pem, "tls.key": key, "p": "canary"})
            run = Given(http, world)
            assert (await run("data: [{secretKey: p, remoteRef: {key: db, property: p}}]")).content == {"p": b"v"}
            sign_in = "/v1/auth/cert/login" if auth.startswith("cert") else "/v1/auth/ldap/login/taut"
            assert asked == [(sign_in, "mine"), ("/v1/secret/data/db", "lent"), ("/v1/auth/token/revoke-self", "lent")]

    async def test_it_is_signed_in_once_and_a_key_is_read_once(
        self, run: Given, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[str] = []
        ask = run.http.ask

        async def counted(method: str, url: str, **more: Any) -> Any:
            asked.append(url)
            return await ask(method, url, **more)

        monkeypatch.setattr(run.http, "ask", counted)
        found = await run("data:\n" + "".join(f"  - {{secretKey: k{n}, remoteRef: {{key: shop/db, property: user}}}}\n" for n in range(10)))  # fmt: skip
        assert found.content == {f"k{n}": b"shop" for n in range(10)}
        assert len(asked) == 1

    async def test_a_server_that_the_project_does_not_allow(self, run: Given, bao: OpenBao) -> None:
        asked: list[str] = []
        run.options = Options(may_ask=lambda url: bool(asked.append(url)))
        await run.refused(PASSWORD, "stores may not ask 127.0.0.1")
        assert asked == [bao.address]

    async def test_more_keys_than_are_allowed(self, run: Given, bao: OpenBao) -> None:
        for n in range(4):
            bao.write(f"secret/data/crowd/{n}", data={"x": "1"})
        run.options = Options(most_found=3)
        await run.refused("dataFrom: [{find: {path: crowd, name: {regexp: .}}}]", "more than 3 keys fit")


class TestTemplates:
    """Secrets that are made from templates."""

    @pytest.fixture
    def run(self, run: Given, engine: GoTemplates) -> Given:
        run.templates = engine
        return run

    SOURCE = "dataFrom: [{extract: {key: shop/db}}]"

    async def test_all_parts(self, run: Given) -> None:
        run.world.config_maps["shop/t"] = {
            "data": {"url.txt": "pg://{{ .user }}", "many": "a: '{{ .user }}'\nb: x\n", "labels": "tier: web"}
        }
        run.world.secrets["shop/t"] = a_secret({"s": "{{ .password | b64enc }}"})
        found = await run(
            """target:
  template:
    type: kubernetes.io/basic-auth
    metadata: {labels: {app: "{{ .user }}", plain: x}, annotations: {note: "{{ .user | upper }}"}}
    data: {b: "from data {{ .user }}"}
    templateFrom:
      - configMap: {name: t, items: [{key: url.txt}, {key: many, templateAs: KeysAndValues}]}
      - configMap: {name: t, items: [{key: labels, templateAs: KeysAndValues}]}
        target: Labels
      - secret: {name: t, items: [{key: s}]}
      - literal: "c: '{{ .user }}!'\\n"
"""
            + self.SOURCE,
            labels={"own": "x"},
        )
        assert found.content == {"url.txt": b"pg://shop", "a": b"shop", "b": b"from data shop", "s": b"Y2FuYXJ5LTE=", "c": b"shop!"}  # fmt: skip
        assert found.secret is not None
        assert found.secret["type"] == "kubernetes.io/basic-auth"
        assert found.secret["metadata"]["labels"] == {"app": "shop", "plain": "x", "tier": "web"}
        assert found.secret["metadata"]["annotations"] == {"note": "SHOP"}

    async def test_merge_policy(self, run: Given) -> None:
        spec = "target: {template: {mergePolicy: %s, data: {user: new}}}\n" + self.SOURCE
        assert (await run(spec % "Replace")).content == {"user": b"new"}
        assert (await run(spec % "Merge")).content.keys() == {"user", "password", "deep", "html"}
        only = await run("target: {template: {metadata: {labels: {a: b}}}}\n" + self.SOURCE)
        assert only.content.keys() == {"user", "password", "deep", "html"}

    @pytest.mark.parametrize(
        ("template", "said"),
        [
            ("data: {a: '{{ .nothing }}'}", ("spec.target.template.data.a", "there is no key nothing")),
            ("data: {a: x, b: '{{ fail .password }}'}", ("spec.target.template.data.b", "it cannot be run")),
            ("metadata: {labels: {a: '{{ .x'}}", ("template.metadata.labels.a", "it cannot be read")),
            ("templateFrom: [{literal: '{{ .password }}'}]", ("templateFrom[0].literal", "no mapping of keys and values")),
            ("templateFrom: [{literal: 'a: [{{ .password }}'}]", ("templateFrom[0].literal", "no YAML (line 1)")),
            ("templateFrom: [{literal: 'a: 1'}]", ("value number 1 is no text",)),
            ("templateFrom: [{literal: \"a: b\\n'{{ .password }}/': c\"}]", ("templateFrom[0].literal", "key number 2 is none")),
            ("templateFrom: [{configMap: {name: none, items: [{key: k}]}}]", ("there is no ConfigMap shop/none", "templateFrom[0].configMap")),
            ("templateFrom: [{secret: {name: t, items: [{key: k}]}}]", ("Secret shop/t has no key k",)),
            ("templateFrom: [{secret: {name: t, items: [{key: bad}]}}]", ("it comes from a Secret",)),
            ("data: {a/b: x}", ("no Secret can have a key 'a/b'",)),
            ("data: {a: '{{ range until 100000 }}{{ range until 100000 }}{{ end }}{{ end }}'}", ("the template fails", "than 3 s")),
        ],
    )  # fmt: skip
    async def test_what_fails_says_where_and_no_value(self, run: Given, template: str, said: tuple[str, ...]) -> None:
        from taut.prison.limits import Limits

        run.world.secrets["shop/t"] = a_secret({"bad": "{{ .canary }}"})
        async with go_templates(Limits(wall_seconds=3, cpu_seconds=10, memory_mb=512)) as engine:
            run.templates = engine
            with pytest.raises(ExternalError) as caught:
                await run(f"target: {{template: {{{template}}}}}\n{self.SOURCE}")
        text = str(caught.value)
        assert all(part in text for part in said), text
        assert "canary" not in text


class TestAws:
    """A stand-in of the AWS API."""

    @pytest.fixture
    def given(self, http: Http, cloud: Aws) -> Any:
        def make(service: str, more: str = "") -> Given:
            auth = "auth: {secretRef: {accessKeyIDSecretRef: {name: k, key: id}, secretAccessKeySecretRef: {name: k, key: secret}}}"
            world = World(a_store(f"aws: {{service: {service}, region: {REGION}, {auth}{more}}}"))
            world.secrets["shop/k"] = a_secret({"id": "test", "secret": "canary-key"})
            return Given(http, world, options=Options(aws_endpoint=cloud.endpoint))

        return make

    async def test_secrets_manager(self, given: Any, cloud: Aws) -> None:
        client = cloud.client("secretsmanager")
        made = client.create_secret(Name="shop/db", SecretString='{"password": "canary-1", "a.b": "dotted", "n": 5}', Tags=[{"Key": "team", "Value": "shop"}])  # fmt: skip
        client.create_secret(Name="shop/bin", SecretBinary=b"\x00\xff", Tags=[{"Key": "team", "Value": "other"}])
        run = given("SecretsManager")
        assert (await run(PASSWORD)).content == {"p": b"canary-1"}
        assert (await run("data: [{secretKey: p, remoteRef: {key: shop/bin}}]")).content == {"p": b"\x00\xff"}
        assert (await run("data: [{secretKey: p, remoteRef: {key: shop/db, property: a.b}}]")).content == {
            "p": b"dotted"
        }
        assert (await run("dataFrom: [{extract: {key: shop/db}}]")).content == {"password": b"canary-1", "a.b": b"dotted", "n": b"5"}  # fmt: skip
        tags = "data: [{secretKey: p, remoteRef: {key: shop/db, metadataPolicy: Fetch, property: team}}]"
        assert (await run(tags)).content == {"p": b"shop"}
        assert (await run("dataFrom: [{find: {path: shop/, name: {regexp: 'b'}}}]")).content.keys() == {"shop_db", "shop_bin"}  # fmt: skip
        assert (await run("dataFrom: [{find: {tags: {team: shop}}}]")).content.keys() == {"shop_db"}
        old = await run("data: [{secretKey: p, remoteRef: {key: shop/db}}]")
        client.put_secret_value(SecretId="shop/db", SecretString="canary-new")
        new = await run("data: [{secretKey: p, remoteRef: {key: shop/db}}]")
        assert (new.content, new.secret != old.secret) == ({"p": b"canary-new"}, True)
        versions = "data: [{secretKey: p, remoteRef: {key: shop/db, version: %s}}]"
        assert (await run(versions % "AWSPREVIOUS")).content == old.content
        assert (await run(versions % f"uuid/{made['VersionId']}")).content == old.content
        prefixed = given("SecretsManager", ", prefix: shop/")
        assert (await prefixed("data: [{secretKey: p, remoteRef: {key: db}}]")).content == {"p": b"canary-new"}
        await run.refused(
            "data: [{secretKey: p, remoteRef: {key: none}}]",
            "(aws), key none",
            "no such key (ResourceNotFoundException)",
        )

    async def test_parameter_store(self, given: Any, cloud: Aws) -> None:
        client = cloud.client("ssm")
        client.put_parameter(Name="/shop/db", Value='{"password": "canary-1"}', Type="SecureString", Tags=[{"Key": "team", "Value": "shop"}])  # fmt: skip
        client.put_parameter(Name="/shop/deep/x", Value="plain", Type="String")
        run = given("ParameterStore")
        password = "data: [{secretKey: p, remoteRef: {key: /shop/db, property: password%s}}]"
        assert (await run(password % "")).content == {"p": b"canary-1"}
        assert (await run("dataFrom: [{find: {path: /shop, name: {regexp: x$}}}]")).content == {
            "_shop_deep_x": b"plain"
        }
        assert (await run("dataFrom: [{find: {name: {regexp: '^/shop'}}}]")).content.keys() == {"_shop_db", "_shop_deep_x"}  # fmt: skip
        assert (await run("dataFrom: [{find: {tags: {team: shop}}}]")).content.keys() == {"_shop_db"}
        tags = "data: [{secretKey: p, remoteRef: {key: /shop/db, metadataPolicy: Fetch, property: team}}]"
        assert (await run(tags)).content == {"p": b"shop"}
        client.put_parameter(Name="/shop/db", Value='{"password": "canary-2"}', Type="SecureString", Overwrite=True)
        assert (await run(password % "")).content == {"p": b"canary-2"}
        assert (await run(password % ", version: '1'")).content == {"p": b"canary-1"}
        await run.refused(
            "data: [{secretKey: p, remoteRef: {key: /none}}]", "(aws), key /none", "no such key (ParameterNotFound)"
        )
        client.delete_parameter(Name="/shop/db")
        run.world.secrets["shop/db"] = a_secret({"p": "old"})
        found = await run("target: {deletionPolicy: Delete}\n" + password % "")
        assert found.action is Action.DELETE

    async def test_many_pages(self, given: Any, cloud: Aws) -> None:
        client = cloud.client("ssm")
        for n in range(25):
            client.put_parameter(Name=f"/pages/{n}", Value=str(n), Type="String")
        found = await given("ParameterStore")("dataFrom: [{find: {path: /pages, name: {regexp: .}}}]")
        assert found.content == {f"_pages_{n}": str(n).encode() for n in range(25)}

    async def test_a_role_is_taken(self, given: Any, cloud: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
        cloud.client("secretsmanager").create_secret(Name="by-role", SecretString="canary")
        roles = (
            "additionalRoles: ['arn:aws:iam::123456789012:role/first'], role: 'arn:aws:iam::123456789012:role/second'"
        )
        run = given("SecretsManager", f", {roles}, externalID: e-1, sessionTags: [{{key: a, value: b}}]")
        sent: list[tuple[str, str]] = []
        ask = run.http.ask

        async def seen(method: str, url: str, **more: Any) -> Any:
            sent.append((more["headers"]["Authorization"], more["body"].decode()))
            return await ask(method, url, **more)

        monkeypatch.setattr(run.http, "ask", seen)
        assert (await run("data: [{secretKey: p, remoteRef: {key: by-role}}]")).content == {"p": b"canary"}
        first, second, read = sent
        assert "role%2Ffirst" in first[1]
        assert "ExternalId" not in first[1]
        assert "role%2Fsecond" in second[1]
        assert "ExternalId=e-1" in second[1]
        assert "Tags.member.1.Key=a" in second[1]
        used = [part.partition("Credential=")[2].partition("/")[0] for part, _ in sent]
        assert used[0] == "test"
        assert len(set(used)) == 3, "each step is signed with what the one before gave"
        assert "/secretsmanager/aws4_request" in read[0]

    async def test_keys_that_the_caller_lends(self, http: Http, cloud: Aws) -> None:
        cloud.client("ssm").put_parameter(Name="lent", Value="canary", Type="String")
        world = World(a_store(f"aws: {{service: ParameterStore, region: {REGION}}}"))
        keys = AwsKeys("test", "canary-key")
        assert "canary" not in repr(keys)
        run = Given(http, world, options=Options(aws_endpoint=cloud.endpoint, aws_keys=keys))
        assert (await run("data: [{secretKey: p, remoteRef: {key: lent}}]")).content == {"p": b"canary"}

    @pytest.mark.parametrize(
        ("status", "kind", "said"),
        [
            (400, "UnrecognizedClientException", "check the access key that the store names"),
            (400, "com.amazonaws#AccessDeniedException", "check the policy"),
            (500, "<canary>", "AWS refuses GetParameter (500)"),
        ],
    )
    async def test_what_aws_refuses(self, http: Http, status: int, kind: str, said: str) -> None:
        async with service(lambda _: web.json_response({"__type": kind, "message": "canary"}, status=status)) as url:
            world = World(a_store(f"aws: {{service: ParameterStore, region: {REGION}}}"))
            run = Given(http, world, options=Options(aws_endpoint=url, aws_keys=AwsKeys("a", "canary")))
            await run.refused(
                "data: [{secretKey: p, remoteRef: {key: k}}]", "(aws), key k: AWS refuses GetParameter", said
            )

    @pytest.mark.parametrize("region", ["evil.example/x", "eu-central-1.evil", "", "EU"])
    async def test_a_region_cannot_name_another_host(self, http: Http, region: str) -> None:
        world = World(a_store(f"aws: {{service: ParameterStore, region: '{region}'}}"))
        run = Given(http, world, options=Options(aws_keys=AwsKeys("a", "b"), may_ask=pytest.fail))
        await run.refused("data: [{secretKey: p, remoteRef: {key: k}}]", "is no region")


@asynccontextmanager
async def service(answer: Any, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """An HTTP service that answers so."""

    async def handle(request: web.Request) -> web.StreamResponse:
        made = answer(request)
        return await made if hasattr(made, "__await__") else made

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    try:
        port = runner.addresses[0][1]
        yield f"{'https' if tls else 'http'}://localhost:{port}"
    finally:
        await runner.cleanup()


def certificate(folder: Path) -> tuple[bytes, ssl.SSLContext]:
    """A certificate for localhost that signs itself, and a server's context with it."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(KEY.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(KEY, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    key = KEY.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "both.pem").write_bytes(pem + key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "both.pem")
    return pem, context


class TestWebhook:
    """An HTTP service."""

    async def test_url_headers_body_and_result(self, http: Http, engine: GoTemplates) -> None:
        async def answer(request: web.Request) -> web.Response:
            seen = {"path": request.raw_path, "auth": request.headers["Authorization"], "body": await request.text()}
            return web.json_response({"data": {"seen": seen, "num": 5, "list": ["first"], "text": '{"a": "b"}'}})

        async with service(answer) as url:
            spec = f"""webhook:
  url: "{url}/v1/{{{{ .remoteRef.key }}}}?p={{{{ .remoteRef.property }}}}"
  method: POST
  headers: {{Authorization: "Basic {{{{ print .auth.user \\":\\" .auth.password | b64enc }}}}"}}
  body: '{{"key": {{{{ .remoteRef.key | quote }}}}, "ns": "{{{{ .remoteRef.namespace }}}}"}}'
  result: {{jsonPath: "$.data.{{{{ .remoteRef.property }}}}"}}
  secrets: [{{name: auth, secretRef: {{name: way}}}}]
"""
            world = World(a_store(spec))
            world.secrets["shop/way"] = a_secret({"user": "u", "password": "canary"})
            run = Given(http, world, engine)
            found = await run("data: [{secretKey: p, remoteRef: {key: ../a b&c=d/e, property: seen}}]")
            seen = json.loads(found.content["p"])
            assert seen == {
                "path": "/v1/..%2Fa+b%26c%3Dd%2Fe?p=seen",
                "auth": "Basic " + base64.b64encode(b"u:canary").decode(),
                "body": '{"key": "../a b&c=d/e", "ns": "shop"}',
            }
            assert (await run("data: [{secretKey: p, remoteRef: {key: a, property: num}}]")).content == {"p": b"5"}
            assert (await run("data: [{secretKey: p, remoteRef: {key: a, property: list}}]")).content == {"p": b"first"}
            assert (await run("dataFrom: [{extract: {key: a, property: seen}}]")).content.keys() == {"path", "auth", "body"}  # fmt: skip
            assert (await run("dataFrom: [{extract: {key: a, property: text}}]")).content == {"a": b"b"}
            await run.refused("data: [{secretKey: p, remoteRef: {key: a, property: none}}]", "(webhook), key a", "has nothing at $.data.{{ .remoteRef.property }}")  # fmt: skip
            await run.refused("dataFrom: [{find: {name: {regexp: a}}}]", "cannot find keys")

    @pytest.mark.parametrize(
        ("answer", "said"),
        [
            (lambda _: web.Response(status=404, text="canary"), "there is no such key (404)"),
            (lambda _: web.Response(status=403, text="canary"), "refuses access (403)"),
            (lambda _: web.Response(status=500, text="canary"), "answered 500"),
            (lambda _: web.Response(status=302, headers={"Location": "/canary"}), "redirects, which is not followed"),
            (lambda _: web.Response(text="canary"), "the value is no JSON"),
            (lambda _: web.Response(body=b" " * 2_000_000), "larger than 1000000 bytes"),
            (lambda _: web.Response(body=b"[" * 500_000), "no JSON"),
        ],
    )
    async def test_what_a_service_may_answer(self, answer: Any, said: str) -> None:
        async with Http(size=1_000_000) as http, service(answer) as url:
            run = Given(http, World(a_store(f"webhook: {{url: '{url}', result: {{jsonPath: $.a}}}}")))
            await run.refused("data: [{secretKey: p, remoteRef: {key: k}}]", said)

    async def test_one_that_is_slow(self, http: Http) -> None:
        import asyncio

        async def slow(_: web.Request) -> web.Response:
            await asyncio.sleep(5)
            return web.Response()

        async with service(slow) as url:
            run = Given(http, World(a_store(f"webhook: {{url: '{url}', timeout: 100ms}}")))
            began = time.monotonic()
            await run.refused("data: [{secretKey: p, remoteRef: {key: k}}]", "no answer within 0.1 s")
            assert time.monotonic() - began < 3

    async def test_it_is_asked_again_as_the_store_says(self, http: Http) -> None:
        asked: list[int] = []

        def answer(_: web.Request) -> web.Response:
            asked.append(1)
            return web.Response(status=503) if len(asked) < 3 else web.Response(text="v")

        async with service(answer) as url:
            store = a_store(f"webhook: {{url: '{url}'}}", retrySettings={"maxRetries": 2, "retryInterval": "10ms"})
            assert (await Given(http, World(store))("data: [{secretKey: p, remoteRef: {key: k}}]")).content == {
                "p": b"v"
            }
            asked.clear()
            once = Given(http, World(a_store(f"webhook: {{url: '{url}'}}")))
            await once.refused("data: [{secretKey: p, remoteRef: {key: k}}]", "answered 503")
            assert len(asked) == 1

    async def test_a_template_that_fails(self, http: Http, engine: GoTemplates) -> None:
        spec = "webhook: {url: 'http://localhost:1', headers: {a: x, b: '{{ fail .s.p }}'}, secrets: [{name: s, secretRef: {name: s}}]}"
        run = Given(http, World(a_store(spec)), engine)
        run.world.secrets["shop/s"] = a_secret({"p": "canary"})
        await run.refused(
            "data: [{secretKey: p, remoteRef: {key: k}}]", "the template in headers.b fails: it cannot be run"
        )

    @pytest.mark.parametrize(
        ("more", "said"),
        [
            ("url: 'http://{{ .s.p }}.localhost:1/'", "the webhook cannot be reached|there is no host the webhook"),
            ("url: 'http://127.0.0.1:1/{{ .s.p }}'", "127.0.0.1 cannot be reached"),
            ("url: 'http://x y/{{ .s.p }}'", "the store's address is none"),
            ("url: URL, result: {jsonPath: '$.{{ .s.p }}'}", r"has nothing at \$\.\{\{ \.s\.p \}\}"),
            ("url: URL, result: {jsonPath: '$.a{{ .s.p }}['}", r"has nothing at|is not supported"),
            ("url: URL, result: {jsonPath: '$.a.{{ .s.p }}('}", r"has nothing at|is not supported"),
            ("url: 'http://localhost:1/{{ .s.p }}{{ \"\\r\\n\" }}X-Evil:1'", "the store's address is none"),
            ("url: 'http://localhost:1/é{{ .s.p }}'", "the store's address is none"),
        ],
    )
    async def test_a_secret_in_an_address_or_a_path_is_told_in_no_error(
        self, http: Http, engine: GoTemplates, more: str, said: str
    ) -> None:
        async with service(lambda _: web.json_response({"a": 1})) as url:
            store = a_store(
                f"webhook: {{{more.replace('URL', repr(url))}, secrets: [{{name: s, secretRef: {{name: s}}}}]}}"
            )
            run = Given(http, World(store), engine)
            run.world.secrets["shop/s"] = a_secret({"p": "canary"})
            with pytest.raises(ExternalError, match=said) as caught:
                await run("data: [{secretKey: p, remoteRef: {key: k}}]")
            assert "canary" not in str(caught.value)
            run.options = Options(may_ask=lambda _: False)
            with pytest.raises(ExternalError) as caught:
                await run("data: [{secretKey: p, remoteRef: {key: k}}]")
            assert "canary" not in str(caught.value)

    @pytest.mark.parametrize("url", ["ftp://a/b", "file:///etc/passwd", "http://user@host/", "nothing", "http://[::1"])
    async def test_what_is_no_web_address(self, http: Http, url: str) -> None:
        run = Given(http, World(a_store(f"webhook: {{url: '{url}'}}")))
        await run.refused("data: [{secretKey: p, remoteRef: {key: k}}]", "the store's address is none")

    async def test_tls_is_verified(self, http: Http, tmp_path: Path) -> None:
        pem, context = certificate(tmp_path)
        data = "data: [{secretKey: p, remoteRef: {key: k}}]"
        async with service(lambda _: web.Response(text="v"), context) as url:
            run = Given(http, World(a_store(f"webhook: {{url: '{url}'}}")))
            await run.refused(data, "the certificate of localhost is not trusted", "caBundle")
            bundle = base64.b64encode(pem).decode()
            trusted = Given(http, World(a_store(f"webhook: {{url: '{url}', caBundle: {bundle}}}")))
            assert (await trusted(data)).content == {"p": b"v"}
            from_map = Given(
                http, World(a_store(f"webhook: {{url: '{url}', caProvider: {{type: ConfigMap, name: ca, key: c}}}}"))
            )
            await from_map.refused(data, "ConfigMap shop/ca has no key 'c'")
            from_map.world.config_maps["shop/ca"] = {"data": {"c": pem.decode()}}
            assert (await from_map(data)).content == {"p": b"v"}
            other = Given(
                http, World(a_store(f"webhook: {{url: '{url.replace('localhost', '127.0.0.1')}', caBundle: {bundle}}}"))
            )
            await other.refused(data, "the certificate of 127.0.0.1 is not trusted")
            bad = Given(http, World(a_store(f"webhook: {{url: '{url}', caBundle: {base64.b64encode(b'x').decode()}}}")))
            await bad.refused(data, "cannot be used")
