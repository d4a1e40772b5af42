"""What a question at admission costs: latency at a fixed rate, throughput, and the price of policies that are about something else.

The server runs in a process of its own; questions come over real HTTPS on connections that stay open. The rate is an open loop: a question is sent
when it is due, whether or not the ones before were answered, and its latency counts from the moment when it was due.
"""

from __future__ import annotations

import asyncio
import itertools
import multiprocessing
import random
import ssl
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from typing import Any

import aiohttp
import orjson

from bench.machine import cpu_of
from bench.report import markdown
from taut.admission.certificates import renewed, server_context
from taut.admission.decision import NOTHING, Decision, Interests, Reviewer
from taut.admission.server import AdmissionServer, bind, listening
from taut.model.verdict import Enforcement
from taut.policy.review import Given, Review
from taut.policy.service import PolicyService, PolicySet

CLUSTER = "bench"
OTHERS = ("Service", "Ingress", "ConfigMap", "PersistentVolumeClaim", "NetworkPolicy", "Role", "Secret", "Namespace")
_CLIENTS = 16
_SATURATION_SECONDS = 5.0
_ALONE = 300


@dataclass(frozen=True)
class Result:
    """Milliseconds, questions a second, CPU milliseconds of the server a question, and microseconds of latency a policy that does not match."""

    policies: int
    matching: int
    rate: float
    seconds: float
    sent: int
    refused: int
    failed: int
    p50: float
    p99: float
    max: float
    cpu: float
    saturation: float
    alone_none: float
    alone_others: float
    others: int
    unmatched_policy_us: float


def policy(number: int, kind: str) -> dict[str, Any]:
    """A Kyverno policy about a kind; five forms take turns."""
    spec, base = _FORMS[number % len(_FORMS)]
    rule = {"name": "rule", "match": {"any": [{"resources": {"kinds": [kind]}}]}, **spec}
    return {
        "apiVersion": "kyverno.io/v1",
        "kind": "ClusterPolicy",
        "metadata": {
            "name": f"{base}-{kind.lower()}-{number}",
            "annotations": {"pod-policies.kyverno.io/autogen-controllers": "none"},
        },
        "spec": {"validationFailureAction": "Enforce", "background": False, "rules": [rule]},
    }


def _validate(**body: Any) -> dict[str, Any]:
    return {"validate": {"message": "the rule is not kept", **body}}


_FORMS: tuple[tuple[dict[str, Any], str], ...] = (
    (_validate(pattern={"metadata": {"labels": {"app.kubernetes.io/name": "?*"}}}), "label"),
    (_validate(pattern={"spec": {"containers": [{"image": "!*:latest"}]}}), "tag"),
    (
        _validate(
            pattern={
                "spec": {"containers": [{"resources": {"limits": {"memory": "<=4Gi"}, "requests": {"cpu": "?*"}}}]}
            }
        ),
        "limits",
    ),
    (
        _validate(
            deny={
                "conditions": {
                    "any": [
                        {
                            "key": "{{ request.object.spec.containers[].securityContext.privileged || `[]` }}",
                            "operator": "AnyIn",
                            "value": [True],
                        }
                    ]
                }
            }
        ),
        "privileged",
    ),
    (
        _validate(
            foreach=[
                {
                    "list": "request.object.spec.containers",
                    "deny": {
                        "conditions": {
                            "all": [
                                {
                                    "key": "{{ element.image }}",
                                    "operator": "NotEquals",
                                    "value": "registry.example.com/*",
                                }
                            ]
                        }
                    },
                }
            ]
        ),
        "registry",
    ),
)


def documents(total: int, matching: int) -> list[dict[str, Any]]:
    """`total` policies, of which `matching` are about Pods."""
    kinds = itertools.cycle(OTHERS)
    return [policy(n, "Pod" if n < matching else next(kinds)) for n in range(total)]


