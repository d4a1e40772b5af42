"""The order of a sync, as rows."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taut.model.manifests import Manifest
from taut.model.plan import Action, Change, Phase
from taut.model.refs import ObjectRef
from taut.planning.order import arrange, batches

GROUPS = {
    "CustomResourceDefinition": "apiextensions.k8s.io",
    "Deployment": "apps",
    "ValidatingWebhookConfiguration": "admissionregistration.k8s.io",
    "Widget": "x.dev",
    "APIService": "apiregistration.k8s.io",
}
CLUSTER_WIDE = {"Namespace", "CustomResourceDefinition", "ValidatingWebhookConfiguration", "APIService"}
PHASES = {"pre": Phase.PRE_SYNC, "post": Phase.POST_SYNC, "fail": Phase.SYNC_FAIL, "delete": Phase.DELETE}


def change(text: str) -> Change:
    """`[-]Kind/name[@wave][!phase]`; a leading `-` deletes."""
    text, _, phase = text.partition("!")
    text, _, wave = text.partition("@")
    kind, _, name = text.removeprefix("-").partition("/")
    ref = ObjectRef("local", GROUPS.get(kind, ""), kind, "" if kind in CLUSTER_WIDE else "shop", name)
    body: dict[str, Any] = {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}}
    if kind == "CustomResourceDefinition":
        body["spec"] = {"group": "x.dev", "names": {"kind": "Widget"}}
    action = Action.DELETE if text.startswith("-") else Action.CREATE
    desired = None if action is Action.DELETE else Manifest(body)
    return Change(ref, action, desired, phase=PHASES.get(phase, Phase.SYNC), wave=int(wave or 0))


def names(changes: tuple[Change, ...]) -> str:
    return " ".join(("-" if c.action is Action.DELETE else "") + f"{c.ref.kind}/{c.ref.name}" for c in changes)


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        ("Deployment/a ConfigMap/a Secret/a", "Secret/a ConfigMap/a Deployment/a"),
        ("ConfigMap/b ConfigMap/a", "ConfigMap/a ConfigMap/b"),
        ("ConfigMap/a@1 Deployment/a@-1", "Deployment/a ConfigMap/a"),
        ("ConfigMap/a!post Deployment/a Job/a!pre Job/b!fail", "Job/a Deployment/a ConfigMap/a Job/b"),
        # What others need comes first, whatever its wave.
        ("Deployment/a@-5 Namespace/n@3", "Namespace/n Deployment/a"),
        ("Widget/w CustomResourceDefinition/c@9 Namespace/n", "Namespace/n CustomResourceDefinition/c Widget/w"),
        ("Widget/w Service/a Deployment/a", "Service/a Deployment/a Widget/w"),
        ("APIService/a Widget/w", "Widget/w APIService/a"),
        # A hook needs its namespace, and its kind.
        ("Job/a!pre Namespace/shop ConfigMap/a", "Namespace/shop Job/a ConfigMap/a"),
        ("Job/a!pre Namespace/other ConfigMap/a", "Job/a Namespace/other ConfigMap/a"),
        ("Widget/w!pre CustomResourceDefinition/c", "CustomResourceDefinition/c Widget/w"),
        # What intercepts requests comes last in its wave.
        (
            "ValidatingWebhookConfiguration/v Deployment/a Widget/w ConfigMap/late@1",
            "Deployment/a Widget/w ValidatingWebhookConfiguration/v ConfigMap/late",
        ),
        # Deleting is backwards, and after applying.
        ("-ConfigMap/a -Deployment/a Deployment/b", "Deployment/b -Deployment/a -ConfigMap/a"),
        ("-ConfigMap/a@1 -Deployment/a@2 -Secret/a@-1", "-Deployment/a -ConfigMap/a -Secret/a"),
        (
            "-Namespace/n@5 -CustomResourceDefinition/c@3 -Widget/w -ValidatingWebhookConfiguration/v",
            "-ValidatingWebhookConfiguration/v -Widget/w -CustomResourceDefinition/c -Namespace/n",
        ),
        ("-ConfigMap/a Job/a!post", "-ConfigMap/a Job/a"),
    ],
)
def test_order(given_: str, expected: str) -> None:
    assert names(arrange(change(text) for text in given_.split())) == expected


def test_batches_are_cut_where_something_is_waited_for() -> None:
    texts = (
        "Job/a!pre Namespace/n CustomResourceDefinition/c Widget/w ConfigMap/a ConfigMap/b@1 -Secret/x -Namespace/old"
    )
    found = [
        (b.phase, b.wave, b.deleting, b.established, names(b.changes))
        for b in batches(arrange(change(text) for text in texts.split()))
    ]
    assert found == [
        (Phase.PRE_SYNC, 0, False, False, "Job/a"),
        (Phase.SYNC, 0, False, True, "Namespace/n"),
        (Phase.SYNC, 0, False, True, "CustomResourceDefinition/c"),
        (Phase.SYNC, 0, False, False, "ConfigMap/a Widget/w"),
        (Phase.SYNC, 1, False, False, "ConfigMap/b"),
        (Phase.SYNC, 0, True, False, "-Secret/x"),
        (Phase.SYNC, 0, True, False, "-Namespace/old"),
    ]


texts = st.builds(
    lambda minus, kind, name, wave: f"{minus}{kind}/{name}@{wave}",
    st.sampled_from(["", "-"]),
    st.sampled_from([*GROUPS, "ConfigMap", "Namespace", "Job"]),
    st.sampled_from("abc"),
    st.integers(-2, 2),
)


@settings(deadline=None)
@given(st.lists(texts, unique=True, max_size=12), st.randoms(use_true_random=False))
def test_the_order_does_not_depend_on_the_order_given(given_: list[str], random: Any) -> None:
    changes = [change(text) for text in given_]
    first = arrange(changes)
    random.shuffle(changes)
    assert [c.hash for c in arrange(changes)] == [c.hash for c in first]
    assert [c for b in batches(first) for c in b.changes] == list(first)
