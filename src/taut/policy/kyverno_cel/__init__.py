"""Kyverno's policies in CEL (policies.kyverno.io): ValidatingPolicy, MutatingPolicy, ImageValidatingPolicy, PolicyException."""

from taut.policy.kyverno_cel.build import ENGINE

__all__ = ["ENGINE"]
