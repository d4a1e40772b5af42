"""Gatekeeper: constraint templates and constraints, mutators, expansion of workloads."""

from taut.policy.gatekeeper.build import ENGINE

__all__ = ["ENGINE"]
