"""Compiling expressions once and evaluating them often."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from taut.policy.cel import authorizer, collections, formats, network, quantities
from taut.policy.cel.errors import CelError, words
from taut.policy.cel.functions import KIND, Function, declared
from taut.policy.cel.tokens import VARIABLE, rewrite, variables_of

_EXTENSIONS = ("bindings", "optional", "sets", "strings", "two-var-comprehensions")
MORE = ("encoders", "lists", "math")
"""Extensions of CEL that Kubernetes has not, and Kyverno has."""
_LIBRARY = (
    *quantities.FUNCTIONS,
    *network.FUNCTIONS,
    *collections.FUNCTIONS,
    *formats.FUNCTIONS,
    *authorizer.FUNCTIONS,
)
_COMPILED = 4_096
_ENGINES = 256
_MOST_BOUND = 4
"""More variables than this are passed in as values: bindings nest, and the engine's parser stops at a depth of 32."""


class Environment:
    """The names that expressions may use.

    `names` are variables, of any type; `functions` come besides Kubernetes' library, and so do the engine's `extensions` (encoders, lists, math). Make one for each kind of policy and keep it: it holds
    what was compiled. Used by one thread at a time.
    """

    def __init__(
        self, names: Sequence[str], functions: Sequence[Function] = (), extensions: Sequence[str] = MORE
    ) -> None:
        self._extensions = (*_EXTENSIONS, *extensions)
        self.names = tuple(names)
        self._functions = (*_LIBRARY, *functions)
        self._optional = frozenset(("." if f.member else "") + f.name for f in self._functions if f.optional)
        self._compile = lru_cache(maxsize=_COMPILED)(self._compiled)
        self._with = lru_cache(maxsize=_ENGINES)(self._made)

    def compile(self, expression: str, variables: Mapping[str, str] | None = None) -> Program:
        """An expression that may name composed `variables` (name → expression, in the order of their declaration; each may name those before it).

        They are evaluated when they are needed, at most once for an evaluation, and what goes wrong in one is an error only where it is used.
        Raises CelError when it cannot be compiled.
        """
        known = variables or {}
        needed = self._needed(expression, known)
        if len(needed) <= _MOST_BOUND:
            return Program(self, self._compile(self._bound(expression, known, needed), ()))
        shared = Shared(self, expression, dict(known), tuple(needed), tuple(known.items()))
        shared.compiled(frozenset())
        return Program(self, None, shared)

    @staticmethod
    def _needed(expression: str, variables: Mapping[str, str]) -> list[str]:
        """The variables that an expression needs, those of its variables among them, in their order. Raises CelError for one that is not there."""
        needed: set[str] = set()
        order = {name: at for at, name in enumerate(variables)}
        waiting = [(expression, len(order))]
        while waiting:
            text, before = waiting.pop()
            for name in variables_of(text):
                if order.get(name, before) >= before:
                    raise CelError(f"undefined field '{name}': no variable of that name is declared before it is used")
                if name not in needed:
                    needed.add(name)
                    waiting.append((variables[name], order[name]))
        return sorted(needed, key=order.__getitem__)

    def _bound(self, expression: str, variables: Mapping[str, str], names: Sequence[str]) -> str:
        """The expression with these variables bound around it: lazily, and with their errors."""
        text = self._rewritten(expression)
        for name in reversed(names):
            text = f"cel.bind({VARIABLE}{name}, ({self._rewritten(variables[name])}\n), {text}\n)"
        return text

    def _rewritten(self, expression: str) -> str:
        return rewrite(expression, optional=self._optional, renamed=collections.renamed)

    def _compiled(self, text: str, given: tuple[str, ...]) -> Any:
        try:
            return self._with(given).compile(text)
        except RuntimeError as error:
            raise CelError(words(str(error))) from None

    def _made(self, given: tuple[str, ...]) -> Any:
        from cel_expr_python import cel

        text = "name: taut\nextensions:\n" + "".join(f"- name: {n}\n  version: latest\n" for n in self._extensions)
        return cel.NewEnv(
            config=cel.NewEnvConfigFromYaml(text),
            variables=dict.fromkeys((*self.names, *given), cel.Type.DYN),
            functions=list(declared(self._functions, cel)),
        )

    def activation(self, data: Mapping[str, Any]) -> Activation:
        """Values for all names (absent ones are null), converted once for many evaluations of one object."""
        values = {name: data.get(name) for name in self.names}
        return Activation(self._with(()).Activation(values), values)


