"""Hooks: objects that run at a point of a sync, once for each content and revision.

The words are taut's, Argo CD's or Helm's; the first of these three that an object has counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from taut.model.live import RUN_KEY
from taut.model.manifests import Manifest, content_hash
from taut.model.plan import Phase
from taut.model.refs import AppKey
from taut.planning.options import ARGO, parse_wave


class DeletePolicy(StrEnum):
    """When a hook's object is deleted."""

    BEFORE_CREATION = "BeforeHookCreation"
    SUCCEEDED = "HookSucceeded"
    FAILED = "HookFailed"


@dataclass(frozen=True, slots=True)
class HookSpec:
    """When a hook runs, and when its object goes. Several phases: it runs in each."""

    phases: tuple[Phase, ...]
    delete_policies: frozenset[DeletePolicy] = frozenset({DeletePolicy.BEFORE_CREATION})
    wave: int = 0


class Fate(StrEnum):
    """What becomes of a rendered object."""

    NORMAL = "normal"
    HOOK = "hook"
    DROPPED = "dropped"
    """It takes no part: a Helm test, an Argo CD `Skip`."""


HOOK: Final = "taut.dev/hook"
HELM: Final = "helm.sh/"

_PHASES: Final[Mapping[str, Phase]] = {
    "presync": Phase.PRE_SYNC,
    "sync": Phase.SYNC,
    "postsync": Phase.POST_SYNC,
    "syncfail": Phase.SYNC_FAIL,
    "predelete": Phase.PRE_DELETE,
    "postdelete": Phase.POST_DELETE,
}
_HELM_PHASES: Final[Mapping[str, Phase | None]] = {
    "preinstall": Phase.PRE_SYNC,
    "preupgrade": Phase.PRE_SYNC,
    "postinstall": Phase.POST_SYNC,
    "postupgrade": Phase.POST_SYNC,
    "predelete": Phase.PRE_DELETE,
    "postdelete": Phase.POST_DELETE,
    "prerollback": None,
    "postrollback": None,
    "test": None,
    "testsuccess": None,
    "testfailure": None,
}
_POLICIES: Final[Mapping[str, DeletePolicy]] = {
    "beforehookcreation": DeletePolicy.BEFORE_CREATION,
    "hooksucceeded": DeletePolicy.SUCCEEDED,
    "hookfailed": DeletePolicy.FAILED,
}
_ORDER: Final = {phase: n for n, phase in enumerate(Phase)}


def parse_hook(manifest: Manifest) -> tuple[Fate, HookSpec | None, tuple[str, ...]]:
    """Whether an object is a hook, its specification when it is, and warnings for words that mean nothing.

    A hook with only unknown phases is dropped, not applied as a normal object: what was meant to run at one point
    must not run at another.
    """
    annotations = manifest.annotations
    for name in (HOOK, ARGO + "hook", HELM + "hook"):
        if annotations.get(name):
            fate, phases, warnings = _phases(name, str(annotations[name]))
            break
    else:
        return Fate.NORMAL, None, ()
    if fate is not Fate.HOOK:
        return fate, None, _said_by(manifest, warnings)
    policies, more = _policies(name, annotations)
    wave, problem = _hook_wave(name, annotations)
    warnings += [*more, *([problem] if problem else [])]
    return Fate.HOOK, HookSpec(phases, policies, wave), _said_by(manifest, warnings)


def _said_by(manifest: Manifest, warnings: list[str]) -> tuple[str, ...]:
    return tuple(f"{manifest}: {w}" for w in warnings)


def _words(text: str) -> list[tuple[str, str]]:
    """The parts of a comma list, each as written and in the form the tables have."""
    parts = [part.strip() for part in text.split(",")]
    return [(part, part.lower().replace("-", "").replace("_", "")) for part in parts if part]


def _phases(name: str, text: str) -> tuple[Fate, tuple[Phase, ...], list[str]]:
    table: Mapping[str, Phase | None] = _HELM_PHASES if name.startswith(HELM) else _PHASES
    phases, warnings = set[Phase](), list[str]()
    for written, word in _words(text):
        if word == "crdinstall":
            return Fate.NORMAL, (), []
        if word == "skip":
            return Fate.DROPPED, (), []
        if word not in table:
            warnings.append(f"{name} names {written!r}, which is no phase")
        elif (phase := table[word]) is not None:
            phases.add(phase)
    if not phases:
        return Fate.DROPPED, (), warnings
    return Fate.HOOK, tuple(sorted(phases, key=_ORDER.__getitem__)), warnings


def _policies(hook_name: str, annotations: Mapping[str, Any]) -> tuple[frozenset[DeletePolicy], list[str]]:
    name = f"{hook_name}-delete-policy"
    found, warnings = set[DeletePolicy](), list[str]()
    for written, word in _words(str(annotations.get(name) or "")):
        if word in _POLICIES:
            found.add(_POLICIES[word])
        else:
            warnings.append(f"{name} names {written!r}; it can be {', '.join(DeletePolicy)}")
    return frozenset(found or {DeletePolicy.BEFORE_CREATION}), warnings


def _hook_wave(hook_name: str, annotations: Mapping[str, Any]) -> tuple[int, str]:
    """A hook's wave: its wave annotation, for a Helm hook without one its weight."""
    if hook_name.startswith(HELM) and annotations.get(HELM + "hook-weight") is not None:
        wave, problem = parse_wave(annotations)
        if wave or problem:
            return wave, problem
        wave, problem = parse_wave({ARGO + "sync-wave": annotations[HELM + "hook-weight"]})
        return wave, problem.replace(ARGO + "sync-wave", HELM + "hook-weight")
    return parse_wave(annotations)


def run_key(app: AppKey, phase: Phase, manifest: Manifest, revision: str) -> str:
    """The key of one run of a hook: the same application, phase, content and revision never run twice."""
    return content_hash(["hook", *app, phase.value, manifest.hash, revision])[:32]


def hook_manifest(manifest: Manifest, key: str, *, copy: int = 0) -> Manifest:
    """The object of one run: with its run key, and with a name where it had only `generateName`.

    The name follows from the key, so that the same run finds its object again after a restart. `copy` tells apart several
    hooks of the same content.
    """
    metadata = dict(manifest.metadata)
    prefix = metadata.pop("generateName", None)
    if not metadata.get("name") and prefix:
        suffix = content_hash([key, copy])[:10]
        metadata["name"] = f"{str(prefix)[: 63 - len(suffix)]}{suffix}"
    metadata["annotations"] = {**manifest.annotations, RUN_KEY: key}
    return Manifest({**manifest.body, "metadata": metadata}, manifest.origin)
