"""A repository that means harm: each application fails with a sentence, and the next one renders."""

from __future__ import annotations

import pytest

from taut.model.application import HelmOptions, Source
from taut.model.errors import BadInput, RenderError, TautError
from taut.prison.limits import Limits
from taut.render.engine import RenderEngine, RenderJob, RenderSource

pytestmark = pytest.mark.integration

GOOD = {
    "good/kustomization.yaml": "resources: [a.yaml]\n",
    "good/a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n",
}
CHART = {"chart/Chart.yaml": "apiVersion: v2\nname: c\nversion: 1.0.0\n"}
BOMB = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{after}: &{after} [{','.join(['*' + before] * 10)}]\n"
    for before, after in zip("abcdefgh", "bcdefghi", strict=True)
)


def job(snapshot, path: str, **options) -> RenderJob:
    return RenderJob("app", "ns", (RenderSource(Source(path=path, **options), snapshot),))


async def still_works(engine: RenderEngine, plant) -> None:
    rendered = await engine.render(job(plant(GOOD), "good"))
    assert [m.name for m in rendered.manifests] == ["a"]


@pytest.mark.parametrize("where", ["plain", "resource", "kustomization", "values", "template"])
async def test_aliases_that_explode(plant, engine: RenderEngine, where: str) -> None:
    document = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: bomb}\n" + BOMB
    files = {
        "plain": ({"app/a.yaml": document}, "app"),
        "resource": ({"app/kustomization.yaml": "resources: [a.yaml]\n", "app/a.yaml": document}, "app"),
        "kustomization": ({"app/kustomization.yaml": "resources: []\n" + BOMB}, "app"),
        "values": ({**CHART, "v.yaml": BOMB}, "chart"),
        "template": ({**CHART, "chart/templates/a.yaml": document}, "chart"),
    }[where]
    options = {"helm_options": HelmOptions(value_files=("/v.yaml",))} if where == "values" else {}
    with pytest.raises(TautError):
        await engine.render(job(plant(files[0]), files[1], **options))
    await still_works(engine, plant)


async def test_an_endless_template_is_stopped(plant) -> None:
    files = {
        **CHART,
        "chart/templates/a.yaml": '{{ define "x" }}{{ range until 100000 }}{{ range until 100000 }}{{ end }}{{ end }}{{ end }}{{ include "x" . }}',
    }
    async with RenderEngine(limits=Limits(wall_seconds=2)) as engine:
        with pytest.raises(RenderError, match=r"longer than 2 s|memory"):
            await engine.render(job(plant(files), "chart"))
        await still_works(engine, plant)


async def test_a_template_that_eats_memory_is_stopped(plant) -> None:
    files = {
        **CHART,
        "chart/templates/a.yaml": '{{ $x := "xxxxxxxxxxxxxxxx" }}{{ range until 40 }}{{ $x = printf "%s%s" $x $x }}{{ end }}a: {{ $x }}',
    }
    async with RenderEngine(limits=Limits(wall_seconds=60, memory_mb=400)) as engine:
        with pytest.raises(RenderError, match="more than 400 MB of memory"):
            await engine.render(job(plant(files), "chart"))
        await still_works(engine, plant)


async def test_jsonnet_that_eats_memory_is_stopped(plant) -> None:
    files = {
        "app/a.jsonnet": "local grow(s, n) = if n == 0 then s else grow(s + s, n - 1); {apiVersion: 'v1', kind: 'A', metadata: {name: grow('xxxxxxxxxxxxxxxx', 40)}}"
    }
    async with RenderEngine(limits=Limits(wall_seconds=60, memory_mb=400)) as engine:
        with pytest.raises(RenderError, match=r"memory|crashed"):
            await engine.render(job(plant(files), "app"))
        await still_works(engine, plant)


async def test_too_much_output(plant) -> None:
    files = {
        **CHART,
        "chart/templates/a.yaml": 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: {{ repeat 3000000 "x" }}}\n',
    }
    async with RenderEngine(limits=Limits(output_bytes=1 << 20)) as engine:
        with pytest.raises(TautError, match=r"MiB|bytes"):
            await engine.render(job(plant(files), "chart"))
        await still_works(engine, plant)


@pytest.mark.parametrize("path", ["plain", "kustomize", "chart"])
async def test_a_document_of_50_mb(plant, engine: RenderEngine, path: str) -> None:
    big = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: big}\ndata:\n  a: " + b"x" * (50 * 1024 * 1024) + b"\n"
    files = {
        "plain": {"plain/big.yaml": big},
        "kustomize": {"kustomize/kustomization.yaml": "resources: [big.yaml]\n", "kustomize/big.yaml": big},
        "chart": {**CHART, "chart/templates/big.yaml": big},
    }[path]
    with pytest.raises(TautError) as caught:
        await engine.render(job(plant(files), path))
    assert "Traceback" not in str(caught.value)
    await still_works(engine, plant)


async def test_a_file_larger_than_a_render_may_read_is_not_read(plant) -> None:
    async with RenderEngine(limits=Limits(file_bytes=1000)) as engine:
        with pytest.raises(BadInput, match="more than 1000") as caught:
            await engine.render(job(plant({**CHART, "chart/big.bin": b"x" * 1001}), "chart"))
    assert caught.value.where.file == "chart/big.bin"


async def test_a_worker_that_crashes_fails_only_its_job(plant, engine: RenderEngine) -> None:
    await still_works(engine, plant)
    import os
    import signal

    os.killpg(engine._pool.pids[0], signal.SIGKILL)
    await still_works(engine, plant)
    files = {"app/a.jsonnet": "std.foldl(function(a, b) a + a, std.range(1, 60), 'x')"}
    with pytest.raises(RenderError):
        await engine.render(job(plant(files), "app"))
    await still_works(engine, plant)


async def test_idle_workers_end_and_closing_ends_the_rest(plant) -> None:
    import asyncio

    async with RenderEngine(idle_seconds=0.2) as engine:
        await still_works(engine, plant)
        async with asyncio.timeout(30):
            while engine._pool.pids:
                await asyncio.sleep(0.05)
        await engine.render(job(plant({**GOOD, "good/a.yaml": GOOD["good/a.yaml"] + "data: {b: c}\n"}), "good"))
        (left,) = engine._pool.pids
    assert not _exists(left)


def _exists(pid: int) -> bool:
    import os

    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_cancelled_render_leaves_no_worker_in_a_bad_state(plant, engine: RenderEngine) -> None:
    import asyncio

    files = {**CHART, "chart/templates/a.yaml": "{{ range until 100000 }}{{ range until 100000 }}{{ end }}{{ end }}"}
    task = asyncio.create_task(engine.render(job(plant(files), "chart")))
    async with asyncio.timeout(30):
        while not engine._pool.pids:
            await asyncio.sleep(0.02)
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await still_works(engine, plant)


async def test_a_result_that_is_nested_too_deeply(plant, engine: RenderEngine) -> None:
    deep = (
        "local f(n) = if n == 0 then 1 else [f(n - 1)]; {apiVersion: 'v1', kind: 'A', metadata: {name: 'a'}, x: f(400)}"
    )
    with pytest.raises(BadInput, match=r"nested|levels|deep"):
        await engine.render(job(plant({"app/a.jsonnet": deep}), "app"))
    await still_works(engine, plant)
