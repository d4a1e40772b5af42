"""From where somebody asks: set by whoever lets a request in, read by whoever writes down what was asked."""

from __future__ import annotations

from contextvars import ContextVar

ASKED_FROM: ContextVar[str] = ContextVar("asked_from", default="")
"""An address, and how they signed in; empty where taut acts by itself."""