@dataclass(frozen=True, slots=True)
class Activation:
    """The values of an environment's names. Belongs to the thread that made it."""

    handle: Any
    values: Mapping[str, Any]
    shared: dict[Any, Any] = field(default_factory=dict[Any, Any])
    """Values of composed variables, and the errors of those that have none."""


@dataclass(frozen=True, slots=True)
class Program:
    """A compiled expression."""

    environment: Environment
    expression: Any
    shared: Shared | None = None

    @property
    def type(self) -> str:
        """The type that the expression gives, as far as it is known without values: `BOOL`, `STRING`, `DYN`."""
        if self.shared is not None:
            return self.shared.compiled(frozenset()).return_type().name()
        return self.expression.return_type().name()

    def evaluate(self, activation: Activation) -> Any:
        """The value, as JSON-like Python (bytes, datetime and timedelta beside). Raises CelError when evaluation fails."""
        try:
            if self.shared is not None:
                return plain(self.shared.evaluate(activation))
            return plain(self.expression.eval(activation.handle))
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


@dataclass(frozen=True, slots=True)
class Shared:
    """An expression with many variables. Their values are computed one by one and passed in, for the engine's parser has a limited depth;
    what fails, or is a value that cannot be passed (an optional, a time), is bound in the expression itself.
    """

    environment: Environment
    expression: str
    variables: dict[str, str]
    needed: tuple[str, ...]
    key: tuple[tuple[str, str], ...]

    def compiled(self, bound: frozenset[str]) -> Any:
        """The expression with some of its variables bound. Raises CelError."""
        given = tuple(VARIABLE + n for n in self.needed)
        names = [n for n in self.needed if n in bound]
        return self.environment._compile(self.environment._bound(self.expression, self.variables, names), given)  # pyright: ignore[reportPrivateUsage]

    def evaluate(self, activation: Activation) -> Any:
        """The engine's value. Raises CelError, RuntimeError."""
        values: dict[str, Any] = {}
        bound: set[str] = set()
        for name in self.needed:
            passed, value = self._value(name, activation)
            if passed:
                values[VARIABLE + name] = value
            else:
                bound.add(name)
        # What a bound variable names has to be there as well, where it is bound itself.
        expression = self.compiled(frozenset(bound))
        data = {**activation.values, **{VARIABLE + n: None for n in self.needed}, **values}
        given = tuple(VARIABLE + n for n in self.needed)
        engine = self.environment._with(given)  # pyright: ignore[reportPrivateUsage]
        return expression.eval(engine.Activation(data))

    def _value(self, name: str, activation: Activation) -> tuple[bool, Any]:
        key = (self.key, name)
        if key not in activation.shared:
            before = dict(pair for pair in self.key[: [n for n, _ in self.key].index(name)])
            try:
                value = self.environment.compile(self.variables[name], before).evaluate(activation)
                activation.shared[key] = (_passes(value), value)
            except CelError:
                activation.shared[key] = (False, None)
        return activation.shared[key]


def plain(value: Any) -> Any:
    """The engine's value as Python has it. Raises CelError for an error, TypeError for what is no value outside of an expression."""
    if value.type().name() == "ERROR":
        raise CelError(words(str(value.plain_value())))
    return value.plain_value()


def _passes(value: Any) -> bool:
    """Whether a value can be passed into another expression and stays what it is."""
    if isinstance(value, dict):
        return all(isinstance(k, str) and _passes(v) for k, v in value.items())
    if isinstance(value, list):
        return all(_passes(v) for v in value)
    return value is None or isinstance(value, str | int | float | bool)


def is_plain(value: Any) -> bool:
    """Whether a value can stand in a document: no value of a library type is in it."""
    if isinstance(value, dict):
        return KIND not in value and all(isinstance(k, str) and is_plain(v) for k, v in value.items())
    if isinstance(value, list):
        return all(is_plain(v) for v in value)
    return value is None or isinstance(value, str | int | float | bool)
