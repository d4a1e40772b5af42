"""Reading a live object that may hold anything: every accessor answers with a value of its type, whatever the object says."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

type Json = Any


@dataclass(frozen=True, slots=True)
class Condition:
    """One entry of a `conditions` list; texts are empty where the entry has none."""

    type: str
    status: str
    reason: str
    message: str
    observed_generation: int | None
    raw: Mapping[str, Json]

    @property
    def true(self) -> bool:
        """The condition holds."""
        return self.status == "True"

    @property
    def false(self) -> bool:
        """The condition does not hold."""
        return self.status == "False"

    @property
    def words(self) -> str:
        """What a person is told: the message, or the reason where there is no message."""
        return self.message or self.reason


class Observed:
    """A JSON object, read tolerantly. `at` gives what lies at a path (None when the path leads nowhere)."""

    def __init__(self, body: Json) -> None:
        self.body: Mapping[str, Json] = body if isinstance(body, dict) else {}

    def at(self, *path: str) -> Json:
        """The value at `path`, None when some part of it is missing or no object."""
        value: Json = self.body
        for key in path:
            if not isinstance(value, dict):
                return None
            value = value.get(key)
        return value

    def text(self, *path: str) -> str:
        """The text at `path`; a number in its shortest form; empty for anything else."""
        return as_text(self.at(*path))

    def number(self, *path: str) -> int | float | None:
        """The number at `path`; None for anything else."""
        return as_number(self.at(*path))

    def count(self, *path: str, default: int = 0) -> int:
        """The whole number at `path`, `default` when there is none."""
        value = self.number(*path)
        return default if value is None else int(value)

    def flag(self, *path: str) -> bool:
        """True only where `path` holds the boolean true."""
        return self.at(*path) is True

    def has(self, *path: str) -> bool:
        """Whether there is a value at `path`; null counts as none."""
        return self.at(*path) is not None

    def each(self, *path: str) -> list[Observed]:
        """The objects of the list at `path`; entries that are no objects are left out."""
        return objects(self.at(*path))

    def mapping(self, *path: str) -> Mapping[str, Json]:
        """The object at `path`, empty for anything else."""
        value = self.at(*path)
        return {k: v for k, v in value.items() if isinstance(k, str)} if isinstance(value, dict) else {}

    @cached_property
    def api_version(self) -> str:
        """apiVersion."""
        return self.text("apiVersion")

    @cached_property
    def group(self) -> str:
        """The API group; empty for the core group."""
        head, slash, _ = self.api_version.partition("/")
        return head if slash else ""

    @cached_property
    def kind(self) -> str:
        """The kind."""
        return self.text("kind")

    @cached_property
    def name(self) -> str:
        """metadata.name."""
        return self.text("metadata", "name")

    @cached_property
    def generation(self) -> int | None:
        """metadata.generation."""
        return as_generation(self.at("metadata", "generation"))

    @cached_property
    def observed_generation(self) -> int | None:
        """status.observedGeneration, also where it is written as text."""
        return as_generation(self.at("status", "observedGeneration"))

    @property
    def stale(self) -> bool:
        """The status describes another generation of the spec than the one at hand."""
        seen, wanted = self.observed_generation, self.generation
        return seen is not None and wanted is not None and seen != wanted

    @property
    def deleting(self) -> bool:
        """The object is marked for deletion and still there."""
        return self.has("metadata", "deletionTimestamp")

    @property
    def finalizers(self) -> list[str]:
        """metadata.finalizers."""
        return texts(self.at("metadata", "finalizers"))

    def annotation(self, key: str) -> str:
        """The annotation `key`; empty when it is not set."""
        return self.text("metadata", "annotations", key)

    def label(self, key: str) -> str:
        """The label `key`; empty when it is not set."""
        return self.text("metadata", "labels", key)

    @cached_property
    def conditions(self) -> list[Condition]:
        """status.conditions, in their order."""
        return conditions(self.at("status", "conditions"))

    def condition(self, *types: str) -> Condition | None:
        """The first condition of one of `types`."""
        return next((c for c in self.conditions if c.type in types), None)


def objects(value: Json) -> list[Observed]:
    """The objects in a list; empty for anything else."""
    return [Observed(item) for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def texts(value: Json) -> list[str]:
    """The texts in a list; empty for anything else."""
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def conditions(value: Json) -> list[Condition]:
    """Read a `conditions` list; entries that are no objects are left out."""
    return [
        Condition(
            type=item.text("type"),
            status=_truth(item.at("status")),
            reason=item.text("reason"),
            message=item.text("message"),
            observed_generation=as_generation(item.at("observedGeneration")),
            raw=item.body,
        )
        for item in objects(value)
    ]


def as_text(value: Json) -> str:
    """A text as it is, a number in its shortest form, empty for anything else."""
    if isinstance(value, str):
        return value
    number = as_number(value)
    return "" if number is None else str(number)


def as_number(value: Json) -> int | float | None:
    """A finite number of at most 64 bit (whole floats become integers); None for anything else, booleans too."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value if abs(value) < 2**64 else None
    if isinstance(value, float) and math.isfinite(value):
        return as_number(int(value)) if value.is_integer() else value
    return None


def as_generation(value: Json) -> int | None:
    """A generation, which some controllers write as text."""
    number = as_number(value)
    if number is not None:
        return int(number)
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20 else None


def _truth(value: Json) -> str:
    """A condition's status; some controllers write booleans."""
    if isinstance(value, bool):
        return str(value)
    return as_text(value)
