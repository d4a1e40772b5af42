"""The fields that taut knows are those of a real API server, and what the checks refuse the API server refuses as well."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from taut.cli.target_schemas import ask
from taut.clients.kubernetes.client import KubernetesClient
from taut.clients.kubernetes.config import load_config
from taut.localplane.plane import Plane
from taut.model.errors import TargetError
from taut.policy import builtin
from taut.policy.builtin import Schemas, keep
from taut.policy.builtin.schemas import KEPT, kept

pytestmark = pytest.mark.integration


async def _asked(plane: Plane) -> Schemas:
    async with KubernetesClient(load_config(plane.kubeconfig, None)) as client:
        return await ask(client)


async def test_what_is_kept_is_what_is_served(plane: Plane) -> None:
    """Other tests define kinds of their own in this control plane: what counts are the groups that are kept."""
    served = await _asked(plane)
    assert served.whole
    own = kept()
    groups = {version.rpartition("/")[0] for version, _ in own.kinds}
    kinds = {key: node for key, node in served.kinds.items() if key[0].rpartition("/")[0] in groups}
    found = replace(served, kinds=kinds, types={n: t for n, t in served.types.items() if n in own.types})
    assert Path(builtin.__file__).with_name(KEPT).read_bytes() == keep(found), "run `make schemas`"


DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web", "namespace": "default"},
    "spec": {
        "replicas": 1,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {
                "containers": [
                    {
                        "name": "a",
                        "image": "a:1",
                        "env": [{"name": "A", "value": "1"}],
                        "ports": [{"containerPort": 80}],
                        "resources": {"limits": {"cpu": 1, "memory": "1Gi"}},
                        "readinessProbe": {"httpGet": {"port": "http", "path": "/"}},
                    }
                ]
            },
        },
    },
}
CHANGES: dict[str, tuple[tuple[str | int, ...], Any]] = {
    "good": (("spec", "replicas"), 2),
    "null": (("spec", "paused"), None),
    "a number for a quantity": (("spec", "template", "spec", "containers", 0, "resources", "limits", "memory"), 5),
    "a number for a port's name": (("spec", "template", "spec", "containers", 0, "readinessProbe", "httpGet", "port"), 8),
    "no such field": (("spec", "replica"), 2),
    "no such field, deep": (("spec", "template", "spec", "containers", 0, "imgae"), "x"),
    "no such field of the metadata": (("metadata", "label"), {}),
    "no such field at the top": (("specs",), {}),
    "a number for a text": (("spec", "template", "spec", "containers", 0, "env", 0, "value"), 8080),
    "a text for a number": (("spec", "replicas"), "2"),
    "a text for a boolean": (("spec", "paused"), "yes"),
    "a number for a label": (("metadata", "labels"), {"a": 1}),
    "a map for a list": (("spec", "template", "spec", "volumes"), {}),
    "a list for a map": (("spec", "template", "spec", "nodeSelector"), []),
    "a text for a map": (("spec", "strategy"), "Recreate"),
    "a boolean for a number": (("spec", "replicas"), True),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
async def test_the_api_server_says_the_same(plane: Plane, name: str) -> None:
    path, value = CHANGES[name]
    body = copy.deepcopy(DEPLOYMENT)
    at: Any = body
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    async with KubernetesClient(load_config(plane.kubeconfig, None)) as client:
        try:
            await client.request(
                "POST",
                "/apis/apps/v1/namespaces/default/deployments",
                query={"dryRun": "All", "fieldValidation": "Strict"},
                body=body,
            )
            refused = ""
        except TargetError as error:
            refused = error.what
    found = list(kept().misfits(body))
    assert bool(found) is bool(refused), f"{found}, {refused}"
