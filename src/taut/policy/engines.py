"""Which engine reads which documents. An engine is loaded when there is a document for it."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Sequence

from taut.policy import shapes
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
        built = _built(engine, own, [*others, *also])
        policies += built.policies
        troubles += built.troubles
    told = {t.origin for t in troubles if t.grave}
    troubles += (t for t in shapes.troubles([g for g in listed if is_policy(*_type(g))]) if t.origin not in told)
    return Built(tuple(policies), tuple(troubles))


def _built(engine: Engine, own: Sequence[Given], others: Sequence[Given]) -> Built:
    """What an engine makes of its documents. One that breaks it is left out, and told."""
    try:
        return _tried(engine.build([*own, *others]))
    except Exception:
        good, troubles = list[Given](), list[Trouble]()
        for given in own:
            try:
                _tried(engine.build([given, *others]))
                good.append(given)
            except Exception as error:  # noqa: BLE001
                what = f"the document is not of the shape that its kind has ({type(error).__name__})"
                troubles.append(
                    Trouble(given.origin, _name(given), what, "compare it with the documentation of the kind")
                )
        if not troubles:
            raise
        built = _built(engine, good, others) if good else Built()
        return Built(built.policies, (*troubles, *built.troubles))


def _tried(built: Built) -> Built:
    """What was built, after each policy said what everybody asks of it."""
    for policy in built.policies:
        _ = (policy.name, policy.hash, policy.mutates, policy.fails_open, policy.concerns("v1", "Pod"))
    return built


def _name(given: Given) -> str:
    metadata = given.body.get("metadata")
    return str(metadata.get("name") or "") if isinstance(metadata, dict) else ""


def _type(given: Given) -> tuple[str, str]:
    return str(given.body.get("apiVersion") or ""), str(given.body.get("kind") or "")
