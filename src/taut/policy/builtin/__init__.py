"""taut's own checks: of one object, and of all objects together. Each has a name, and is switched off by name or by an annotation with a reason."""

from taut.policy.builtin.checks import NAMES, check
from taut.policy.builtin.schemas import Schemas, keep, read_openapi

__all__ = ["NAMES", "Schemas", "check", "keep", "read_openapi"]
