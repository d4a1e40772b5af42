"""From documents to policies: constraints find their templates, and mutators their order."""

from __future__ import annotations

from collections.abc import Sequence

from taut.model.manifests import Body
from taut.policy.gatekeeper.constraint import Constraint
from taut.policy.gatekeeper.errors import GatekeeperError
from taut.policy.gatekeeper.expansion import Expansion
from taut.policy.gatekeeper.mutators import KINDS as MUTATORS
from taut.policy.gatekeeper.mutators import Mutators, mutator_fault
from taut.policy.gatekeeper.parameters import faults
from taut.policy.gatekeeper.template import Template
from taut.policy.review import Built, Given, Policy, Trouble

_GROUPS = (
    "templates.gatekeeper.sh/", "constraints.gatekeeper.sh/", "mutations.gatekeeper.sh/", "expansion.gatekeeper.sh/",
    "config.gatekeeper.sh/", "syncset.gatekeeper.sh/", "externaldata.gatekeeper.sh/", "status.gatekeeper.sh/",
)  # fmt: skip
_SILENT = frozenset({"Config", "SyncSet"})
"""They tell Gatekeeper what to keep in its cache; here everything that is asked for is looked up."""


class _Engine:
    def reads(self, api_version: str, kind: str) -> bool:
        """Documents of Gatekeeper's groups."""
        return api_version.startswith(_GROUPS)

    def build(self, documents: Sequence[Given]) -> Built:
        """One policy a constraint, and one for all mutators, which work on an object together."""
        documents = [g for g in documents if self.reads(str(g.body.get("apiVersion")), str(g.body.get("kind")))]
        templates: dict[str, Template] = {}
        troubles: list[Trouble] = []
        expansions = tuple(Expansion(g.body) for g in documents if g.body.get("kind") == "ExpansionTemplate")
        for given in documents:
            if given.body.get("kind") == "ConstraintTemplate":
                template = Template(given.body)
                try:
                    template.check()
                    templates[template.kind] = template
                except GatekeeperError as error:
                    troubles.append(Trouble(given.origin, template.name, str(error)))
        policies: list[Policy] = []
        mutators: list[Body] = []
        for given in documents:
            self._add(given, templates, expansions, policies, mutators, troubles)
        if mutators:
            policies.append(Mutators(tuple(mutators)))
        return Built(tuple(policies), tuple(troubles))

    def _add(
        self,
        given: Given,
        templates: dict[str, Template],
        expansions: tuple[Expansion, ...],
        policies: list[Policy],
        mutators: list[Body],
        troubles: list[Trouble],
    ) -> None:
        version, kind = str(given.body.get("apiVersion")), str(given.body.get("kind"))
        name = str((given.body.get("metadata") or {}).get("name") or "")
        if version.startswith("constraints."):
            fault = _constraint_fault(given.body, templates.get(kind))
            if fault:
                troubles.append(Trouble(given.origin, f"{kind}/{name}", fault))
            else:
                policies.append(Constraint(given.body, templates[kind], expansions))
        elif kind in MUTATORS:
            fault = mutator_fault(given.body)
            if fault:
                troubles.append(Trouble(given.origin, f"{kind}/{name}", fault))
            else:
                mutators.append(given.body)
        elif kind not in {"ConstraintTemplate", "ExpansionTemplate"} | _SILENT:
            troubles.append(
                Trouble(given.origin, name, f"{kind} is for Gatekeeper in the cluster, and not evaluated here")
            )


def _constraint_fault(body: Body, template: Template | None) -> str:
    if template is None:
        return f"there is no template for constraints of the kind {body.get('kind')}"
    spec = body.get("spec") or {}
    if not isinstance(spec, dict):
        return "spec has to be a mapping"
    action = spec.get("enforcementAction")
    if action is not None and not isinstance(action, str):
        return "spec.enforcementAction has to be a text"
    return "; ".join(faults(spec.get("parameters") or {}, template.schema)) if "parameters" in spec else ""


ENGINE = _Engine()
