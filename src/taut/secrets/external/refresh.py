"""When an ExternalSecret is to be resolved again."""

from __future__ import annotations

from taut.secrets.external.documents import ExternalSecret


def due(external: ExternalSecret, *, resolved_at: float | None, changed: bool, exists: bool) -> float | None:
    """The time (in seconds, on the clock of `resolved_at`) at which it is to be resolved; None: not until something changes.

    `resolved_at` is when that was done last (None: never), `changed` whether the document is another one since, `exists` whether the Secret is there.
    0.0 means now.
    """
    if resolved_at is None:
        return None if external.spec.refresh_policy == "CreatedOnce" and exists else 0.0
    match external.spec.refresh_policy:
        case "CreatedOnce":
            return None if exists else 0.0
        case "OnChange":
            return 0.0 if changed or not exists else None
        case _:
            if changed or not exists:
                return 0.0
            return resolved_at + external.refresh_seconds if external.refresh_seconds > 0 else None
