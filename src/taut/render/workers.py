"""The workers that render: a job in, what came of it out."""

from __future__ import annotations

from typing import Protocol

import msgspec

from taut.model.errors import RenderError
from taut.prison.limits import Limits
from taut.prison.pool import Answer
from taut.prison.trade import Trade
from taut.render.wire import Job, Reply

RENDERING = Trade(
    module="taut.render.worker",
    worker="render worker",
    doing="rendering",
    doer="the renderer",
    advice="look for an endless template",
    error=RenderError,
)


class Runner(Protocol):
    """A worker, or a pool of them."""

    async def run(self, job: bytes, limits: Limits, answer: Answer | None = None) -> bytes:
        """What came of a job."""
        ...


async def run_job(runner: Runner, job: Job) -> Reply:
    """Have a job done. Raises RenderError when the worker is killed for its use, dies, or answers what cannot be read."""
    reply = Reply()

    async def read(data: bytes) -> None:
        nonlocal reply
        try:
            reply = msgspec.msgpack.decode(data, type=Reply)
        except msgspec.MsgspecError:
            raise RenderError("the renderer answered what cannot be read") from None

    await runner.run(msgspec.msgpack.encode(job), job.limits, read)
    return reply
