"""Regular expressions of files and rules: RE2, as sops has them. A file is a stranger's word, and RE2 takes no longer than the text is."""

from __future__ import annotations

import threading
from functools import lru_cache
from typing import Any

from taut.secrets.sops.errors import SopsError

_LONGEST = 1000
_here = threading.local()


def _program() -> Any:
    program = getattr(_here, "program", None)
    if program is None:
        from cel_expr_python import cel

        names = {"text": cel.Type.STRING, "pattern": cel.Type.STRING}
        program = _here.program = cel.NewEnv(variables=names).compile("text.matches(pattern)")
    return program


@lru_cache(maxsize=8192)
def found(pattern: str, text: str) -> bool:
    """Whether an expression fits anywhere in a text. Raises SopsError for one that cannot be read, or is longer than 1,000 characters."""
    if len(pattern) > _LONGEST:
        raise SopsError(f"a regular expression is longer than {_LONGEST} characters")
    value = _program().eval(data={"text": text, "pattern": pattern}).value()
    if isinstance(value, bool):
        return value
    reason = str(value).rpartition("invalid regular expression: ")[2]
    raise SopsError(f"the regular expression {pattern!r} cannot be read: {reason}")
