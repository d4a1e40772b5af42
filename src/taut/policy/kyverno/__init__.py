"""Kyverno's ClusterPolicy and Policy, with PolicyException."""

from taut.policy.kyverno.build import ENGINE

__all__ = ["ENGINE"]
