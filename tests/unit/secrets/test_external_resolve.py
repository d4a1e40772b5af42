"""One ExternalSecret to one Secret, with stores that need no server: whose it is, what happens when a key is gone, who may ask."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from support.external import NoTemplates, World, a_secret, a_store, external
from taut.model.errors import BadInput, TargetError, TautError
from taut.secrets.external.asking import Options
from taut.secrets.external.documents import ExternalSecret
from taut.secrets.external.errors import ExternalError
from taut.secrets.external.http import Http
from taut.secrets.external.resolve import Action, Resolved, resolve
from taut.secrets.external.stores import Store

FAKE = """fake:
  data:
    - {key: db, value: '{"user": "shop", "password": "canary-1", "n": 5}'}
    - {key: db, value: old, version: v1}
    - {key: plain, value: canary-2}
    - {key: encoded, value: Y2FuYXJ5LTM=}
    - {key: map, valueMap: {a: "1", b: "2"}}
"""
ONE = "data: [{secretKey: p, remoteRef: {key: db, property: password}}]"


@pytest.fixture
async def http() -> AsyncIterator[Http]:
    async with Http() as made:
        yield made


class Given:
    """Resolves against a world."""

    def __init__(self, http: Http, world: World) -> None:
        self.http, self.world = http, world

    async def __call__(self, spec: str | ExternalSecret, **metadata: Any) -> Resolved:
        made = (
            spec
            if isinstance(spec, ExternalSecret)
            else external(f"secretStoreRef: {{name: main}}\n{spec}", **metadata)
        )
        return await resolve(made, self.world, templates=NoTemplates(), http=self.http)


@pytest.fixture
def run(http: Http) -> Given:
    return Given(http, World(a_store(FAKE)))


async def test_the_secret(run: Given) -> None:
    found = await run(ONE, labels={"team": "a"}, annotations={"note": "b", "kubectl.kubernetes.io/last-applied-configuration": "x", "taut.dev/owner": "y"}, uid="u-1")  # fmt: skip
    owner = {"apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret", "name": "db", "uid": "u-1"}
    assert found.secret == {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {
            "name": "db",
            "namespace": "shop",
            "labels": {"team": "a"},
            "annotations": {"note": "b"},
            "ownerReferences": [{**owner, "controller": True, "blockOwnerDeletion": True}],
        },
        "data": {"p": "Y2FuYXJ5LTE="},
    }
    assert (found.action, found.content, found.missing) == (Action.APPLY, {"p": b"canary-1"}, ())
    assert "canary" not in repr(found)
    assert "Y2Fu" not in repr(found)


async def test_an_orphan_has_no_owner_and_immutable_is_said(run: Given) -> None:
    found = await run(f"target: {{creationPolicy: Orphan, immutable: true, name: other}}\n{ONE}", uid="u-1")
    assert found.secret is not None
    assert found.secret["metadata"] == {"name": "other", "namespace": "shop"}
    assert found.secret["immutable"] is True


@pytest.mark.parametrize(
    ("spec", "content"),
    [
        ("data: [{secretKey: a, remoteRef: {key: db, version: v1}}]", {"a": b"old"}),
        ("data: [{secretKey: a, remoteRef: {key: encoded, decodingStrategy: Base64}}]", {"a": b"canary-3"}),
        ("data: [{secretKey: a, remoteRef: {key: map, property: b}}]", {"a": b"2"}),
        ("dataFrom: [{extract: {key: db}}]", {"user": b"shop", "password": b"canary-1", "n": b"5"}),
        ("dataFrom: [{extract: {key: map}}, {extract: {key: db}}]", {"a": b"1", "b": b"2", "user": b"shop", "password": b"canary-1", "n": b"5"}),
        ("dataFrom: [{extract: {key: map}}]\ndata: [{secretKey: a, remoteRef: {key: plain}}]", {"a": b"canary-2", "b": b"2"}),
        ("dataFrom: [{find: {name: {regexp: ^pl}}}]", {"plain": b"canary-2"}),
        ("dataFrom: [{find: {name: {regexp: ^enc}, decodingStrategy: Auto}}]", {"encoded": b"canary-3"}),
    ],
)  # fmt: skip
async def test_values(run: Given, spec: str, content: dict[str, bytes]) -> None:
    assert (await run(spec)).content == content


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("data: [{secretKey: a, remoteRef: {key: gone}}]", ["SecretStore shop/main (fake), key gone", "no such key", "spec.data[0]", "deletionPolicy Retain"]),
        ("data: [{secretKey: a, remoteRef: {key: db, version: v9}}]", ["no such key of version v9"]),
        ("data: [{secretKey: a, remoteRef: {key: db, property: nope}}]", ["key db, property nope: there is no property nope"]),
        ("data: [{secretKey: a, remoteRef: {key: plain, property: nope}}]", ["the value is no JSON"]),
        ("data: [{secretKey: a, remoteRef: {key: plain, decodingStrategy: Base64}}]", ["key plain: the value is no base64"]),
        ("dataFrom: [{extract: {key: plain}}]", ["the value is no JSON object", "spec.dataFrom[0]"]),
        ("dataFrom: [{find: {name: {regexp: '('}}}]", ["find names like (", "cannot be read"]),
        ("dataFrom: [{find: {tags: {a: b}}}]", ["find tags a=b", "has no tags"]),
        ("data: [{secretKey: a/b, remoteRef: {key: plain}}]", ["no Secret can have a key 'a/b'"]),
        ("data: [{secretKey: a, remoteRef: {key: plain}, sourceRef: {storeRef: {name: nope}}}]", ["SecretStore shop/nope: there is no such store"]),
        ("data: [{secretKey: a, remoteRef: {key: plain}, sourceRef: {storeRef: {name: main, kind: ClusterSecretStore}}}]", ["ClusterSecretStore main: there is no such store"]),
    ],
)  # fmt: skip
async def test_what_fails_names_store_key_and_place_and_no_value(run: Given, spec: str, said: list[str]) -> None:
    with pytest.raises(ExternalError) as caught:
        await run(spec)
    text = str(caught.value)
    assert all(part in text for part in ["apps/secrets.yaml:3", *said]), text
    assert "canary" not in text
    assert "canary" not in repr(caught.value)


@pytest.mark.parametrize(
    ("policy", "there", "action"),
    [("Delete", True, Action.DELETE), ("Delete", False, Action.NOTHING), ("Merge", True, Action.APPLY), ("Merge", False, Action.APPLY)],
)  # fmt: skip
async def test_all_keys_are_gone(run: Given, policy: str, there: bool, action: Action) -> None:
    if there:
        run.world.secrets["shop/db"] = a_secret({"a": "old"})
    spec = f"target: {{deletionPolicy: {policy}}}\ndata: [{{secretKey: a, remoteRef: {{key: gone}}}}]\ndataFrom: [{{extract: {{key: away}}}}]"
    found = await run(spec)
    assert (found.action, found.content) == (action, {})
    assert found.missing == ("SecretStore shop/main (fake), key away", "SecretStore shop/main (fake), key gone")
    if action is Action.APPLY:
        assert found.secret is not None
        assert found.secret["data"] == {}


@pytest.mark.parametrize("policy", ["Delete", "Merge"])
async def test_one_key_of_two_is_gone(run: Given, policy: str) -> None:
    run.world.secrets["shop/db"] = a_secret({"a": "old", "p": "old"})
    found = await run(
        f"target: {{deletionPolicy: {policy}}}\ndata: [{{secretKey: p, remoteRef: {{key: plain}}}}, {{secretKey: a, remoteRef: {{key: gone}}}}]"
    )
    assert (found.action, found.content) == (Action.APPLY, {"p": b"canary-2"})


async def test_a_property_that_is_gone_is_an_error_under_every_policy(run: Given) -> None:
    with pytest.raises(ExternalError, match="there is no property gone"):
        await run("target: {deletionPolicy: Delete}\ndata: [{secretKey: p, remoteRef: {key: db, property: gone}}]")


async def test_nothing_found_keeps_what_is_there(run: Given) -> None:
    spec = "dataFrom: [{find: {name: {regexp: ^none$}}}]"
    assert (await run(spec)).action is Action.NOTHING
    run.world.secrets["shop/db"] = a_secret({"a": "old"})
    assert (await run(spec)).action is Action.KEEP


async def test_merging(run: Given) -> None:
    spec = f"target: {{creationPolicy: Merge}}\n{ONE}"
    found = await run(spec)
    assert (found.action, found.secret) == (Action.NOTHING, None)
    assert "needs Secret shop/db" in found.why
    run.world.secrets["shop/db"] = a_secret({"other": "x"}, type="kubernetes.io/tls")
    found = await run(spec, uid="u-1")
    assert found.secret is not None
    assert (found.action, found.secret["data"], "type" in found.secret) == (Action.MERGE, {"p": "Y2FuYXJ5LTE="}, False)
    assert "ownerReferences" not in found.secret["metadata"]


async def test_create_or_merge(run: Given) -> None:
    spec = f"target: {{creationPolicy: CreateOrMerge}}\n{ONE}"
    found = await run(spec)
    assert found.secret is not None
    assert (found.action, found.secret["type"]) == (Action.APPLY, "Opaque")
    run.world.secrets["shop/db"] = a_secret({"other": "x"})
    assert (await run(spec)).action is Action.MERGE


async def test_none_makes_no_secret_but_is_read(run: Given) -> None:
    found = await run(f"target: {{creationPolicy: None}}\n{ONE}")
    assert (found.action, found.secret, found.content) == (Action.NOTHING, None, {"p": b"canary-1"})
    with pytest.raises(ExternalError, match="no such key"):
        await run("target: {creationPolicy: None}\ndata: [{secretKey: a, remoteRef: {key: gone}}]")


async def test_a_secret_of_another_owner_is_left_alone(run: Given) -> None:
    owner = {"apiVersion": "external-secrets.io/v1beta1", "kind": "ExternalSecret", "name": "db", "controller": True}
    run.world.secrets["shop/db"] = a_secret({}, metadata={"ownerReferences": [owner]})
    assert (await run(ONE)).action is Action.APPLY
    run.world.secrets["shop/db"] = a_secret({}, metadata={"ownerReferences": [{**owner, "name": "other"}]})
    with pytest.raises(ExternalError, match=r"Secret shop/db belongs to ExternalSecret other"):
        await run(ONE)
    run.world.secrets["shop/db"] = a_secret(
        {}, metadata={"ownerReferences": [{**owner, "apiVersion": "v1", "kind": "Pod"}]}
    )
    with pytest.raises(ExternalError, match="belongs to Pod db"):
        await run(ONE)
    assert (await run(f"target: {{creationPolicy: Merge}}\n{ONE}")).action is Action.MERGE


async def test_an_immutable_secret_is_kept(run: Given) -> None:
    run.world.secrets["shop/db"] = a_secret({"p": "old"}, immutable=True)
    found = await run(ONE)
    assert (found.action, found.secret) == (Action.KEEP, None)
    assert "immutable" in found.why
    gone = "target: {deletionPolicy: Delete}\ndata: [{secretKey: a, remoteRef: {key: gone}}]"
    assert (await run(gone)).action is Action.DELETE


async def test_a_secret_has_a_bound(http: Http) -> None:
    big = "x" * 600_000
    run = Given(http, World(a_store(f"fake: {{data: [{{key: a, value: {big}}}]}}")))
    one = "{secretKey: a, remoteRef: {key: a}}"
    assert (await run(f"data: [{one}]")).action is Action.APPLY
    with pytest.raises(ExternalError, match="would hold 1200000 bytes"):
        await run(f"data: [{one}, {{secretKey: b, remoteRef: {{key: a}}}}]")


class TestWhoMayAsk:
    """Stores and the Secrets they name."""

    def world(self, store: Store) -> World:
        return World(store)

    async def test_conditions_of_a_cluster_wide_store(self, http: Http) -> None:
        store = a_store(FAKE, "ClusterSecretStore", conditions=[{"namespaceSelector": {"matchLabels": {"team": "x"}}}])
        run = Given(http, World(store))
        made = external(f"secretStoreRef: {{name: main, kind: ClusterSecretStore}}\n{ONE}")
        with pytest.raises(
            ExternalError, match=r"ClusterSecretStore main \(fake\): namespace shop may not use this store"
        ):
            await run(made)
        run.world.namespaces["shop"] = {"metadata": {"labels": {"team": "x"}}}
        assert (await run(made)).action is Action.APPLY

    @pytest.mark.parametrize(
        ("kind", "namespace", "reads"),
        [("SecretStore", "", "shop/token"), ("SecretStore", "shop", "shop/token"), ("ClusterSecretStore", "", "shop/token"), ("ClusterSecretStore", "vault", "vault/token")],
    )  # fmt: skip
    async def test_where_a_store_reads_its_secrets(self, http: Http, kind: str, namespace: str, reads: str) -> None:
        ref = f"{{name: token, key: t{f', namespace: {namespace}' if namespace else ''}}}"
        store = a_store(f"kubernetes: {{remoteNamespace: far, auth: {{token: {{bearerToken: {ref}}}}}}}", kind)
        run = Given(http, World(store))
        run.world.remote["far/db"] = a_secret({"password": "canary-1"})
        made = external(f"secretStoreRef: {{name: main, kind: {kind}}}\n{ONE}")
        with pytest.raises(ExternalError, match=f"the store needs Secret {reads}, and there is none"):
            await run(made)
        run.world.secrets[reads] = a_secret({"t": "token-1\n"})
        assert (await run(made)).content == {"p": b"canary-1"}
        assert run.world.asked[0][0].token == "token-1"
        assert "token-1" not in repr(run.world.asked)

    async def test_a_store_of_a_namespace_reads_no_other(self, http: Http) -> None:
        store = a_store("kubernetes: {auth: {token: {bearerToken: {name: token, key: t, namespace: kube-system}}}}")
        run = Given(http, World(store))
        run.world.secrets["kube-system/token"] = a_secret({"t": "canary"})
        with pytest.raises(ExternalError, match="a SecretStore cannot read namespace kube-system"):
            await run(ONE)
        assert not run.world.asked

    async def test_a_key_of_the_secret_that_is_missing(self, http: Http) -> None:
        run = Given(http, World(a_store("kubernetes: {auth: {token: {bearerToken: {name: token, key: t}}}}")))
        run.world.secrets["shop/token"] = a_secret({"other": "canary"})
        with pytest.raises(ExternalError, match="Secret shop/token has no key 't'"):
            await run(ONE)

    async def test_taut_lends_its_rights_to_nobody(self, http: Http) -> None:
        with pytest.raises(ExternalError, match="taut lends its own rights to nobody"):
            await Given(http, World(a_store("kubernetes: {}")))(ONE)
        with pytest.raises(ExternalError, match="lends its own to nobody"):
            await Given(http, World(a_store("aws: {service: SecretsManager, region: eu-central-1}")))(ONE)


class TestKubernetes:
    """Secrets of a cluster, through the asker."""

    @pytest.fixture
    def run(self, http: Http) -> Given:
        provider = "kubernetes: {remoteNamespace: far, auth: {serviceAccount: {name: reader, audiences: [api]}}}"
        given = Given(http, World(a_store(provider)))
        given.world.tokens["shop/reader"] = "token-2"
        given.world.remote = {
            "far/db": a_secret(
                {
                    "password": "canary-1",
                    "json": '{"a": {"b": 1}}',
                    "file.txt": "dotted",
                    "bin": b"\xff",
                    "nul": b"canary\x00",
                },
                metadata={"name": "db", "labels": {"team": "a"}, "annotations": {"x.y/z": "note"}},
            ),
            "far/dc": a_secret({"k": "<v>"}, metadata={"name": "dc"}),
        }
        return given

    @pytest.mark.parametrize(
        ("ref", "wanted"),
        [
            ("{key: db, property: password}", b"canary-1"),
            ("{key: db, property: file.txt}", b"dotted"),
            ("{key: db, property: json.a.b}", b"1"),
            ("{key: db, property: bin}", b"\xff"),
            ("{key: db, property: nul}", b"canary\x00"),
            ("{key: db, property: bin, nullBytePolicy: Fail}", b"\xff"),
            ("{key: dc}", b'{"k":"<v>"}'),
            ("{key: db, metadataPolicy: Fetch, property: labels.team}", b"a"),
            ("{key: db, metadataPolicy: Fetch, property: annotations.x.y/z}", b"note"),
            ("{key: db, metadataPolicy: Fetch, property: labels}", b'{"team":"a"}'),
            ("{key: dc, metadataPolicy: Fetch}", b'{"annotations":{},"labels":{}}'),
        ],
    )
    async def test_one_value(self, run: Given, ref: str, wanted: bytes) -> None:
        assert (await run(f"data: [{{secretKey: p, remoteRef: {ref}}}]")).content == {"p": wanted}
        assert run.world.audiences == [("api",)]
        assert run.world.asked[0][0].token == "token-2"

    @pytest.mark.parametrize(
        ("many", "wanted"),
        [
            ("extract: {key: db}", {"password", "json", "file.txt", "bin", "nul"}),
            ("extract: {key: db, property: json}", {"a"}),
            ("extract: {key: db, metadataPolicy: Fetch}", {"labels", "annotations"}),
            ("find: {name: {regexp: ^d}}", {"db", "dc"}),
            ("find: {tags: {team: a}}", {"db"}),
        ],
    )
    async def test_many(self, run: Given, many: str, wanted: set[str]) -> None:
        assert (await run(f"dataFrom: [{{{many}}}]")).content.keys() == wanted

    @pytest.mark.parametrize(
        ("ref", "said"),
        [
            ("{key: gone}", r"\(kubernetes\), key gone: there is no Secret far/gone"),
            ("{key: db, property: none}", "the Secret has no none"),
            ("{key: db, property: json.c}", r"the Secret has no json\.c"),
            ("{key: db, version: '2'}", "have no versions"),
            ("{key: db, property: nul, nullBytePolicy: Fail}", "property nul: the value holds null bytes"),
            ("{key: db, metadataPolicy: Fetch, property: spec}", "the Secret has no spec"),
        ],
    )
    async def test_what_is_not_there(self, run: Given, ref: str, said: str) -> None:
        with pytest.raises(ExternalError, match=said):
            await run(f"data: [{{secretKey: p, remoteRef: {ref}}}]")

    async def test_a_cluster_that_refuses(self, run: Given, monkeypatch: pytest.MonkeyPatch) -> None:
        async def refuse(*_: object) -> None:
            raise TargetError("the cluster refuses access", status=403, advice="give the right `get`")

        monkeypatch.setattr(run.world, "remote_secret", refuse)
        with pytest.raises(
            ExternalError, match=r"shop/main \(kubernetes\), key db, property password: the cluster refuses"
        ):
            await run(ONE)

    async def test_another_cluster_must_be_allowed(self, http: Http) -> None:
        provider = "kubernetes: {server: {url: 'https://k.example'}, auth: {token: {bearerToken: {name: t, key: t}}}}"
        world = World(a_store(provider))
        made = external(f"secretStoreRef: {{name: main}}\n{ONE}")
        with pytest.raises(ExternalError, match="stores may not ask this server"):
            await resolve(made, world, templates=NoTemplates(), http=http, options=Options(may_ask=lambda _: False))
        assert not world.asked


async def test_it_does_not_take_for_ever(http: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio

    world = World(a_store("kubernetes: {auth: {serviceAccount: {name: a}}}"))

    async def never(*_: object) -> str:
        await asyncio.sleep(60)
        return ""

    monkeypatch.setattr(world, "account_token", never)
    made = external(f"secretStoreRef: {{name: main}}\n{ONE}")
    with pytest.raises(ExternalError, match=r"takes longer than 0\.05 s"):
        await resolve(made, world, templates=NoTemplates(), http=http, options=Options(seconds=0.05))


async def test_errors_are_for_people(run: Given) -> None:
    with pytest.raises(TautError) as caught:
        await run("data: [{secretKey: a, remoteRef: {key: gone}}]")
    assert not isinstance(caught.value, BadInput)
    assert isinstance(caught.value, ExternalError)
    asked = caught.value.asked
    assert (asked.store, asked.provider, asked.key, asked.property) == ("SecretStore shop/main", "fake", "gone", "")
