"""What objects say about themselves, in four dialects."""

from __future__ import annotations

from typing import Any

import pytest

from taut.model.manifests import Manifest
from taut.planning.options import ObjectOptions, Removal, parse_annotations, parse_options

NEVER, ASKS = Removal.NEVER, Removal.ASKS
ARGO = "argocd.argoproj.io/sync-options"


@pytest.mark.parametrize(
    ("annotations", "options"),
    [
        ({}, ObjectOptions()),
        ({"taut.dev/prune": "false"}, ObjectOptions(prune=NEVER)),
        ({"taut.dev/prune": "ask"}, ObjectOptions(prune=ASKS)),
        ({"taut.dev/delete": "false"}, ObjectOptions(delete=NEVER)),
        ({"taut.dev/recreate": "allow"}, ObjectOptions(recreate=True)),
        ({"taut.dev/ignore-health": "true"}, ObjectOptions(ignore_health=True)),
        ({"taut.dev/apply": "once"}, ObjectOptions(once=True)),
        ({"taut.dev/apply": "never"}, ObjectOptions(skip=True)),
        ({"taut.dev/wave": "-3"}, ObjectOptions(wave=-3)),
        ({"argocd.argoproj.io/sync-wave": "5"}, ObjectOptions(wave=5)),
        ({"taut.dev/wave": "1", "argocd.argoproj.io/sync-wave": "5"}, ObjectOptions(wave=1)),
        ({ARGO: "Prune=false, Delete=confirm"}, ObjectOptions(prune=NEVER, delete=ASKS)),
        ({ARGO: "Prune=confirm"}, ObjectOptions(prune=ASKS)),
        ({ARGO: "Replace=true"}, ObjectOptions(recreate=True)),
        ({ARGO: "Force=true,ServerSideApply=true,PruneLast=true"}, ObjectOptions(recreate=True)),
        ({ARGO: "Validate=false,SkipDryRunOnMissingResource=true"}, ObjectOptions()),
        ({"argocd.argoproj.io/ignore-healthcheck": "true"}, ObjectOptions(ignore_health=True)),
        ({"helm.sh/resource-policy": "keep"}, ObjectOptions(prune=NEVER, delete=NEVER)),
        ({"kustomize.toolkit.fluxcd.io/prune": "Disabled"}, ObjectOptions(prune=NEVER)),
        ({"kustomize.toolkit.fluxcd.io/force": "enabled"}, ObjectOptions(recreate=True)),
        ({"kustomize.toolkit.fluxcd.io/ssa": "IfNotPresent"}, ObjectOptions(once=True)),
        ({"kustomize.toolkit.fluxcd.io/reconcile": "disabled"}, ObjectOptions(skip=True)),
        # taut's own word is the last one.
        ({"helm.sh/resource-policy": "keep", "taut.dev/prune": "true"}, ObjectOptions(delete=NEVER)),
    ],
)
def test_words(annotations: dict[str, str], options: ObjectOptions) -> None:
    assert parse_annotations(annotations) == (options, ())


def test_flux_words_may_be_labels_and_no_others() -> None:
    assert parse_annotations({}, {"kustomize.toolkit.fluxcd.io/prune": "disabled"})[0].prune is NEVER
    assert parse_annotations({}, {"taut.dev/prune": "false"})[0].prune is Removal.ALLOWED


@pytest.mark.parametrize(
    ("annotations", "said"),
    [
        ({"taut.dev/prune": "no"}, "taut.dev/prune is 'no'"),
        ({"taut.dev/wave": "first"}, "no whole number"),
        ({"taut.dev/wave": "99999999999"}, "no whole number"),
        ({ARGO: "Prunes=false"}, "'Prunes=false' is not known"),
        ({ARGO: "Prune=maybe"}, "sync option Prune is 'maybe'"),
        ({"taut.dev/apply": 1}, "taut.dev/apply is '1'"),
    ],
)
def test_unknown_values_are_a_warning(annotations: dict[str, Any], said: str) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "annotations": annotations}}
    options, warnings = parse_options(Manifest(body))
    assert options == ObjectOptions()
    assert len(warnings) == 1
    assert said in warnings[0]
    assert warnings[0].startswith("ConfigMap a: ")
