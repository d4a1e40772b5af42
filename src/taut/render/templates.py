"""Go templates of strangers, run by a render worker: bounded in time, memory and size, without network, environment and files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from taut.model.errors import RenderError, Where
from taut.prison.limits import Limits
from taut.render.wire import Job, TemplatesTask
from taut.render.workers import Runner, run_job

LIMITS = Limits(wall_seconds=10, cpu_seconds=10, memory_mb=512, output_bytes=8 * 1024 * 1024)


class GoTemplates:
    """Go's text/template with the functions that Helm has (sprig's, toYaml, fromYaml, tpl …), missing keys being errors."""

    def __init__(self, runner: Runner, limits: Limits = LIMITS) -> None:
        self._runner, self._limits = runner, limits

    async def render(
        self, items: Sequence[tuple[str, int]], data: Sequence[Mapping[str, bytes | Mapping[str, bytes]]]
    ) -> list[bytes]:
        """What each template (its text, and which of `data` it sees as `.`) gives, in their order.

        Raises RenderError that holds no value; its `where.field` is the number of the template that fails, empty when none alone is to blame.
        """
        plain = tuple({k: dict(v) if isinstance(v, Mapping) else v for k, v in one.items()} for one in data)
        job = Job([], [], TemplatesTask(tuple(items), plain), self._limits)
        reply = await run_job(self._runner, job)
        if reply.error:
            raise RenderError(reply.error, where=Where(field=reply.field))
        return [document.body for document in reply.documents]
