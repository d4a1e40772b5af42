"""Which engine reads which documents. An engine is loaded when there is a document for it."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Sequence

from taut.policy.review import Built, Engine, Given, Policy, Trouble

type _Test = Callable[[str, str], bool]

_ADMISSION = frozenset({"ValidatingAdmissionPolicy", "MutatingAdmissionPolicy"})
_REGISTRY: tuple[tuple[str, _Test], ...] = (
    ("taut.policy.kyverno", lambda version, _: version.startswith("kyverno.io/")),
    ("taut.policy.kyverno_cel", lambda version, _: version.startswith("policies.kyverno.io/")),
    ("taut.policy.gatekeeper", lambda version, _: version.partition("/")[0].endswith(".gatekeeper.sh")),
    (
        "taut.policy.admission",
        lambda version, kind: (
            version.startswith("admissionregistration.k8s.io/") and kind.removesuffix("Binding") in _ADMISSION
        ),
    ),
)
_TESTS = "test.gatekeeper.sh/"


def is_policy(api_version: str, kind: str) -> bool:
    """Whether a document is one that an engine reads."""
    return not api_version.startswith(_TESTS) and any(test(api_version, kind) for _, test in _REGISTRY)


def build(documents: Iterable[Given], *, also: Sequence[Given] = ()) -> Built:
    """The policies of all documents; those that no engine reads are parameters for who asks for them, as are `also`."""
    listed = list(documents)
    policies: list[Policy] = []
    troubles: list[Trouble] = []
    others = [g for g in listed if not is_policy(*_type(g))]
    for module, test in _REGISTRY:
        own = [g for g in listed if test(*_type(g)) and is_policy(*_type(g))]
        if not own:
            continue
        engine: Engine = importlib.import_module(module).ENGINE
        built = engine.build([*own, *others, *also])
        policies += built.policies
        troubles += built.troubles
    return Built(tuple(policies), tuple(troubles))


def _type(given: Given) -> tuple[str, str]:
    return str(given.body.get("apiVersion") or ""), str(given.body.get("kind") or "")
