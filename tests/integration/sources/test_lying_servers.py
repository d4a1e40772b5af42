"""Servers that lie without end: a pack, layers that add up, places on this machine."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import tarfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web

from integration.sources.conftest import MakeSources, Server
from integration.sources.packing import FLUX_CONFIG, FLUX_CONTENT, OCI_MANIFEST, descriptor, sha256
from taut.model.application import Source
from taut.model.errors import SourceError
from taut.sources.archive import ArchiveLimits
from taut.sources.helm_index import chart_url
from taut.sources.service import SourceLimits

pytestmark = pytest.mark.integration
type Serve = Callable[..., Awaitable[Server]]
COMMIT = "1" * 40


def line(text: str) -> bytes:
    """A packet line."""
    return f"{len(text) + 4:04x}{text}".encode()


async def endless(_: Server, request: web.Request) -> web.StreamResponse:
    """A Git server whose pack has no end."""
    if request.method == "GET":
        refs = f"{COMMIT} HEAD\0symref=HEAD:refs/heads/main side-band-64k ofs-delta agent=git/2\n"
        body = (
            line("# service=git-upload-pack\n") + b"0000" + line(refs) + line(f"{COMMIT} refs/heads/main\n") + b"0000"
        )
        return web.Response(body=body, content_type="application/x-git-upload-pack-advertisement")
    answer = web.StreamResponse(headers={"Content-Type": "application/x-git-upload-pack-result"})
    await answer.prepare(request)
    await answer.write(line("NAK\n"))
    # A thousand objects; the first is a blob of many gigabytes that never ends.
    start = b"\1PACK\0\0\0\2\0\0\x03\xe8" + b"\xbf\xff\xff\xff\xff\x0f\x78\x01"
    await answer.write(f"{len(start) + 4:04x}".encode() + start)
    stored = b"\0\xff\xff\0\0" + bytes(65535)  # a block of zlib that is stored as it is, and not the last
    try:
        while True:
            for at in range(0, len(stored), 32000):
                piece = b"\1" + stored[at : at + 32000]
                await answer.write(f"{len(piece) + 4:04x}".encode() + piece)
    except (ConnectionError, asyncio.CancelledError):
        return answer


@pytest.mark.parametrize("bound", ["time", "size"])
async def test_a_pack_without_end_is_left_and_leaves_nothing(
    serve: Serve, make_sources: MakeSources, tmp_path: Path, bound: str
) -> None:
    server = await serve(endless)
    limits = SourceLimits(git_timeout=4.0) if bound == "time" else SourceLimits(git_timeout=60.0, pack_bytes=8 << 20)
    sources = make_sources(limits=limits)
    said = "did not answer within 4 s" if bound == "time" else "more than 8 MiB"
    for _ in range(2):
        with pytest.raises(SourceError, match=said):
            await sources.resolve(Source(git=f"{server.url}/x.git", ref="main"), fetch=True, allowed=lambda _: True)
        left = [f for f in (tmp_path / "taut").rglob("*") if f.name.startswith("tmp_") or f.suffix == ".pack"]
        assert not left


def bomb(size: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo(f"{size}.yaml")
        info.size = size
        archive.addfile(info, io.BytesIO(bytes(size)))
    return gzip.compress(buffer.getvalue(), mtime=0)


@pytest.mark.parametrize(("count", "said"), [(30, "too large"), (300, "more than 200 layers")])
async def test_layers_that_add_up(serve: Serve, make_sources: MakeSources, count: int, said: str) -> None:
    """Each layer is within the limits and says that it is smaller than nothing; together they are not."""
    blobs = {sha256(data): data for data in (bomb(100_000 + n) for n in range(count))}
    layers = [{**descriptor(FLUX_CONTENT, data), "size": -(1 << 40)} for data in blobs.values()]
    config = b"{}"
    blobs[sha256(config)] = config
    body = json.dumps(
        {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": descriptor(FLUX_CONFIG, config), "layers": layers}
    ).encode()

    async def registry(_: Server, request: web.Request) -> web.StreamResponse:
        kind, _, what = request.path.rpartition("/")
        if kind.endswith("manifests"):
            return web.Response(body=body, content_type=OCI_MANIFEST)
        return web.Response(body=blobs.get(what, b"{}"))

    server = await serve(registry)
    sources = make_sources(limits=SourceLimits(archive=ArchiveLimits(total=1 << 20)))
    source = Source(oci=f"oci://127.0.0.1:{server.port}/x", ref="v1")
    with pytest.raises(SourceError, match=said):
        await sources.resolve(source, fetch=True, allowed=lambda _: True)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9/x.tgz", "http://localhost/x.tgz", "oci://[::1]/x", "//127.0.0.1/x"]
)
def test_an_index_does_not_lead_to_this_machine(url: str) -> None:
    with pytest.raises(SourceError, match="on this machine"):
        chart_url("https://charts.example.test/stable", url)
    assert chart_url("http://127.0.0.1:8080/stable", url)
