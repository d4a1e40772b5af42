"""What a running taut knows of an application, in the words of the API: its operation, its images, the logs of its Pods."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

from taut.controller.carry_out import Run
from taut.model.errors import BadInput
from taut.model.manifests import Body
from taut.model.refs import ObjectRef
from taut.model.times import rfc3339
from taut.model.visible import clean
from taut.planning.wanted import Wanted
from taut.server.views import ImageView, LogView, OperationView, StepView

_CONTAINERS = ("initContainers", "containers")


class Pods(Protocol):
    """What is needed of a cluster."""

    async def read(self, ref: ObjectRef) -> Body | None:
        """An object; None when there is none."""
        ...

    async def log(self, ref: ObjectRef, container: str, lines: int) -> str:
        """The last lines of a container."""
        ...


def operation_view(run: Run, steady: float) -> OperationView:
    """An operation that runs, at `steady` seconds of the clock that its deadline is of."""
    operation = run.operation
    return OperationView(
        id=operation.id,
        kind=operation.kind.value,
        revision=operation.revision,
        initiated_by=operation.initiated_by,
        started=rfc3339(operation.started_at),
        waiting=clean(run.waiting),
        remaining=max(0.0, round(operation.deadline - steady, 1)),
        attempt=operation.attempt,
        steps=tuple(StepView.of(step) for step in run.steps),
    )


def wanted_images(objects: Iterable[Wanted]) -> Sequence[ImageView]:
    """The images of all Pod templates. Documents that were decrypted are left out: nothing of them is told."""
    return [
        ImageView(object=f"{w.ref.kind} {w.ref.name}", container=clean(name), image=clean(image))
        for w in objects
        if not w.manifest.origin.secret
        for name, image in _images(w.manifest.body.get("spec"))
    ]


def _images(spec: Any) -> Iterator[tuple[str, str]]:
    """Of a Pod, a workload (`spec.template`), or a CronJob (`spec.jobTemplate`)."""
    if not isinstance(spec, dict):
        return
    for kind in _CONTAINERS:
        found = spec.get(kind)
        for container in found if isinstance(found, list) else ():
            if isinstance(container, dict) and container.get("image"):
                yield str(container.get("name", "")), str(container["image"])
    for inner in ("template", "jobTemplate"):
        below = spec.get(inner)
        if isinstance(below, dict):
            yield from _images(below.get("spec"))


async def pod_log(cluster: Pods, pod: ObjectRef, container: str, lines: int) -> LogView:
    """The last lines of one container. Raises BadInput for a Pod or a container that is not there, TargetError when the cluster refuses."""
    body = await cluster.read(pod)
    if body is None:
        raise BadInput(f"{pod} is gone", advice="look at the objects: another one may have taken its place")
    spec: Body = body.get("spec") or {}
    names = tuple(str(c["name"]) for kind in ("containers", "initContainers") for c in spec.get(kind) or ())
    chosen = container or next(iter(names), "")
    if chosen not in names:
        raise BadInput(f"{pod} has no container {chosen!r}", advice=f"it has {', '.join(names)}")
    text = await cluster.log(pod, chosen, lines)
    return LogView(container=chosen, containers=names, lines=tuple(clean(line) for line in text.splitlines()))
