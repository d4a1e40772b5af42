"""JMESPath with Kyverno's functions: compiled once, and what leads to nothing is told from what is wrong."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import jmespath
from jmespath import exceptions
from jmespath.parser import ParsedResult

from taut.policy.kyverno.errors import NotResolvedError, PolicyError
from taut.policy.kyverno.functions import Functions
from taut.policy.kyverno.interpreter import Interpreter, MissingError

_OPTIONS = jmespath.Options(custom_functions=Functions())
_LONGEST = 20_000


@lru_cache(maxsize=4096)
def compiled(text: str) -> ParsedResult:
    """A compiled query. Raises PolicyError for one that cannot be read."""
    if len(text) > _LONGEST:
        raise PolicyError(f"a JMESPath query is longer than {_LONGEST} characters")
    try:
        return jmespath.compile(text)
    except (exceptions.JMESPathError, ValueError, RecursionError) as error:
        raise PolicyError(f"the JMESPath query {text[:200]!r} cannot be read: {_first(error)}") from None


def search(text: str, data: Any) -> Any:
    """What a query finds. Raises NotResolvedError when a field is missing, PolicyError when the query fails otherwise."""
    query = compiled(text)
    try:
        return Interpreter(_OPTIONS).visit(query.parsed, data)
    except MissingError as missing:
        raise NotResolvedError(f"{text[:200]!r} leads to nothing: there is no {missing}") from None
    except exceptions.JMESPathTypeError as error:
        if error.actual_type == "null":
            raise NotResolvedError(f"{text[:200]!r} leads to nothing") from None
        raise PolicyError(f"{text[:200]!r}: {_first(error)}") from None
    except exceptions.JMESPathError as error:
        raise PolicyError(f"{text[:200]!r}: {_first(error)}") from None
    except (TypeError, ValueError, RecursionError, OverflowError, AttributeError) as error:
        raise PolicyError(f"{text[:200]!r} cannot be evaluated ({type(error).__name__})") from None


def _first(error: BaseException) -> str:
    return str(error).strip().split("\n", 1)[0][:300]
