"""Merging Helm values. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Helm's rule for values files: mappings are merged, everything else is replaced; null stays, and removes a default of the chart."""
    result = dict(base)
    for key, value in over.items():
        there = result.get(key)
        result[key] = merge(there, value) if isinstance(there, dict) and isinstance(value, dict) else value
    return result


def merge_indexed(base: Any, over: Any) -> Any:
    """As `merge`, but lists are merged item by item, where null in `over` keeps what is there: what `--set a[1]=x` means."""
    if isinstance(base, dict) and isinstance(over, dict):
        return {**base, **{k: merge_indexed(base.get(k), v) for k, v in over.items()}}
    if isinstance(over, list) and isinstance(base, list):
        length = max(len(base), len(over))
        padded = [*base, *[None] * (length - len(base))], [*over, *[None] * (length - len(over))]
        return [b if o is None else merge_indexed(b, o) for b, o in zip(*padded, strict=True)]
    return over
