"""Assessing never raises, whatever an object says."""

import ast
import copy
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

import taut.health
from conformance.cases import argocd_cases
from taut.health.assess import assess
from taut.health.catalog import CATALOG
from taut.model.health import Health

SOURCES = Path(taut.health.__file__).parent.rglob("*.py")
WORDS = sorted(
    {
        node.value
        for source in SOURCES
        for node in ast.walk(ast.parse(source.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and 0 < len(node.value) < 40
    }
)
"""Every key and word that a rule may look for."""

KINDS = [
    (group.replace("*", "any"), "Thing" if kind == "*" else kind) for group, kinds in CATALOG.items() for kind in kinds
]
BODIES = [case.body for case in argocd_cases()]

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.just(10**300),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["True", "False", "Unknown", "3", "²", "1/0", "{message}", "{0}"]),
    st.sampled_from(WORDS),
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(WORDS), inner, max_size=5)),
    max_leaves=20,
)


@given(kind=st.sampled_from([*KINDS, ("example.com", "Unheard"), ("", "")]), spec=JSON, status=JSON, metadata=JSON)
def test_any_status_of_any_kind(kind, spec, status, metadata):
    group, name = kind
    body = {"apiVersion": f"{group}/v1", "kind": name, "metadata": metadata, "spec": spec, "status": status}
    assert isinstance(assess(body), Health)


@given(body=JSON)
def test_any_value_at_all(body):
    assert isinstance(assess(body), Health)


@given(data=st.data(), value=JSON)
def test_a_real_object_with_one_value_replaced(data, value):
    body = copy.deepcopy(data.draw(st.sampled_from(BODIES)))
    place, key = body, data.draw(st.sampled_from(("status", "spec", "metadata")))
    place.setdefault(key, {})
    while isinstance(place[key], dict | list) and place[key] and data.draw(st.booleans()):
        place = place[key]
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
    place[key] = value
    assert isinstance(assess(body), Health)


def test_a_number_too_long_to_print():
    body = {"apiVersion": "a.b/v1", "kind": "Thing", "status": {"phase": 10**5000, "readyReplicas": -(10**5000)}}
    assert isinstance(assess(body), Health)
