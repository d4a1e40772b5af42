"""What a check of taut's own finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from taut.model.manifests import Body
from taut.model.verdict import Enforcement


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault of one object: where, what was found, what is wanted."""

    body: Body
    message: str
    path: str = ""
    found: str = ""
    wanted: str = ""


type Find = Callable[[Sequence[Body]], Iterator[Finding]]
"""From all objects to what is wrong with them."""


@dataclass(frozen=True, slots=True)
class Check:
    """One check. `about` is for people."""

    name: str
    about: str
    enforcement: Enforcement
    find: Find


def metadata_of(body: Body) -> Mapping[str, Any]:
    """An object's metadata; empty where there is none."""
    found = body.get("metadata")
    return found if isinstance(found, dict) else {}


def place_of(body: Body) -> tuple[str, str]:
    """Namespace and name."""
    metadata = metadata_of(body)
    return str(metadata.get("namespace") or ""), str(metadata.get("name") or "")


def pod_template(body: Body) -> tuple[str, dict[str, Any]] | None:
    """Where an object's Pod lies (a dotted path), and the Pod: metadata and spec. None when it runs none."""
    match body.get("kind"):
        case "Pod":
            steps: tuple[str, ...] = ()
        case "CronJob":
            steps = ("spec", "jobTemplate", "spec", "template")
        case "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "ReplicationController" | "Job":
            steps = ("spec", "template")
        case _:
            return None
    owner: Any = body
    for step in steps:
        owner = owner.get(step) if isinstance(owner, dict) else None
    return (".".join(steps), owner) if isinstance(owner, dict) else None


def containers(body: Body) -> Iterator[tuple[str, dict[str, Any]]]:
    """All containers, with their paths."""
    found = pod_template(body)
    spec = found[1].get("spec") if found else None
    if not found or not isinstance(spec, dict):
        return
    prefix = f"{found[0]}.spec" if found[0] else "spec"
    for name in ("initContainers", "containers", "ephemeralContainers"):
        listed: list[Any] = spec[name] if isinstance(spec.get(name), list) else []
        for index, container in enumerate(listed):
            if isinstance(container, dict):
                yield f"{prefix}.{name}[{index}]", container
