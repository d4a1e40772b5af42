"""All parsers."""

from __future__ import annotations

from fuzz import parsers_of_documents, parsers_of_objects, parsers_of_policies, parsers_of_sources
from fuzz.registry import PARSERS, Parser, hold

__all__ = [
    "PARSERS",
    "Parser",
    "hold",
    "parsers_of_documents",
    "parsers_of_objects",
    "parsers_of_policies",
    "parsers_of_sources",
]
