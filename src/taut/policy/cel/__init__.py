"""CEL with Kubernetes' library: the one evaluator of admission policies, Kyverno's CEL kinds and Gatekeeper's native validation.

`Environment` names the variables, `Environment.compile` gives a `Program`, `Program.evaluate` a JSON-like value; all failures are `CelError`.
"""

from taut.policy.cel.environment import Activation, Environment, Program
from taut.policy.cel.errors import CelError
from taut.policy.cel.functions import Function

__all__ = ["Activation", "CelError", "Environment", "Function", "Program"]
