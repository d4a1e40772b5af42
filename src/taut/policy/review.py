"""The question that every engine answers, and what it may look up: one shape for a laptop, a pull request, an apply and admission."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from taut.model.manifests import Body
from taut.model.verdict import Subject, Verdict


class Operation(StrEnum):
    """What is about to happen to the object."""

    CREATE = "CREATE"
    UPDATE = "UPDATE"
    DELETE = "DELETE"
    CONNECT = "CONNECT"


@dataclass(frozen=True, slots=True)
class User:
    """Who does it. `known` is False off the cluster (laptop, pull request): rules about users cannot be judged then, which is said."""

    name: str = ""
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, Sequence[str]] = field(default_factory=dict)
    roles: tuple[str, ...] = ()
    cluster_roles: tuple[str, ...] = ()
    known: bool = False


@dataclass(frozen=True, slots=True)
class Review:
    """One object about to be written (`object`; None at DELETE), or what is there (`old_object`; None at CREATE).

    `resource` is the plural with its group and version (`apps/v1/deployments`; empty where it is not known), `namespace_object` the
    Namespace it is in, where known. `namespaced` None: not known.
    """

    object: Body | None
    old_object: Body | None = None
    operation: Operation = Operation.CREATE
    user: User = User()
    resource: str = ""
    subresource: str = ""
    namespace_object: Body | None = None
    namespaced: bool | None = None
    dry_run: bool = False
    uid: str = ""

    @property
    def body(self) -> Body:
        """The object that is judged: the old one where there is no new one."""
        return self.object if self.object is not None else (self.old_object or {})

    @property
    def subject(self) -> Subject:
        """Its name."""
        found = self.body.get("metadata")
        metadata: Mapping[str, Any] = found if isinstance(found, dict) else {}
        return Subject(
            str(self.body.get("apiVersion") or ""),
            str(self.body.get("kind") or ""),
            str(metadata.get("namespace") or ""),
            str(metadata.get("name") or metadata.get("generateName") or ""),
        )


class NotKnown(Exception):
    """A lookup cannot be answered here (no cluster, no right, no network). The verdict is ERROR then, never a pass."""


class Lookup(Protocol):
    """What policies may ask for besides the object. All raise NotKnown when it cannot be told."""

    def get(self, api_version: str, kind: str, namespace: str, name: str) -> Body | None:
        """One object; None when it is known that there is none."""
        ...

    def list(self, api_version: str, kind: str, namespace: str = "") -> Sequence[Body]:
        """All objects of a kind, in a namespace or (empty) in all."""
        ...

    def raw(self, method: str, path: str, body: Any = None) -> Any:
        """The answer to a request of the target's API (`apiCall`), as JSON values. Nothing but the target can be asked."""
        ...


class Nothing:
    """A lookup that knows nothing: a check of files alone. Every method raises NotKnown."""

    def get(self, api_version: str, kind: str, namespace: str, name: str) -> Body | None:
        """Never known."""
        raise NotKnown(f"{kind} {namespace}/{name}: there is no cluster to ask")

    def list(self, api_version: str, kind: str, namespace: str = "") -> Sequence[Body]:
        """Never known."""
        raise NotKnown(f"{kind}: there is no cluster to ask")

    def raw(self, method: str, path: str, body: Any = None) -> Any:
        """Never known."""
        raise NotKnown(f"{path}: there is no cluster to ask")


class Policy(Protocol):
    """A compiled policy of any engine. Evaluation never raises for what a policy or an object holds: that is a verdict of ERROR."""

    @property
    def name(self) -> str:
        """Its name, with the namespace ahead of it where it has one."""
        ...

    @property
    def engine(self) -> str:
        """`kyverno`, `gatekeeper`, `admission` or `taut`."""
        ...

    @property
    def hash(self) -> str:
        """The hash of all that decides its verdicts besides the review and lookups: results are kept by it."""
        ...

    @property
    def mutates(self) -> bool:
        """Whether it may complete objects."""
        ...

    @property
    def fails_open(self) -> bool | None:
        """Whether the target may go on without it where it cannot be asked; None: the policy does not say."""
        ...

    def concerns(self, api_version: str, kind: str, resource: str = "") -> bool:
        """A quick test, exact or too wide: whether it may have something to say of this kind.

        `resource` is its name in the API (`deployments`, `pods/exec`), where known: rules that speak of resources are held against it, not
        against a guess.
        """
        ...

    def validate(self, review: Review, lookup: Lookup) -> list[Verdict]:
        """Its verdicts; empty when it is not about this object."""
        ...

    def mutate(self, review: Review, lookup: Lookup) -> tuple[Body, list[Verdict]]:
        """The object as the policy completes it (the same one if it does not), and what it says of that. Never changes its argument."""
        ...


@dataclass(frozen=True, slots=True)
class Given:
    """A policy document as it was found. `origin` is `file:line`, or the name of the object in the target."""

    body: Body
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Trouble:
    """A policy document (or a part of one) that is not judged by: `what` and `advice` are for people.

    `elsewhere`: nothing is wrong with it, another program (Kyverno, Gatekeeper) does in the cluster what it says. `doubt`: it is judged by, and may not
    be what its author meant.
    """

    origin: str
    policy: str
    what: str
    advice: str = ""
    elsewhere: bool = False
    doubt: bool = False

    @property
    def grave(self) -> bool:
        """Whether something that was meant to hold does not."""
        return not (self.elsewhere or self.doubt)

    def __str__(self) -> str:
        kind = "left out" if self.elsewhere else "in doubt" if self.doubt else "cannot be used"
        return f"{self.origin}: {self.policy}: {kind}: {self.what}" + (f" ({self.advice})" if self.advice else "")


@dataclass(frozen=True, slots=True)
class Built:
    """What an engine made of its documents."""

    policies: tuple[Policy, ...] = ()
    troubles: tuple[Trouble, ...] = ()


class Engine(Protocol):
    """The door of each engine's package: `ENGINE`, an object of this shape."""

    def reads(self, api_version: str, kind: str) -> bool:
        """Whether documents of this kind are this engine's (policies, bindings, exceptions, templates, constraints, parameters)."""
        ...

    def build(self, documents: Sequence[Given]) -> Built:
        """The policies of these documents, together: bindings, exceptions and parameters among them are heard. Never raises for what they hold."""
        ...
