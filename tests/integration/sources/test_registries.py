"""Registries that lie, leak or never end: an adversary's answers, which no real registry gives."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web

from taut.clients.credentials import Credentials
from taut.clients.oci import parse_reference
from taut.model.application import Source
from taut.model.errors import SourceError

from .conftest import Held, MakeSources, Server
from .packing import FLUX_CONFIG, FLUX_CONTENT, OCI_INDEX, OCI_MANIFEST, descriptor, sha256, tgz

pytestmark = pytest.mark.integration
type Serve = Callable[..., Awaitable[Server]]
LAYER = tgz({"a.yaml": "a: 1\n"})


def manifest(**changes: object) -> bytes:
    body = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(FLUX_CONFIG, b"{}"),
        "layers": [descriptor(FLUX_CONTENT, LAYER)],
        **changes,
    }
    return json.dumps(body).encode()


def registry(
    answers: dict[str, web.Response | Callable[[web.Request], web.Response]],
) -> Callable[..., Awaitable[web.StreamResponse]]:
    async def handle(_: Server, request: web.Request) -> web.StreamResponse:
        answer = answers.get("/" + request.match_info["path"])
        if answer is None:
            return web.Response(status=404)
        return (
            answer(request)
            if callable(answer)
            else web.Response(status=answer.status, body=answer.body, headers=answer.headers)
        )

    return handle


def ok(body: bytes, **headers: str) -> web.Response:
    return web.Response(body=body, headers={name.replace("_", "-"): value for name, value in headers.items()})


async def read(
    make_sources: MakeSources, server: Server, ref: str = "v1", held: Held | None = None
) -> dict[str, bytes]:
    address = f"oci://127.0.0.1:{server.port}/team/app"
    snapshot = await make_sources(held).resolve(Source(oci=address, ref=ref), fetch=True)
    return {path: snapshot.tree.read(path) for path, _ in snapshot.tree.walk("")}


def blob_path(data: bytes) -> str:
    return f"/v2/team/app/blobs/{sha256(data)}"


async def test_an_honest_one(make_sources: MakeSources, serve: Serve) -> None:
    server = await serve(registry({"/v2/team/app/manifests/v1": ok(manifest()), blob_path(LAYER): ok(LAYER)}))
    assert await read(make_sources, server) == {"a.yaml": b"a: 1\n"}


@pytest.mark.parametrize(
    ("answers", "ref", "words"),
    [
        (
            {"/v2/team/app/manifests/v1": ok(manifest()), blob_path(LAYER): ok(LAYER + b"x")},
            "v1",
            "does not have the digest",
        ),
        (
            {"/v2/team/app/manifests/v1": ok(manifest(), Docker_Content_Digest=sha256(b"x"))},
            "v1",
            "does not have its digest",
        ),
        ({f"/v2/team/app/manifests/{sha256(b'x')}": ok(manifest())}, sha256(b"x"), "does not have its digest"),
        ({"/v2/team/app/manifests/v1": ok(b"[]")}, "v1", "no JSON object"),
        ({"/v2/team/app/manifests/v1": ok(b"<html>")}, "v1", "no JSON object"),
        ({"/v2/team/app/manifests/v1": ok(b"{}")}, "v1", "no layers"),
        ({"/v2/team/app/manifests/v1": ok(manifest(layers=[]))}, "v1", "holds no files"),
        (
            {"/v2/team/app/manifests/v1": ok(manifest(layers=[{"mediaType": FLUX_CONTENT, "digest": "../../evil"}]))},
            "v1",
            "unknown form",
        ),
        (
            {"/v2/team/app/manifests/v1": ok(manifest(layers=[{**descriptor(FLUX_CONTENT, LAYER), "size": 2**40}]))},
            "v1",
            "larger than",
        ),
        ({"/v2/team/app/manifests/v1": ok(manifest(mediaType=OCI_INDEX, manifests=[]))}, "v1", "lists no manifest"),
        (
            {
                "/v2/team/app/manifests/v1": ok(manifest(layers=[descriptor("text/plain", LAYER)])),
                blob_path(LAYER): ok(LAYER),
            },
            "v1",
            "are not read",
        ),
        ({"/v2/team/app/tags/list": ok(b'{"tags": null}')}, "1.x", "no tag is in the range"),
        ({"/v2/team/app/tags/list": ok(b"{}", Link='</v2/team/app/tags/list?n=1>; rel="next"')}, "1.x", "has no end"),
        ({"/v2/team/app/tags/list": ok(b"{}", Link='<http://127.0.0.2/v2/x>; rel="next"')}, "1.x", "another server"),
        ({}, "latest", "no such repository, tag or digest"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
async def test_dishonest_ones(
    make_sources: MakeSources, serve: Serve, answers: dict[str, web.Response], ref: str, words: str
) -> None:
    server = await serve(registry({**answers}))
    with pytest.raises(SourceError, match=words):
        await read(make_sources, server, ref)


async def test_pages_of_tags(make_sources: MakeSources, serve: Serve) -> None:
    def pages(request: web.Request) -> web.Response:
        last = request.query.get("last")
        body = {"tags": ["1.0.0", "1.5.0"] if last is None else ["1.9.0", "2.0.0"]}
        headers = {} if last else {"Link": '</v2/team/app/tags/list?last=1.5.0&n=2>; rel="next"'}
        return web.json_response(body, headers=headers)

    server = await serve(
        registry(
            {
                "/v2/team/app/tags/list": pages,
                "/v2/team/app/manifests/1.9.0": ok(manifest()),
                blob_path(LAYER): ok(LAYER),
            }
        )
    )
    assert await read(make_sources, server, "1.x") == {"a.yaml": b"a: 1\n"}


async def test_single_files_with_a_title(make_sources: MakeSources, serve: Serve) -> None:
    data = b"kind: Namespace\n"
    title = {"org.opencontainers.image.title": "ns.yaml"}
    body = manifest(layers=[descriptor("application/yaml", data, **title)])
    server = await serve(registry({"/v2/team/app/manifests/v1": ok(body), blob_path(data): ok(data)}))
    assert await read(make_sources, server) == {"ns.yaml": data}


@pytest.mark.parametrize("scheme", ["Bearer", "Basic"])
async def test_tokens_and_passwords_go_where_they_belong(make_sources: MakeSources, serve: Serve, scheme: str) -> None:
    """The password goes to the place to sign in, the token to the registry, and neither to where the blobs are."""
    storage = await serve(registry({"/blob": ok(LAYER)}))
    wanted = {"Bearer": "Bearer t0ken", "Basic": "Basic bWU6aHVudGVyMg=="}[scheme]

    def guarded(answer: web.Response) -> Callable[[web.Request], web.Response]:
        def handle(request: web.Request) -> web.Response:
            if request.headers.get("Authorization") == wanted:
                return web.Response(status=answer.status, body=answer.body, headers=answer.headers)
            realm = f'Bearer realm="http://{request.host}/token",service="s",scope="repository:team/app:pull"'
            return web.Response(
                status=401, headers={"WWW-Authenticate": realm if scheme == "Bearer" else 'Basic realm="x"'}
            )

        return handle

    def token(request: web.Request) -> web.Response:
        assert dict(request.query) == {"service": "s", "scope": "repository:team/app:pull"}
        if request.headers.get("Authorization") != "Basic bWU6aHVudGVyMg==":
            return web.Response(status=401)
        return web.json_response({"token": "t0ken", "expires_in": 300})

    away = web.Response(status=307, headers={"Location": f"{storage.url}/blob"})
    server = await serve(
        registry(
            {"/token": token, "/v2/team/app/manifests/v1": guarded(ok(manifest())), blob_path(LAYER): guarded(away)}
        )
    )
    held = Held(**{f"oci://127.0.0.1:{server.port}": Credentials(username="me", password="hunter2")})
    assert await read(make_sources, server, held=held) == {"a.yaml": b"a: 1\n"}
    assert [request.authorization for request in storage.requests] == [""]
    with pytest.raises(SourceError, match=r"wants credentials, and there are none|does not accept"):
        await read(make_sources, server)


async def test_a_password_is_not_sent_to_a_realm_without_tls(
    make_sources: MakeSources, serve: Serve, tmp_path: object
) -> None:
    thief = await serve(registry({}))
    challenge = {"WWW-Authenticate": f'Bearer realm="ftp://127.0.0.1:{thief.port}/token"'}
    server = await serve(registry({"/v2/team/app/manifests/v1": web.Response(status=401, headers=challenge)}))
    held = Held(**{f"oci://127.0.0.1:{server.port}": Credentials(username="me", password="hunter2")})
    with pytest.raises(SourceError, match="without TLS"):
        await read(make_sources, server, held=held)
    assert thief.requests == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "oci://",
        "oci://host",
        "oci://host/UPPER",
        "oci://host/a b",
        "oci://host/../x",
        "oci://host/a@sha256:short",
        "oci://-/a:b:c",
    ],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(SourceError, match="no OCI address"):
        parse_reference(text)


def test_addresses() -> None:
    found = parse_reference("oci://127.0.0.1:5000/team/app:1.0@sha256:" + "a" * 64)
    assert (found.registry, found.repository, found.tag, found.digest) == (
        "127.0.0.1:5000",
        "team/app",
        "1.0",
        "sha256:" + "a" * 64,
    )
    assert parse_reference("ghcr.io/org/app").url == "oci://ghcr.io/org/app"
