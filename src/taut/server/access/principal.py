"""Who asks, and what may be asked for: the words in which rights are written."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from taut.model.refs import AppKey


class Resource(StrEnum):
    """What rights are about. Argo CD's names, where it has the thing."""

    APPLICATIONS = "applications"
    PROJECTS = "projects"
    CLUSTERS = "clusters"
    REPOSITORIES = "repositories"
    ACCOUNTS = "accounts"
    LOGS = "logs"
    AUDIT = "audit"
    ALERTS = "alerts"
    METRICS = "metrics"


class Action(StrEnum):
    """What is done to it. Argo CD's names, where it has the thing."""

    GET = "get"
    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    SYNC = "sync"
    APPROVE = "approve"
    SUSPEND = "suspend"
    RESTART = "restart"
    ROLLBACK = "rollback"


@dataclass(frozen=True, slots=True)
class Target:
    """The thing itself: `names` are the spellings by which a rule may mean it (`shop/web`, and longer ones)."""

    resource: Resource
    names: tuple[str, ...] = ("*",)

    @classmethod
    def app(cls, key: AppKey, project: str, resource: Resource = Resource.APPLICATIONS) -> Target:
        """An application: `project/name` as in Argo CD, or `project/root/namespace/name`."""
        return cls(resource, tuple(dict.fromkeys((f"{project}/{key.name}", f"{project}/{key}"))))

    @classmethod
    def named(cls, resource: Resource, name: str) -> Target:
        """A thing with a name of its own, such as a cluster."""
        return cls(resource, (name,))

    def __str__(self) -> str:
        return f"{self.resource} {self.names[0]}" if self.names != ("*",) else str(self.resource)


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who signed in. `name` is told in the history and the audit; `subjects` are what rules may call them: the name, the groups, roles."""

    name: str
    subjects: frozenset[str] = field(default_factory=frozenset[str])
    how: str = ""
    """By what they signed in: `token`, `session`, `file` (the administrator's token on this machine), empty for nobody."""


NOBODY = Principal("anonymous")


class Rights(Protocol):
    """Tells what somebody may do."""

    def allows(self, who: Principal, action: Action, target: Target) -> bool:
        """Whether they may."""
        ...
