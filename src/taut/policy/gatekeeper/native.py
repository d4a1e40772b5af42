"""CEL in a template (`K8sNativeValidation`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from taut.policy.admission.expressions import NAMES, Expressions, values, variables_of
from taut.policy.cel import CelError, Environment
from taut.policy.gatekeeper.errors import GatekeeperError
from taut.policy.review import Review

_ENVIRONMENT = Environment(NAMES)
_OWN = {"params": "params", "anyObject": "object == null ? oldObject : object"}


@dataclass(frozen=True)
class Native:
    """A template's source in CEL."""

    source: Mapping[str, Any]

    @cached_property
    def _expressions(self) -> Expressions:
        return Expressions(_ENVIRONMENT, self.source, {**_OWN, **variables_of(self.source)})

    def check(self) -> None:
        """Compile it. Raises GatekeeperError."""
        faults = self._expressions.faults()
        if faults:
            raise GatekeeperError("; ".join(faults))

    def violations(self, review: Review, parameters: Any) -> list[dict[str, Any]]:
        """The validations that do not hold, as `msg`. Raises GatekeeperError when one cannot be evaluated and that is no denial."""
        activation = _ENVIRONMENT.activation({**values(review), "params": parameters})
        holds = self._expressions.condition(activation)
        if isinstance(holds, CelError):
            raise GatekeeperError(str(holds))
        if not holds:
            return []
        return [{"msg": failure.message} for failure in self._expressions.failures(activation)]
