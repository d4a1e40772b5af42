"""The floor of a cold sync: render every folder with kustomize, apply everything over 32 connections, wait until the Deployments are ready.

It has none of a controller's duties: no order, no inventory, no health, no safety. It shows what the machine and the API server allow.

usage: python -m bench.floor URL CA_FILE REPOSITORY KUSTOMIZE      (the token is in $FLOOR_TOKEN; prints JSON)
"""

from __future__ import annotations

import asyncio
import os
import resource
import ssl
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import yaml

from bench.repositories import NAMESPACE

_CONNECTIONS = 32
_COLLECTIONS = {"Deployment": "apis/apps/v1", "Service": "api/v1", "ConfigMap": "api/v1"}


class Floor:
    """One run. `seconds` and `cpu` are what it took."""

    def __init__(self, http: aiohttp.ClientSession, url: str, kustomize: str) -> None:
        self._http, self._url, self._kustomize = http, url, kustomize
        self._renders = asyncio.Semaphore(os.cpu_count() or 1)

    async def folder(self, folder: Path) -> int:
        """Render and apply one folder; the answer is how many objects it has."""
        async with self._renders:
            child = await asyncio.create_subprocess_exec(
                self._kustomize, "build", str(folder), stdout=asyncio.subprocess.PIPE
            )
            out, _ = await child.communicate()
        found = [o for o in yaml.load_all(out, yaml.CSafeLoader) if o]
        await asyncio.gather(*map(self._apply, found))
        return len(found)

    async def _apply(self, found: dict[str, Any]) -> None:
        kind = found["kind"]
        path = f"{_COLLECTIONS[kind]}/namespaces/{NAMESPACE}/{kind.lower()}s/{found['metadata']['name']}"
        async with self._http.patch(
            f"{self._url}/{path}?fieldManager=floor&force=true",
            data=orjson.dumps(found),
            headers={"Content-Type": "application/apply-patch+yaml"},
        ) as answer:
            answer.raise_for_status()
            await answer.read()

    async def ready(self) -> int:
        """How many Deployments have a replica that is ready."""
        path = f"apis/apps/v1/namespaces/{NAMESPACE}/deployments?resourceVersion=0"
        async with self._http.get(f"{self._url}/{path}") as answer:
            items = orjson.loads(await answer.read())["items"]
        return sum(i["status"].get("readyReplicas", 0) >= 1 for i in items)


async def _main(url: str, ca_file: str, repository: str, kustomize: str) -> None:
    tls = ssl.create_default_context(cafile=ca_file)
    tls.verify_flags &= ~ssl.VERIFY_X509_STRICT
    folders = sorted((Path(repository) / "apps").iterdir())
    start = time.monotonic()
    headers = {"Authorization": f"Bearer {os.environ['FLOOR_TOKEN']}", "User-Agent": "floor"}
    connector = aiohttp.TCPConnector(ssl=tls, limit=_CONNECTIONS)
    async with aiohttp.ClientSession(headers=headers, connector=connector) as http:
        floor = Floor(http, url, kustomize)
        count = sum(await asyncio.gather(*map(floor.folder, folders)))
        applied = time.monotonic() - start
        while await floor.ready() < len(folders):  # noqa: ASYNC110 (a server is asked: there is no event to wait for)
            await asyncio.sleep(0.5)
    seconds = time.monotonic() - start
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu = sum(u.ru_utime + u.ru_stime for u in used)
    peak = used[0].ru_maxrss / 1024
    sys.stdout.buffer.write(
        orjson.dumps({"objects": count, "applied": applied, "seconds": seconds, "cpu": cpu, "memory": peak})
    )


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:5]))
