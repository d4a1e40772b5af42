"""Against a real forge: private Git repositories, an OCI registry with tokens, a Helm repository."""

from __future__ import annotations

import secrets

import pytest

from servers.forge import Forge
from taut.clients.credentials import Credentials
from taut.model.application import Source
from taut.model.errors import SourceError

from .conftest import Held, MakeSources
from .packing import FLUX_CONFIG, FLUX_CONTENT, OCI_INDEX, OCI_MANIFEST, Pusher, chart, tgz

pytestmark = pytest.mark.integration


@pytest.fixture
def name() -> str:
    """The forge lives as long as the test process; each test has names of its own."""
    return f"x{secrets.token_hex(5)}"


def login(forge: Forge, password: str = "") -> Held:
    held = Credentials(username=forge.user, password=password or forge.password)
    return Held(**{forge.url: held, f"oci://{forge.registry}": held})


async def test_a_private_repository(make_sources: MakeSources, forge: Forge, name: str) -> None:
    url = forge.create_repository(name, private=True)
    sources = make_sources(login(forge))
    snapshot = await sources.resolve(Source(git=url), fetch=True)
    assert snapshot.tree.entry("README.md") is not None
    forge.api("POST", f"/repos/{forge.user}/{name}/contents/a.txt", {"content": "aGVsbG8=", "message": "add"})
    assert await sources.fetch(url) is True
    assert (await sources.resolve(Source(git=url), fetch=False)).tree.read("a.txt") == b"hello"
    by_token = Held(**{forge.url: Credentials(password=forge.token)})
    assert await make_sources(by_token).fetch(url) is False
    with pytest.raises(SourceError, match="does not accept the credentials"):
        await make_sources(login(forge, "wrong")).fetch(url)
    with pytest.raises(SourceError, match="wants credentials"):
        await make_sources().fetch(url)


async def test_charts_in_a_registry(make_sources: MakeSources, forge: Forge, name: str) -> None:
    push = Pusher(forge, name)
    for version in ("1.0.0", "1.1.0+build.5", "2.0.0", "3.0.0-rc.1"):
        push.chart(name, version)
    sources = make_sources(login(forge))
    registry = push.url.rpartition("/")[0]
    for wanted, expected in {
        "1.x": "1.1.0+build.5",
        None: "2.0.0",
        "*": "2.0.0",
        "~1.0": "1.0.0",
        ">=3.0.0-0": "3.0.0-rc.1",
    }.items():
        snapshot = await sources.chart(registry, name, wanted or "*")
        assert snapshot.tree.read("templates/cm.yaml") == f"# {name} {expected}\n".encode(), wanted
        assert snapshot.revision.id.startswith("sha256:")
    exact = await sources.resolve(Source(oci=push.url, ref="1.1.0+build.5"), fetch=True)
    assert exact.revision.label.startswith("1.1.0_build.5@")
    assert sources.tree(exact.url, exact.revision.id).hash == exact.tree.hash
    with pytest.raises(SourceError, match=r"no tag is in the range '7\.x'"):
        await sources.chart(registry, name, "7.x")
    with pytest.raises(SourceError, match=r"no tag '7\.0\.0'"):
        await sources.chart(registry, name, "7.0.0")


async def test_flux_artifacts(make_sources: MakeSources, forge: Forge, name: str) -> None:
    push = Pusher(forge, name)
    files = tgz({"deploy/app.yaml": "kind: ConfigMap\n", "./README": "x"})
    annotations = {"org.opencontainers.image.revision": "main@sha1:abc"}
    digest = push.artifact("latest", FLUX_CONFIG, (FLUX_CONTENT, files), **annotations)
    sources = make_sources()
    snapshot = await sources.resolve(Source(oci=push.url), fetch=True)
    assert (snapshot.revision.id, snapshot.revision.message) == (digest, "main@sha1:abc")
    assert [path for path, _ in snapshot.tree.walk("")] == ["README", "deploy/app.yaml"]
    assert (await sources.resolve(Source(oci=f"{push.url}@{digest}"), fetch=False)).tree.hash == snapshot.tree.hash
    assert (await sources.resolve(Source(oci=push.url, ref=digest), fetch=False)).revision.id == digest

    changed = push.artifact("latest", FLUX_CONFIG, (FLUX_CONTENT, tgz({"deploy/app.yaml": "kind: Secret\n"})))
    assert (await sources.resolve(Source(oci=push.url), fetch=False)).revision.id == digest
    assert (await sources.resolve(Source(oci=push.url), fetch=True)).revision.id == changed
    assert sources.tree(snapshot.url, digest).read("deploy/app.yaml") == b"kind: ConfigMap\n"


async def test_an_index_and_layers_that_lie_over_each_other(make_sources: MakeSources, forge: Forge, name: str) -> None:
    push = Pusher(forge, name)
    kind = "application/vnd.oci.image.layer.v1.tar+gzip"
    layers = ((kind, tgz({"a": "1", "b": "1"})), (kind, tgz({"b": "2"})))
    digest = push.artifact("v1", "application/vnd.oci.empty.v1+json", *layers)
    entry = {"mediaType": OCI_MANIFEST, "digest": digest, "size": 1}
    push.manifest("many", {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]})
    snapshot = await make_sources().resolve(Source(oci=push.url, ref="many"), fetch=True)
    assert snapshot.revision.id == digest
    assert {path: snapshot.tree.read(path) for path, _ in snapshot.tree.walk("")} == {"a": b"1", "b": b"2"}


async def test_what_a_registry_refuses(make_sources: MakeSources, forge: Forge, name: str) -> None:
    push = Pusher(forge, name)
    push.chart(name, "1.0.0")
    with pytest.raises(SourceError, match="does not accept the credentials"):
        await make_sources(login(forge, "wrong")).resolve(Source(oci=push.url, ref="1.0.0"), fetch=True)
    with pytest.raises(SourceError, match="no such repository, tag or digest"):
        await make_sources(login(forge)).resolve(Source(oci=push.url + "-not", ref="latest"), fetch=True)
    with pytest.raises(SourceError, match="no such repository, tag or digest"):
        await make_sources(login(forge)).resolve(Source(oci=push.url, ref="nothing"), fetch=True)


async def test_the_forges_helm_repository(make_sources: MakeSources, forge: Forge, name: str) -> None:
    for version in ("1.0.0", "1.2.0", "2.0.0-beta.1"):
        forge.upload_chart(chart(name, version))
    sources = make_sources(login(forge))
    snapshot = await sources.resolve(Source(helm=forge.helm_repository, chart=name, version="1.x"), fetch=True)
    assert (snapshot.revision.id, snapshot.tree.read("templates/cm.yaml")) == ("1.2.0", f"# {name} 1.2.0\n".encode())
    assert sources.tree(snapshot.url, "1.2.0").hash == snapshot.tree.hash
    assert (await sources.chart(forge.helm_repository, name, ">=2.0.0-0")).revision.id == "2.0.0-beta.1"
