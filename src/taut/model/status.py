"""The status of an application, as the API, the CLI and the dialects show it."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from taut.model.health import HealthStatus


class SyncStatus(StrEnum):
    """Whether live is what Git says."""

    SYNCED = "Synced"
    OUT_OF_SYNC = "OutOfSync"
    UNKNOWN = "Unknown"


class Problem(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """One thing that is wrong, apart from all others."""

    what: str
    where: str = ""
    advice: str = ""
    stage: str = ""
    """source, render, plan, policy, apply, health, or target."""


class HeldFor(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What a held plan waits for."""

    kind: str
    message: str
    objects: tuple[str, ...] = ()
    approvable: bool = True


class ObjectStatus(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """One object of an application."""

    group: str
    kind: str
    namespace: str
    name: str
    sync: SyncStatus
    health: HealthStatus | None = None
    message: str = ""
    wave: int = 0
    hook: str = ""
    parent: str = ""


class AppStatus(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """One application. Times are RFC 3339 texts in UTC, empty when it never happened. `name` is unique enough to show; `key` is exact."""

    key: str
    root: str
    namespace: str
    name: str
    project: str
    cluster: str
    target_namespace: str
    mode: str
    sync: SyncStatus
    health: HealthStatus
    health_message: str = ""
    operation: str = ""
    """Running, Succeeded, Failed, Aborted, Superseded; empty when there was none."""
    operation_message: str = ""
    held_for: tuple[HeldFor, ...] = ()
    plan_hash: str = ""
    """Of the plan that is held or pending; empty when there is nothing to do."""
    revision: str = ""
    """The revision last synced completely."""
    desired_revision: str = ""
    author: str = ""
    """Of the desired revision; empty where the source has none."""
    commit_message: str = ""
    """The first line of what the desired revision's author wrote."""
    message: str = ""
    """One sentence: what, why, what taut does next."""
    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()
    last_sync: str = ""
    objects: int = 0
    out_of_sync: int = 0
    drift: int = 0
    """Open drift records."""
    drift_since: str = ""
    """When the oldest of them was noticed."""
    suspended: bool = False
    contested: bool = False
    source_url: str = ""
    source_path: str = ""
    labels: dict[str, str] = {}
    info: dict[str, str] = {}
    """What the document says to show, such as links."""
    policy_failures: int = 0
    """How many of its objects fail a policy as they run now; known where `policyReports` is on."""
    handled: int = 0
    """The number of the newest request by a person that was carried out; who waits for a sync waits for this."""
