"""How a function of ours is declared: the engine dispatches by the kinds of the values, so each takes lists of those."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from taut.policy.cel.errors import CelError

ANY = "siudbymlntr"
"""string, int, uint, double, bool, bytes (`y`), map, list, null, timestamp, duration (`r`): a parameter is a text of these letters."""
KIND = "\x01kind"
"""The key that tells a value of a library type (a quantity, an address) from a map. A document that holds it fools its own rule at the most."""


@dataclass(frozen=True, slots=True)
class Function:
    """One function. `parameters` has, for each, the letters of the kinds that it takes; of a member the receiver is the first.

    `optional` says that the result is one: `implementation` gives a list, empty for none. What the implementation raises as CelError
    is the expression's error. `names` of the same name are merged.
    """

    name: str
    parameters: tuple[str, ...]
    implementation: Callable[..., Any]
    member: bool = False
    optional: bool = False
    result: str = ""


def declared(functions: tuple[Function, ...], cel: Any) -> Iterator[Any]:
    """The engine's declarations of functions (`cel` is its module); those of one name and place belong together."""
    types = {
        "s": cel.Type.STRING,
        "i": cel.Type.INT,
        "u": cel.Type.UINT,
        "d": cel.Type.DOUBLE,
        "b": cel.Type.BOOL,
        "y": cel.Type.BYTES,
        "m": cel.Type.Map(cel.Type.DYN, cel.Type.DYN),
        "l": cel.Type.List(cel.Type.DYN),
        "n": cel.Type.NULL,
        "t": cel.Type.TIMESTAMP,
        "r": cel.Type.DURATION,
    }
    by_name: dict[str, dict[tuple[bool, tuple[str, ...]], Function]] = {}
    for function in functions:
        for kinds in itertools.product(*function.parameters):
            by_name.setdefault(function.name, {})[function.member, kinds] = function
    for name, overloads in by_name.items():
        yield cel.FunctionDecl(
            name,
            [
                cel.Overload(
                    id=f"taut_{name}_{'m' if member else 'f'}_{''.join(kinds)}",
                    return_type=cel.Type.List(cel.Type.DYN)
                    if function.optional
                    else types.get(function.result, cel.Type.DYN),
                    parameters=[types[k] for k in kinds],
                    is_member=member,
                    impl=_guarded(function.implementation),
                )
                for (member, kinds), function in overloads.items()
            ],
        )


def _guarded(implementation: Callable[..., Any]) -> Callable[..., Any]:
    """What a function raises becomes the expression's error; anything but CelError is told by its kind alone."""

    def call(*values: Any) -> Any:
        try:
            return implementation(*values)
        except CelError as error:
            raise ValueError(str(error)) from None
        except RecursionError:
            raise ValueError("a value is nested too deeply") from None
        except (ValueError, TypeError, KeyError, IndexError, ArithmeticError, OverflowError) as error:
            raise ValueError(f"the function cannot take this value ({type(error).__name__})") from None

    return call


def tagged(kind: str, **fields: Any) -> dict[str, Any]:
    """A value of a library type."""
    return {KIND: kind, **fields}


def of_kind(value: Any, *kinds: str) -> dict[str, Any]:
    """A value of one of these library types. Raises CelError for anything else."""
    if isinstance(value, dict) and value.get(KIND) in kinds:
        return value
    raise CelError("no such overload")