def question(number: int, generator: random.Random) -> bytes:
    """A review of a new Pod; one in ten breaks a policy."""
    tag = "latest" if number % 10 == 9 else f"1.{generator.randrange(100)}"
    container = {
        "image": f"registry.example.com/team/app:{tag}",
        "resources": {"limits": {"memory": "256Mi"}, "requests": {"cpu": "100m", "memory": "128Mi"}},
        "securityContext": {"privileged": False, "runAsNonRoot": True},
        "env": [{"name": f"SETTING_{n}", "value": "x" * 20} for n in range(10)],
    }
    name = f"web-{number}"
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop", "labels": {"app.kubernetes.io/name": "web"}},
        "spec": {"containers": [{"name": "main", **container}, {"name": "side", **container}]},
    }
    request = {
        "uid": f"{number:032x}",
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "name": name,
        "namespace": "shop",
        "operation": "CREATE",
        "userInfo": {"username": "ada", "groups": ["system:authenticated"]},
        "object": body,
        "oldObject": None,
        "options": {},
    }
    return orjson.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request})


class InWorkers:
    """Judges as a running taut does: in a worker, in its prison."""

    def __init__(self, given: Sequence[dict[str, Any]]) -> None:
        self._set = PolicySet.of(Given(d) for d in given)
        self._service = PolicyService(workers=1)

    @property
    def open(self) -> Reviewer:
        return self

    @property
    def closed(self) -> Reviewer:
        return self

    async def interests(self, cluster: str) -> Interests:
        return NOTHING

    async def review(self, cluster: str, review: Review) -> Decision:
        (said,) = await self._service.validate(self._set, [review], None)
        bad = said.verdicts
        return Decision(tuple(v for v in bad if v.denies), tuple(v for v in bad if v.enforcement is Enforcement.WARN))

    async def ready(self) -> None:
        """Have a worker with the policies compiled, as it has after the first question."""
        described = await self._service.describe(self._set)
        if described.troubles:
            raise SystemExit(f"bench: {described.troubles[0].policy}: {described.troubles[0].what}")

    async def close(self) -> None:
        """End the worker."""
        await self._service.close()


def _serve(pipe: Connection, total: int, matching: int) -> None:
    """The server's process: it says where it listens, and ends when the pipe does."""

    async def main() -> None:
        policies = InWorkers(documents(total, matching))
        await policies.ready()
        server = AdmissionServer([CLUSTER], policies, lambda _c, _q: None, timeout=10)
        made = renewed(None, ("127.0.0.1",), time.time())
        sock = bind("127.0.0.1:0")
        async with listening(server, sock, server_context(made)):
            pipe.send((f"https://127.0.0.1:{sock.getsockname()[1]}", made.bundle))
            await asyncio.to_thread(_until_closed, pipe)
        await policies.close()

    asyncio.run(main())


def _until_closed(pipe: Connection) -> None:
    try:
        pipe.recv()
    except EOFError:
        return


class Server:
    """A server in a process of its own, for as long as this is open."""

    def __init__(self, total: int, matching: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, child = context.Pipe()
        self._process = context.Process(target=_serve, args=(child, total, matching), daemon=True)
        self._process.start()
        child.close()
        self.url, self._bundle = self._pipe.recv()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.close()
        self._process.join(10)

    @property
    def cpu(self) -> float:
        """CPU seconds of its process, and of the worker below it."""
        return cpu_of(self._process.pid or 0)

    def session(self) -> aiohttp.ClientSession:
        """Connections that trust it, and stay open."""
        tls = ssl.create_default_context(cadata=self._bundle.decode())
        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls, limit=0, keepalive_timeout=90))

    async def ask(self, session: aiohttp.ClientSession, data: bytes) -> bool:
        """Whether it is allowed. Raises for anything that is no answer."""
        async with session.post(f"{self.url}/admit/{CLUSTER}/closed", data=data) as answer:
            found = orjson.loads(await answer.read())["response"]
        if found.get("status", {}).get("code", 403) != 403:
            raise RuntimeError(found["status"]["message"])
        return found["allowed"]


async def _at_rate(server: Server, rate: float, seconds: float) -> tuple[list[float], int, int, float]:
    """Latencies in milliseconds, how many were refused, how many failed, and the CPU seconds it took."""
    latencies, refused, failed = list[float](), 0, 0
    generator = random.Random(7)
    questions = [question(n, generator) for n in range(int(rate * seconds))]
    async with server.session() as session:
        await asyncio.gather(*(server.ask(session, q) for q in questions[:8]))  # connections are made before it counts
        before, begun = server.cpu, time.perf_counter()

        async def one(due: float, data: bytes) -> None:
            nonlocal refused, failed
            try:
                refused += not await server.ask(session, data)
            except (aiohttp.ClientError, RuntimeError, KeyError):
                failed += 1
            latencies.append((time.perf_counter() - due) * 1000)

        async with asyncio.TaskGroup() as group:
            for number, data in enumerate(questions):
                due = begun + number / rate
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                group.create_task(one(due, data))
        return latencies, refused, failed, server.cpu - before


