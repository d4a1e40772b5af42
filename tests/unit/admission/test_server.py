"""The listener over real HTTPS: doors, limits, reviewers that fail or hang, and policies that are real."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest

from taut.admission.certificates import Certificates, renewed, server_context
from taut.admission.decision import NOTHING, Decision, Interests, Reviewer
from taut.admission.reviews import BODY_LIMIT, Question
from taut.admission.server import AdmissionServer, bind, listening
from taut.model.errors import TautError
from taut.model.verdict import Enforcement
from taut.policy.engines import build
from taut.policy.judge import Judge
from taut.policy.review import Given, Nothing, Review
from unit.admission.questions import POD, review

LATEST: dict[str, Any] = {
    "apiVersion": "kyverno.io/v1",
    "kind": "ClusterPolicy",
    "metadata": {"name": "disallow-latest-tag"},
    "spec": {
        "validationFailureAction": "Enforce",
        "rules": [
            {
                "name": "tag",
                "match": {"any": [{"resources": {"kinds": ["Pod"]}}]},
                "validate": {
                    "message": "no mutable tags",
                    "pattern": {"spec": {"containers": [{"image": "!*:latest"}]}},
                },
            }
        ],
    },
}


class Judged:
    """A reviewer with real policies, in this process."""

    def __init__(self, *documents: dict[str, Any]) -> None:
        self._judge = Judge(build([Given(d) for d in documents]).policies)

    async def review(self, cluster: str, review: Review) -> Decision:
        verdicts = self._judge.judge(review, Nothing()).verdicts
        denied = tuple(v for v in verdicts if v.denies)
        return Decision(denied, tuple(v for v in verdicts if v.enforcement is Enforcement.WARN and v not in denied))


@dataclass
class Both:
    """The same reviewer at both doors."""

    reviewer: Reviewer

    @property
    def open(self) -> Reviewer:
        return self.reviewer

    @property
    def closed(self) -> Reviewer:
        return self.reviewer

    async def interests(self, cluster: str) -> Interests:
        return NOTHING


class Raises:
    def __init__(self, error: Exception) -> None:
        self._error = error

    async def review(self, cluster: str, review: Review) -> Decision:
        raise self._error


class Hangs:
    cancelled = False

    async def review(self, cluster: str, review: Review) -> Decision:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        return Decision()


@dataclass
class Client:
    url: str
    session: aiohttp.ClientSession
    seen: list[tuple[str, Question]] = field(default_factory=list)

    async def ask(self, path: str, data: bytes, **query: str) -> dict[str, Any]:
        async with self.session.post(f"{self.url}{path}", data=data, params=query) as answer:
            assert answer.status == 200, await answer.text()
            found = json.loads(await answer.read())
            assert found["response"]["uid"] == json.loads(data)["request"]["uid"]
            return found["response"]

    async def refused(self, path: str, data: bytes, method: str = "POST") -> tuple[int, str]:
        async with self.session.request(method, f"{self.url}{path}", data=data) as answer:
            return answer.status, await answer.text()


@asynccontextmanager
async def served(
    reviewer: Reviewer, timeout: float = 5.0, record: Callable[..., None] | None = None
) -> AsyncGenerator[Client]:
    seen: list[tuple[str, Question]] = []
    server = AdmissionServer(
        ["local", "eu"], Both(reviewer), record or (lambda c, q: seen.append((c, q))), timeout=timeout
    )
    made: Certificates = renewed(None, ("127.0.0.1",), time.time())
    sock = bind("127.0.0.1:0")
    url = f"https://127.0.0.1:{sock.getsockname()[1]}"
    tls = aiohttp.TCPConnector(ssl=ssl.create_default_context(cadata=made.bundle.decode()))
    async with listening(server, sock, server_context(made)), aiohttp.ClientSession(connector=tls) as session:
        yield Client(url, session, seen)


@pytest.mark.parametrize("door", ["open", "closed"])
async def test_real_policies_refuse_and_let_pass(door: str) -> None:
    good = {**POD, "spec": {"containers": [{"name": "main", "image": "nginx:1.27"}]}}
    async with served(Judged(LATEST)) as client:
        found = await client.ask(f"/admit/local/{door}", review())
        assert found["allowed"] is False
        text = found["status"]["message"]
        assert "disallow-latest-tag/tag" in text
        assert "no mutable tags" in text
        assert "found nginx:latest" in text
        assert "PolicyException" in text
        assert (await client.ask(f"/admit/eu/{door}", review(good)))["allowed"] is True


async def test_a_reviewer_that_hangs() -> None:
    hangs = Hangs()
    async with served(hangs, timeout=0.3) as client:
        began = time.monotonic()
        found = await client.ask("/admit/local/open", review())
        assert found["allowed"] is True
        assert "took longer than" in found["warnings"][0]
        assert hangs.cancelled
        found = await client.ask("/admit/local/closed", review())
        assert found["allowed"] is False
        assert "took longer than" in found["status"]["message"]
        assert time.monotonic() - began < 3


async def test_the_api_servers_own_patience_counts() -> None:
    async with served(Hangs(), timeout=30) as client:
        began = time.monotonic()
        assert (await client.ask("/admit/local/closed", review(), timeout="250ms"))["allowed"] is False
        assert time.monotonic() - began < 5


async def test_a_reviewer_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    async with served(Raises(TautError("the policies are being read"))) as client:
        assert "the policies are being read" in (await client.ask("/admit/local/open", review()))["warnings"][0]
        found = await client.ask("/admit/local/closed", review())
        assert (found["allowed"], found["status"]["code"]) == (False, 500)
        assert "the policies are being read" in found["status"]["message"]
    async with served(Raises(ValueError("hunter2"))) as client:
        with caplog.at_level(logging.INFO):
            found = [await client.ask(f"/admit/local/{door}", review()) for door in ("open", "closed")]
    assert [f["allowed"] for f in found] == [True, False]
    told = json.dumps(found) + caplog.text
    assert "ValueError" in told
    assert "hunter2" not in told, "an error that nobody foresaw may hold a value"
    assert "test_server.py" in caplog.text


async def test_changes_are_recorded_and_never_judged() -> None:
    async with served(Raises(AssertionError("asked"))) as client:
        assert await client.ask("/admit/local/record", review()) == {
            "uid": json.loads(review())["request"]["uid"],
            "allowed": True,
        }
        assert [(c, q.review.user.name, q.name) for c, q in client.seen] == [("local", "ada", "web")]


async def test_a_recorder_that_fails_is_a_sentence() -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("hunter2")

    async with served(Judged(), record=broken) as client:
        assert await client.refused("/admit/local/record", review()) == (500, "taut failed inside (RuntimeError)\n")


async def test_what_is_no_question_is_refused_in_a_sentence() -> None:
    async with served(Judged(LATEST)) as client:
        status, text = await client.refused("/admit/local/open", b"{}")
        assert status == 400
        assert "no AdmissionReview" in text
        assert (await client.refused("/admit/local/open", b" " * (BODY_LIMIT + 1)))[0] == 413
        for path in ("/admit/nowhere/open", "/admit/local/other", "/", "/admit/local/open/x"):
            assert (await client.refused(path, review()))[0] == 404
        assert (await client.refused("/admit/local/open", b"", "GET"))[0] == 405
        assert await client.refused("/healthz", b"", "GET") == (200, "ok\n")


async def test_a_large_object_is_judged() -> None:
    large = {**POD, "metadata": {**POD["metadata"], "annotations": {"a": "x" * (3 * 2**20)}}}
    async with served(Judged(LATEST)) as client:
        assert (await client.ask("/admit/local/open", review(large, oldObject=large)))["allowed"] is False


def test_an_address_that_is_taken_is_said() -> None:
    with bind("127.0.0.1:0") as first:
        first.listen()
        with pytest.raises(TautError, match=r"cannot listen .* for admission"):
            bind(f"127.0.0.1:{first.getsockname()[1]}")
