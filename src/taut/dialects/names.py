"""Names that documents of taut's own take."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from taut.dialects.kinds import DNS_LABEL

PlainName = Annotated[str, Meta(min_length=1, max_length=63, pattern=DNS_LABEL)]
"""A DNS label."""