async def _saturated(server: Server) -> float:
    """Questions a second with more clients than it can serve."""
    generator = random.Random(7)
    questions = [
        question(1_000_000 + n, generator) for n in range(8_000)
    ]  # each is another: no answer is one that was kept
    count, end = 0, time.perf_counter() + _SATURATION_SECONDS
    async with server.session() as session:

        async def client(start: int) -> None:
            nonlocal count
            for number in itertools.count(start, _CLIENTS):
                if time.perf_counter() >= end or number >= len(questions):
                    return
                await server.ask(session, questions[number])
                count += 1

        await asyncio.gather(*(client(n) for n in range(_CLIENTS)))
    return count / _SATURATION_SECONDS


async def _alone(one: Server, other: Server) -> tuple[float, float]:
    """The median latency (milliseconds) of one question at a time, of two servers that take turns."""
    data = question(0, random.Random(7))
    found: dict[int, list[float]] = {0: [], 1: []}
    async with one.session() as first, other.session() as second:
        sides = ((one, first), (other, second))
        for number in range(_ALONE + 20):
            for side, (server, session) in enumerate(sides):
                begun = time.perf_counter()
                await server.ask(session, data)
                if number >= 20:
                    found[side].append((time.perf_counter() - begun) * 1000)
    return statistics.median(found[0]), statistics.median(found[1])


def measure(total: int, matching: int, rate: float, seconds: float, say: Callable[[str], None]) -> Result:
    """All figures."""
    with Server(total, matching) as server:
        say(f"{total} policies, {matching} about Pods: {rate:g} questions a second for {seconds:g} s")
        latencies, refused, failed, cpu = asyncio.run(_at_rate(server, rate, seconds))
        say(f"{_CLIENTS} clients without a pause for {_SATURATION_SECONDS:g} s")
        saturation = asyncio.run(_saturated(server))
    say(f"no policy, and {total} about other kinds")
    with Server(0, 0) as none, Server(total, 0) as others:
        alone_none, alone_others = asyncio.run(_alone(none, others))
    latencies.sort()
    return Result(
        policies=total,
        matching=matching,
        rate=rate,
        seconds=seconds,
        sent=len(latencies),
        refused=refused,
        failed=failed,
        p50=_quantile(latencies, 0.5),
        p99=_quantile(latencies, 0.99),
        max=round(latencies[-1], 3),
        cpu=round(cpu * 1000 / len(latencies), 3),
        saturation=round(saturation, 1),
        alone_none=round(alone_none, 3),
        alone_others=round(alone_others, 3),
        others=total,
        unmatched_policy_us=round((alone_others - alone_none) * 1000 / max(total, 1), 3),
    )


def _quantile(ordered: Sequence[float], share: float) -> float:
    return round(ordered[min(int(len(ordered) * share), len(ordered) - 1)], 3)


def as_json(result: Result) -> bytes:
    """For machines."""
    return orjson.dumps(asdict(result), option=orjson.OPT_INDENT_2)


def table(result: Result) -> list[str]:
    """For people."""
    about = f"{result.policies} policies, {result.matching} about Pods, {result.rate:g} questions a second"
    return markdown(
        [
            ["admission", about],
            ["questions: sent, refused, failed", f"{result.sent}, {result.refused}, {result.failed}"],
            ["latency: p50", f"{result.p50:.1f} ms"],
            ["latency: p99", f"{result.p99:.1f} ms"],
            ["latency: max", f"{result.max:.1f} ms"],
            ["CPU of the server for one question", f"{result.cpu:.1f} ms"],
            [f"throughput, {_CLIENTS} clients", f"{result.saturation:.0f} a second"],
            ["one at a time, no policy", f"{result.alone_none:.2f} ms"],
            [f"one at a time, {result.others} policies about other kinds", f"{result.alone_others:.2f} ms"],
            ["a policy that does not match", f"{result.unmatched_policy_us:.2f} µs"],
        ]
    )
