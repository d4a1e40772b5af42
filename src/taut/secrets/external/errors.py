"""What is told when a value cannot be had: which store, which key, why, and what to do. Never a value."""

from __future__ import annotations

from dataclasses import dataclass

from taut.model.errors import TautError, Where


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked of a store."""

    store: str = ""
    provider: str = ""
    key: str = ""
    property: str = ""

    def __str__(self) -> str:
        provider = f" ({self.provider})" if self.provider else ""
        parts = [f"{self.store}{provider}" if self.store else "", f"key {self.key}" if self.key else ""]
        parts.append(f"property {self.property}" if self.property else "")
        return ", ".join(p for p in parts if p)


class ExternalError(TautError):
    """An ExternalSecret cannot be resolved. `asked` says of which store what was wanted; empty where no store was asked."""

    def __init__(self, what: str, *, where: Where | None = None, advice: str = "", asked: Asked | None = None) -> None:
        self.asked = asked or Asked()
        place = str(self.asked)
        super().__init__(f"{place}: {what}" if place else what, where=where, advice=advice)


class ProviderError(Exception):
    """A store did not give a value; the text says why and `advice` what to do, and neither holds a value."""

    def __init__(self, what: str, advice: str = "") -> None:
        super().__init__(what)
        self.advice = advice


class NothingThereError(ProviderError):
    """The store was asked, and there is no such key: what happens then is the deletionPolicy's choice."""
