"""Compiling expressions once and evaluating them often."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from taut.policy.cel import authorizer, collections, formats, network, quantities
from taut.policy.cel.errors import CelError, words
from taut.policy.cel.functions import KIND, Function, declared
from taut.policy.cel.tokens import VARIABLE, rewrite, variables_of

_EXTENSIONS = ("bindings", "encoders", "lists", "math", "optional", "sets", "strings", "two-var-comprehensions")
_LIBRARY = (
    *quantities.FUNCTIONS,
    *network.FUNCTIONS,
    *collections.FUNCTIONS,
    *formats.FUNCTIONS,
    *authorizer.FUNCTIONS,
)
_COMPILED = 4_096
_MOST_BINDINGS = 200


class Environment:
    """The names that expressions may use.

    `names` are variables, of any type; `functions` come besides Kubernetes' library. Make one for each kind of policy and keep it: it holds
    what was compiled. Used by one thread at a time.
    """

    def __init__(self, names: Sequence[str], functions: Sequence[Function] = ()) -> None:
        self.names = tuple(names)
        self._functions = (*_LIBRARY, *functions)
        self._optional = frozenset(("." if f.member else "") + f.name for f in self._functions if f.optional)
        self._compile = lru_cache(maxsize=_COMPILED)(self._compiled)

    @cached_property
    def _cel(self) -> Any:
        from cel_expr_python import cel

        text = "name: taut\nextensions:\n" + "".join(f"- name: {n}\n  version: latest\n" for n in _EXTENSIONS)
        return cel.NewEnv(
            config=cel.NewEnvConfigFromYaml(text),
            variables=dict.fromkeys(self.names, cel.Type.DYN),
            functions=list(declared(self._functions, cel)),
        )

    def compile(self, expression: str, variables: Mapping[str, str] | None = None) -> Program:
        """An expression that may name composed `variables` (name → expression, in the order of their declaration; each may name those before it).

        They are evaluated when they are needed, at most once for an evaluation, and what goes wrong in one is an error only where it is used.
        Raises CelError when it cannot be compiled.
        """
        return Program(self, self._compile(self._bound(expression, variables or {})))

    def _bound(self, expression: str, variables: Mapping[str, str]) -> str:
        needed: list[str] = []
        order = list(variables)

        def need(text: str, before: int) -> None:
            for name in sorted(variables_of(text)):
                if name not in variables or order.index(name) >= before:
                    raise CelError(f"undefined field '{name}': no variable of that name is declared before it is used")
                if name not in needed:
                    need(variables[name], order.index(name))
                    needed.append(name)

        need(expression, len(order))
        if len(needed) > _MOST_BINDINGS:
            raise CelError(f"the expression uses more than {_MOST_BINDINGS} variables")
        text = self._rewritten(expression)
        for name in sorted(needed, key=order.index, reverse=True):
            text = f"cel.bind({VARIABLE}{name}, ({self._rewritten(variables[name])}\n), {text}\n)"
        return text

    def _rewritten(self, expression: str) -> str:
        return rewrite(expression, optional=self._optional, renamed=collections.renamed)

    def _compiled(self, text: str) -> Any:
        try:
            return self._cel.compile(text)
        except RuntimeError as error:
            raise CelError(words(str(error))) from None

    def activation(self, data: Mapping[str, Any]) -> Activation:
        """Values for all names (absent ones are null), converted once for many evaluations of one object."""
        return Activation(self._cel.Activation({name: data.get(name) for name in self.names}))


@dataclass(frozen=True, slots=True)
class Activation:
    """The values of an environment's names. Belongs to the thread that made it."""

    handle: Any


@dataclass(frozen=True, slots=True)
class Program:
    """A compiled expression."""

    environment: Environment
    expression: Any

    def evaluate(self, activation: Activation) -> Any:
        """The value, as JSON-like Python (bytes, datetime and timedelta beside). Raises CelError when evaluation fails."""
        try:
            value = self.expression.eval(activation.handle)
            if value.type().name() == "ERROR":
                raise CelError(words(str(value.plain_value())))
            return value.plain_value()
        except RuntimeError as error:
            raise CelError(words(str(error))) from None
        except TypeError:
            raise CelError("the result is an optional or a type, which is no value") from None

    def test(self, activation: Activation) -> bool:
        """The value of a condition. Raises CelError also when it is no truth value."""
        value = self.evaluate(activation)
        if not isinstance(value, bool):
            raise CelError("the expression gives no bool")
        return value

    def text(self, activation: Activation) -> str:
        """The value of a message expression. Raises CelError also when it is no text."""
        value = self.evaluate(activation)
        if not isinstance(value, str):
            raise CelError("the expression gives no string")
        return value


def is_plain(value: Any) -> bool:
    """Whether a value can stand in a document: no value of a library type is in it."""
    if isinstance(value, dict):
        return KIND not in value and all(isinstance(k, str) and is_plain(v) for k, v in value.items())
    if isinstance(value, list):
        return all(is_plain(v) for v in value)
    return value is None or isinstance(value, str | int | float | bool)
