"""What a prison's workers do, and how people are told when they cannot."""

from __future__ import annotations

from dataclasses import dataclass

from taut.model.errors import TautError


@dataclass(frozen=True, slots=True)
class Trade:
    """One kind of worker. `module` has a `main(arguments)` that a forked worker calls, and imports all that each of them needs.

    `doing` is what they do (`rendering`), `doer` what does it (`the renderer`), `error` what is raised when one is stopped or
    dies, `advice` what to look for then.
    """

    module: str
    worker: str
    doing: str
    doer: str
    advice: str
    error: type[TautError]
