"""Kubernetes' own admission policies in CEL: ValidatingAdmissionPolicy and MutatingAdmissionPolicy, with their bindings."""

from taut.policy.admission.build import ENGINE

__all__ = ["ENGINE"]
