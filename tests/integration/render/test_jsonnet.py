"""Jsonnet, through the engine."""

from __future__ import annotations

import pytest

from taut.model.application import JsonnetOptions, JsonnetVar, Source
from taut.model.errors import RenderError
from taut.render.engine import RenderEngine, RenderJob, RenderSource

pytestmark = pytest.mark.integration

FILES = {
    "app/main.jsonnet": """\
local lib = import 'lib.libsonnet';
local far = import "far/far.libsonnet";
function(size=1) { one: lib.map('one', std.extVar('note')), more: [lib.map('two', importstr 'text.txt'), [far(size)]] }
""",
    "app/lib.libsonnet": "{ map(name, text):: {apiVersion: 'v1', kind: 'ConfigMap', metadata: {name: name}, data: {text: text}} }",
    "app/text.txt": "hello",
    "vendor/far/far.libsonnet": "local near = import './near.libsonnet'; function(size) near + {data: {size: std.toString(size)}}",
    "vendor/far/near.libsonnet": "{apiVersion: 'v1', kind: 'ConfigMap', metadata: {name: 'far'}}",
    "vendor/unused.libsonnet": "{}",
}
OPTIONS = JsonnetOptions(
    libs=("vendor",),
    ext_vars=(JsonnetVar(name="note", value="n"),),
    tlas=(JsonnetVar(name="size", value="3", code=True),),
)


def job(snapshot, options: JsonnetOptions | None = OPTIONS, path: str = "app") -> RenderJob:
    return RenderJob("app", "ns", (RenderSource(Source(path=path, jsonnet=options), snapshot),))


async def test_lists_and_mappings_of_objects_are_flattened(plant, engine: RenderEngine) -> None:
    rendered = await engine.render(job(plant(FILES)))
    assert [(m.name, m.body["data"]) for m in rendered.manifests] == [
        ("two", {"text": "hello"}),
        ("far", {"size": "3"}),
        ("one", {"text": "n"}),
    ]
    assert rendered.manifests[0].origin.file == "app/main.jsonnet"


async def test_the_closure_is_the_imports(plant, engine: RenderEngine) -> None:
    rendered = await engine.render(job(plant(FILES)))
    assert set(rendered.closure.sources[0].files) == set(FILES) - {"vendor/unused.libsonnet"}
    assert rendered.closure.same_in([plant({**FILES, "app/README": "x"}, name="readme").tree]), "no entry"
    assert not rendered.closure.same_in([plant({**FILES, "app/other.jsonnet": "[]"}, name="a").tree]), "another entry"
    assert not rendered.closure.same_in([plant({**FILES, "vendor/far/near.libsonnet": "{}"}, name="b").tree])
    assert not rendered.closure.same_in([plant({**FILES, "app/far/far.libsonnet": "{}"}, name="c").tree]), (
        "an import that would be found earlier"
    )
    assert rendered.closure.same_in([plant({**FILES, "vendor/unused.libsonnet": "1"}, name="d").tree])


async def test_detection(plant, engine: RenderEngine) -> None:
    alone = plant({"app/a.jsonnet": "{apiVersion: 'v1', kind: 'ConfigMap', metadata: {name: 'a'}}"})
    assert [m.name for m in (await engine.render(job(alone, None))).manifests] == ["a"]
    assert [m.name for m in (await engine.render(job(alone, None, "app/a.jsonnet"))).manifests] == ["a"]


@pytest.mark.parametrize(
    ("text", "words", "line"),
    [
        ("local a = 1;\nb", "not defined: b", 2),
        ("import 'nothing.libsonnet'", "nothing.libsonnet", 1),
        ("import '/etc/passwd'", "etc/passwd", 1),
        ("import '../../../etc/passwd'", "leaves the repository", 1),
        ("1 + 1", "gave a int where", 0),
        ("error 'no, not so'", "no, not so", 1),
        ("local f(x) = f(x + 1) + 1; f(1)", "[Ss]tack", 1),
    ],
)
async def test_errors_have_their_place(plant, engine: RenderEngine, text: str, words: str, line: int) -> None:
    with pytest.raises(RenderError, match=words) as caught:
        await engine.render(job(plant({"app/a.jsonnet": text}), None))
    assert caught.value.where.line == line
    assert "taut.work" not in str(caught.value)
