"""A running taut whose webhook a real API server asks; with real policies, in this process."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from integration.loop.harness import CLUSTER, Taut
from support.kubernetes import eventually, kubectl
from taut.admission.decision import Decision, Interests, Reviewer
from taut.admission.interests import rules_about
from taut.admission.service import Admission, admitting
from taut.model.errors import TautError
from taut.model.verdict import Enforcement, Outcome
from taut.policy.engines import build
from taut.policy.judge import Judge
from taut.policy.review import Given, Nothing, Review
from taut.targets.kubernetes.cluster import Cluster

CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"


def policy(name: str, kind: str, *, action: str = "Enforce") -> dict[str, Any]:
    """A Kyverno policy: objects of a kind must carry the label `team`."""
    rule = {
        "name": "team",
        "match": {"any": [{"resources": {"kinds": [kind]}}]},
        "validate": {"message": f"every {kind} has a team", "pattern": {"metadata": {"labels": {"team": "?*"}}}},
    }
    spec = {"validationFailureAction": action, "emitWarning": action == "Audit", "background": False, "rules": [rule]}
    return {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": name}, "spec": spec}


class Door:
    """Judges by some policies."""

    def __init__(self, documents: Sequence[dict[str, Any]]) -> None:
        built = build([Given(d) for d in documents])
        assert not built.troubles
        self.policies = built.policies
        self._judge = Judge(built.policies)
        self.asked = 0

    async def review(self, cluster: str, review: Review) -> Decision:
        assert cluster == CLUSTER
        self.asked += 1
        verdicts = self._judge.judge(review, Nothing()).verdicts
        bad = [v for v in verdicts if v.result in (Outcome.FAIL, Outcome.WARN, Outcome.ERROR)]
        return Decision(tuple(v for v in bad if v.denies), tuple(v for v in bad if v.enforcement is Enforcement.WARN))


class Both:
    """Policies of both doors, about what the cluster serves."""

    def __init__(self, cluster: Cluster, open: Sequence[dict[str, Any]], closed: Sequence[dict[str, Any]]) -> None:
        self._cluster = cluster
        self.doors = (Door(open), Door(closed))
        self.unknown = ""

    @property
    def open(self) -> Reviewer:
        return self.doors[0]

    @property
    def closed(self) -> Reviewer:
        return self.doors[1]

    async def interests(self, cluster: str) -> Interests:
        if self.unknown:
            raise TautError(self.unknown)
        served = await self._cluster.kinds()
        found = [rules_about(d.policies, served) for d in self.doors]
        return Interests(*found)


@dataclass
class Scene:
    """A namespace, a taut with a webhook, and somebody who writes."""

    taut: Taut
    open: list[dict[str, Any]] = field(default_factory=list)
    closed: list[dict[str, Any]] = field(default_factory=list)
    clock: Callable[[], float] = time.time

    @property
    def name(self) -> str:
        return f"taut-{self.taut.namespace}"

    def configuration(self) -> dict[str, Any] | None:
        status, body = self.taut.api.request("GET", f"{CONFIGURATIONS}/{self.name}")
        return json.loads(body) if status == 200 else None

    def entries(self) -> dict[str, dict[str, Any]]:
        found = self.configuration() or {}
        return {e["name"].partition(".")[0]: e for e in found.get("webhooks", ())}

    def set_up(self, **options: Any) -> None:
        self.taut.options["admission"] = {
            "listen": "127.0.0.1:0",
            "instance": self.taut.namespace,
            "timeoutSeconds": 10,
            **options,
        }

    @asynccontextmanager
    async def run(self) -> AsyncGenerator[Admission]:
        async with self.taut.run():
            policies = Both(self.taut.controller.fleet.clusters[CLUSTER], self.open, self.closed)
            async with admitting(self.taut.controller, policies, clock=self.clock) as admission:
                assert admission is not None
                yield admission

    async def write(self, kind: str, name: str, *, team: bool, namespace: str = "", dry: bool = True) -> str:
        """Create an object with kubectl; what it printed, and `refused: ` before it when it failed."""
        return await self.kubectl("create", kind, name, team=team, namespace=namespace, dry=dry)

    async def kubectl(self, verb: str, kind: str, name: str, *, team: bool, namespace: str, dry: bool) -> str:
        labels = {"team": "shop"} if team else {}
        api = {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "labels": labels}}
        args = ["-n", namespace or self.taut.namespace, verb, "-f", "-", *(["--dry-run=server"] if dry else [])]
        try:
            return await kubectl(self.taut.plane.kubeconfig, *args, stdin=json.dumps(api))
        except AssertionError as error:
            return f"refused: {error}"

    async def refused(self, kind: str, words: str) -> str:
        """Wait until an object without a team is refused in these words."""

        async def fact() -> str:
            found = await self.write(kind, "probe", team=False)
            return found if found.startswith("refused") and words in found else ""

        return await eventually(fact, f"a {kind} without a team is refused: {words}", 40)
