"""Equal values in different texts."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from taut.planning.lists import is_built_in
from taut.planning.values import Sameness, compare_scalars, duration, quantity

SAME, DOUBTFUL, DIFFERENT = Sameness.SAME, Sameness.DOUBTFUL, Sameness.DIFFERENT
LIMIT = ("f:spec", "f:containers", 'k:{"name":"x"}', "f:resources", "f:limits", "f:cpu")


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1", 1),
        ("1000m", 1),
        ("0.5", Fraction(1, 2)),
        (".5", Fraction(1, 2)),
        ("1Gi", 2**30),
        ("1024Mi", 2**30),
        ("1k", 1000),
        ("1e3", 1000),
        ("1E3", 1000),
        ("1E", 10**18),
        ("-2", -2),
        (2, 2),
        (1.5, Fraction(3, 2)),
        ("100n", Fraction(1, 10**7)),
        ("", None),
        ("1 Gi", None),
        ("Gi", None),
        ("1e999999999", None),
        (True, None),
        (None, None),
        ([], None),
    ],
)
def test_quantities(text: Any, number: Fraction | None) -> None:
    assert quantity(text) == number


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ("60s", "1m0s", True),
        ("1h30m", "90m", True),
        ("1.5h", "90m0s", True),
        ("1s", "2s", False),
        ("-1m", "-60s", True),
    ],
)
def test_durations(one: str, other: str, equal: bool) -> None:
    assert (duration(one) == duration(other)) is equal


@pytest.mark.parametrize("text", ["", "5", "s", "5 s", "1m 0s", 5, None])
def test_no_durations(text: Any) -> None:
    assert duration(text) is None


@pytest.mark.parametrize(
    ("desired", "live", "kind", "path", "built_in", "verdict"),
    [
        ("1000m", "1", "Pod", LIMIT, True, SAME),
        (1, "1", "Pod", LIMIT, True, SAME),
        ("1000m", "2", "Pod", LIMIT, True, DIFFERENT),
        ("1000m", "1", "Widget", LIMIT, False, DOUBTFUL),
        ("1000m", "1", "ConfigMap", ("f:data", "f:cpu"), True, DIFFERENT),
        ("1000m", "1", "LimitRange", ("f:spec", "f:limits", "i:0", "f:max", "f:cpu"), True, SAME),
        ("60s", "1m0s", "Widget", ("f:spec", "f:every"), False, DOUBTFUL),
        ("80", 80, "Service", ("f:spec", "f:x"), True, DOUBTFUL),
        (True, 1, "Widget", ("f:spec", "f:x"), False, DIFFERENT),
        (1, 1.0, "Widget", ("f:spec", "f:x"), False, SAME),
        ("2026-01-01T00:00:00+00:00", "2026-01-01T00:00:00Z", "Widget", ("f:spec", "f:at"), False, DOUBTFUL),
        ("YQ==\n", "YQ==", "Secret", ("f:data", "f:a"), True, SAME),
        ("YQ==", "Yg==", "Secret", ("f:data", "f:a"), True, DIFFERENT),
        (
            "YQ\n==",
            "YQ==",
            "ValidatingWebhookConfiguration",
            ("f:webhooks", "f:clientConfig", "f:caBundle"),
            True,
            SAME,
        ),
        ("a", "b", "Widget", ("f:spec", "f:x"), False, DIFFERENT),
        ("1", "01", "ConfigMap", ("f:metadata", "f:labels", "f:a"), True, DIFFERENT),
    ],
)
def test_scalars(desired: Any, live: Any, kind: str, path: tuple[str, ...], built_in: bool, verdict: Sameness) -> None:
    assert compare_scalars(desired, live, kind=kind, path=path, built_in=built_in) is verdict


@pytest.mark.parametrize(
    ("api_version", "built_in"),
    [
        ("v1", True),
        ("apps/v1", True),
        ("rbac.authorization.k8s.io/v1", True),
        ("gateway.networking.k8s.io/v1", False),
        ("example.com/v1", False),
        ("metrics.k8s.io/v1beta1", False),
    ],
)
def test_built_in_groups(api_version: str, built_in: bool) -> None:
    assert is_built_in(api_version) is built_in
