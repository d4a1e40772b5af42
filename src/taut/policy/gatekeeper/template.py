"""Constraint templates."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from taut.model.manifests import Body
from taut.policy.gatekeeper.errors import GatekeeperError
from taut.policy.gatekeeper.native import Native
from taut.policy.gatekeeper.rego import Rego

_TARGET = "admission.k8s.gatekeeper.sh"


@dataclass(frozen=True)
class Template:
    """A template. Raises GatekeeperError where something of it cannot be used."""

    document: Body

    @property
    def name(self) -> str:
        """Its name: the kind in lower case."""
        return str((self.document.get("metadata") or {}).get("name") or "")

    @cached_property
    def kind(self) -> str:
        """The kind of its constraints."""
        names = (((self.document.get("spec") or {}).get("crd") or {}).get("spec") or {}).get("names") or {}
        kind = names.get("kind")
        if not isinstance(kind, str) or not kind:
            raise GatekeeperError("spec.crd.spec.names.kind has to name the kind of the constraints")
        if kind.lower() != self.name:
            raise GatekeeperError(f"the template's name {self.name} has to be the kind {kind} in lower case")
        return kind

    @cached_property
    def schema(self) -> dict[str, Any]:
        """Of the parameters; empty where there is none."""
        validation = ((self.document.get("spec") or {}).get("crd") or {}).get("spec", {}).get("validation") or {}
        schema = validation.get("openAPIV3Schema")
        return schema if isinstance(schema, dict) else {}

    @cached_property
    def code(self) -> Rego | Native:
        """What judges: CEL where the template has it, as Gatekeeper prefers it, else Rego."""
        targets = (self.document.get("spec") or {}).get("targets")
        if not isinstance(targets, list) or len(targets) != 1 or not isinstance(targets[0], dict):
            raise GatekeeperError("spec.targets has to be a list of one target")
        target = targets[0]
        if target.get("target") != _TARGET:
            raise GatekeeperError(f"the target {target.get('target')!r} is not {_TARGET}")
        sources = {c.get("engine"): c.get("source") or {} for c in target.get("code") or () if isinstance(c, dict)}
        if "K8sNativeValidation" in sources:
            return Native(sources["K8sNativeValidation"])
        if "Rego" in sources:
            source = sources["Rego"]
            return Rego(str(source.get("rego") or ""), tuple(source.get("libs") or ()), source.get("version") == "v1")
        if not target.get("rego"):
            raise GatekeeperError("the target has neither rego nor code")
        return Rego(str(target["rego"]), tuple(target.get("libs") or ()))

    def check(self) -> None:
        """Everything that can be told without a constraint. Raises GatekeeperError."""
        _ = self.kind
        self.code.check()
