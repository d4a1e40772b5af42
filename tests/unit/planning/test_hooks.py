"""Hooks: phases, policies, and one run for each content and revision."""

from __future__ import annotations

import pytest

from taut.model.live import RUN_KEY
from taut.model.manifests import Manifest
from taut.model.plan import Phase
from taut.model.refs import AppKey
from taut.planning.hooks import DeletePolicy, Fate, HookSpec, hook_manifest, parse_hook, run_key

APP = AppKey("main", "", "shop")
PRE, SYNC, POST, FAIL = Phase.PRE_SYNC, Phase.SYNC, Phase.POST_SYNC, Phase.SYNC_FAIL


def with_annotations(annotations: dict[str, str]) -> Manifest:
    metadata = {"name": "j", "annotations": annotations}
    return Manifest({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata})


ARGO, HELM, TAUT = "argocd.argoproj.io/hook", "helm.sh/hook", "taut.dev/hook"


@pytest.mark.parametrize(
    ("annotations", "phases"),
    [
        ({TAUT: "PreSync"}, (PRE,)),
        ({TAUT: "post-sync, pre-sync"}, (PRE, POST)),
        ({ARGO: "Sync"}, (SYNC,)),
        ({ARGO: "PreSync,SyncFail"}, (PRE, FAIL)),
        ({ARGO: "PreDelete,PostDelete"}, (Phase.PRE_DELETE, Phase.POST_DELETE)),
        ({HELM: "pre-install,pre-upgrade"}, (PRE,)),
        ({HELM: "post-install"}, (POST,)),
        ({HELM: "post-upgrade,test"}, (POST,)),
        ({HELM: "pre-delete"}, (Phase.PRE_DELETE,)),
        ({HELM: "test", ARGO: "PreSync"}, (PRE,)),
        ({ARGO: "PostSync", TAUT: "PreSync"}, (PRE,)),
    ],
)
def test_phases(annotations: dict[str, str], phases: tuple[Phase, ...]) -> None:
    fate, hook, warnings = parse_hook(with_annotations(annotations))
    assert fate is Fate.HOOK
    assert hook is not None
    assert (hook.phases, warnings) == (phases, ())


@pytest.mark.parametrize(
    ("annotations", "fate", "warned"),
    [
        ({}, Fate.NORMAL, False),
        ({TAUT: ""}, Fate.NORMAL, False),
        ({HELM: "crd-install"}, Fate.NORMAL, False),
        ({HELM: "test"}, Fate.DROPPED, False),
        ({HELM: "test-success"}, Fate.DROPPED, False),
        ({HELM: "pre-rollback,post-rollback"}, Fate.DROPPED, False),
        ({ARGO: "Skip"}, Fate.DROPPED, False),
        ({ARGO: "BeforeSync"}, Fate.DROPPED, True),
        ({TAUT: "PreSync,Later"}, Fate.HOOK, True),
    ],
)
def test_fates(annotations: dict[str, str], fate: Fate, warned: bool) -> None:
    found, _, warnings = parse_hook(with_annotations(annotations))
    assert (found, bool(warnings)) == (fate, warned)


@pytest.mark.parametrize(
    ("annotations", "policies", "wave"),
    [
        ({TAUT: "PreSync"}, {DeletePolicy.BEFORE_CREATION}, 0),
        ({ARGO: "PreSync", f"{ARGO}-delete-policy": "HookSucceeded"}, {DeletePolicy.SUCCEEDED}, 0),
        (
            {HELM: "pre-install", f"{HELM}-delete-policy": "hook-succeeded,hook-failed", f"{HELM}-weight": "-5"},
            {DeletePolicy.SUCCEEDED, DeletePolicy.FAILED},
            -5,
        ),
        (
            {HELM: "pre-install", f"{HELM}-weight": "2", "argocd.argoproj.io/sync-wave": "7"},
            {DeletePolicy.BEFORE_CREATION},
            7,
        ),
        (
            {TAUT: "PreSync", "taut.dev/wave": "3", f"{TAUT}-delete-policy": "before-hook-creation"},
            {DeletePolicy.BEFORE_CREATION},
            3,
        ),
    ],
)
def test_policies_and_waves(annotations: dict[str, str], policies: set[DeletePolicy], wave: int) -> None:
    _, hook, warnings = parse_hook(with_annotations(annotations))
    assert isinstance(hook, HookSpec)
    assert (hook.delete_policies, hook.wave, warnings) == (policies, wave, ())


def test_unknown_policies_and_weights_are_warnings() -> None:
    _, hook, warnings = parse_hook(
        with_annotations({HELM: "pre-install", f"{HELM}-weight": "heavy", f"{HELM}-delete-policy": "never"})
    )
    assert hook == HookSpec((PRE,))
    assert len(warnings) == 2
    assert any("helm.sh/hook-weight" in w for w in warnings)


def test_a_run_is_of_application_phase_content_and_revision() -> None:
    one = with_annotations({TAUT: "PreSync"})
    other = with_annotations({TAUT: "PreSync", "x": "y"})
    keys = {
        run_key(APP, PRE, one, "r1"),
        run_key(APP, PRE, one, "r2"),
        run_key(APP, POST, one, "r1"),
        run_key(APP, PRE, other, "r1"),
        run_key(AppKey("main", "", "other"), PRE, one, "r1"),
    }
    assert len(keys) == 5
    assert run_key(APP, PRE, with_annotations({TAUT: "PreSync"}), "r1") in keys


def test_generated_names_follow_from_the_run() -> None:
    body = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"generateName": "migrate-" + "x" * 80}}
    made = [hook_manifest(Manifest(body), key, copy=copy) for key, copy in (("a", 1), ("a", 1), ("b", 1), ("a", 2))]
    names = [m.name for m in made]
    assert names[0] == names[1]
    assert len(set(names)) == 3
    assert all(len(name) <= 63 and name.startswith("migrate-") for name in names)
    assert "generateName" not in made[0].metadata
    assert made[0].annotations == {RUN_KEY: "a"}
    assert hook_manifest(with_annotations({}), "k").name == "j"
