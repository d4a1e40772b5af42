"""taut's own checks: of one object, and of all objects together. Each has a name, and is switched off by name or by an annotation with a reason."""

from taut.policy.builtin.checks import CHECKS, check

__all__ = ["CHECKS", "check"]
