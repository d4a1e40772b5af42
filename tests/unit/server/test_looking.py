"""Logs, images and operations in the words of the API."""

from __future__ import annotations

from typing import Any

import pytest

from taut.model.errors import BadInput
from taut.model.manifests import Body, Manifest, Origin
from taut.model.refs import ObjectRef
from taut.planning.wanted import Wanted
from taut.server.looking import pod_log, wanted_images

POD = ObjectRef("local", "", "Pod", "shop", "web-1")


class Pods:
    """A cluster with one Pod of two containers."""

    async def read(self, ref: ObjectRef) -> Body | None:
        spec = {"containers": [{"name": "web"}, {"name": "proxy"}], "initContainers": [{"name": "wait"}]}
        return {"spec": spec} if ref == POD else None

    async def log(self, ref: ObjectRef, container: str, lines: int) -> str:
        return f"2026-01-02T03:04:05Z {container} \x1b[31mred\x1b[0m\n2026-01-02T03:04:06Z last {lines}\n"


async def test_the_first_container_unless_told_and_nothing_moves_the_cursor() -> None:
    log = await pod_log(Pods(), POD, "", 50)
    assert (log.container, log.containers) == ("web", ("web", "proxy", "wait"))
    assert log.lines == ("2026-01-02T03:04:05Z web \\x1b[31mred\\x1b[0m", "2026-01-02T03:04:06Z last 50")
    assert (await pod_log(Pods(), POD, "wait", 1)).container == "wait"


@pytest.mark.parametrize(
    ("pod", "container", "words"), [(POD._replace(name="web-2"), "", "is gone"), (POD, "we", "no container 'we'")]
)
async def test_what_is_not_there_is_said(pod: ObjectRef, container: str, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        await pod_log(Pods(), pod, container, 1)


def wanted(kind: str, spec: Any, *, secret: bool = False) -> Wanted:
    body = {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "x"}, "spec": spec}
    return Wanted(POD._replace(kind=kind, name="x"), Manifest(body, Origin(secret=secret)), "h")


def test_images_of_all_kinds_of_workloads() -> None:
    pod = {"containers": [{"name": "a", "image": "r/a:1"}], "initContainers": [{"name": "i", "image": "r/i:1"}]}
    found = wanted_images(
        [
            wanted("Pod", pod),
            wanted("Deployment", {"template": {"spec": pod}}),
            wanted("CronJob", {"jobTemplate": {"spec": {"template": {"spec": pod}}}}),
            wanted("Deployment", {"template": {"spec": pod}}, secret=True),
            wanted("Odd", {"containers": "none", "template": [1], "jobTemplate": {"spec": None}}),
            wanted("Odd", None),
        ]
    )
    assert [(i.object, i.container, i.image) for i in found] == [
        (f"{kind} x", name, f"r/{name}:1") for kind in ("Pod", "Deployment", "CronJob") for name in ("i", "a")
    ]
