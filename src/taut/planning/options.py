"""What an object says about its own handling, in taut's words or in those of Argo CD, Flux and Helm; parsed once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from taut.model.manifests import Manifest


class Removal(StrEnum):
    """Whether an object may be deleted."""

    ALLOWED = "allowed"
    ASKS = "asks"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class ObjectOptions:
    """An object's own options.

    `prune` is for when Git no longer has the object, `delete` for when its application goes. `recreate`: it may be deleted
    and made again when an immutable field changes. `once`: created when it is missing, never changed. `skip`: left alone.
    """

    prune: Removal = Removal.ALLOWED
    delete: Removal = Removal.ALLOWED
    recreate: bool = False
    ignore_health: bool = False
    once: bool = False
    skip: bool = False
    wave: int = 0


DEFAULTS: Final = ObjectOptions()

PRUNE: Final = "taut.dev/prune"
DELETE: Final = "taut.dev/delete"
RECREATE: Final = "taut.dev/recreate"
IGNORE_HEALTH: Final = "taut.dev/ignore-health"
APPLY: Final = "taut.dev/apply"
WAVE: Final = "taut.dev/wave"
ARGO: Final = "argocd.argoproj.io/"
FLUX: Final = "kustomize.toolkit.fluxcd.io/"
HELM_POLICY: Final = "helm.sh/resource-policy"

# Wave numbers are kept within Argo CD's range (a 32 bit integer); further ones are a slip of the finger.
_MAX_WAVE: Final = 2**31 - 1

type _Setter = Callable[[ObjectOptions, Any], ObjectOptions]
_REMOVAL: Final[Mapping[str, Any]] = {
    "true": Removal.ALLOWED,
    "false": Removal.NEVER,
    "confirm": Removal.ASKS,
    "ask": Removal.ASKS,
}
_BOOL: Final[Mapping[str, Any]] = {"true": True, "false": False}

# annotation → (field, what each value means). Later rows win, so taut's own words come last.
_RULES: Final[tuple[tuple[str, str, Mapping[str, Any]], ...]] = (
    (HELM_POLICY, "keep", {"keep": Removal.NEVER}),
    (FLUX + "prune", "prune", {"disabled": Removal.NEVER, "enabled": Removal.ALLOWED}),
    (FLUX + "force", "recreate", {"enabled": True, "disabled": False}),
    (FLUX + "reconcile", "skip", {"disabled": True, "enabled": False}),
    (FLUX + "ssa", "ssa", {"ifnotpresent": "once", "ignore": "skip", "merge": "", "override": ""}),
    (ARGO + "ignore-healthcheck", "ignore_health", _BOOL),
    (PRUNE, "prune", _REMOVAL),
    (DELETE, "delete", _REMOVAL),
    (RECREATE, "recreate", {"allow": True, "forbid": False}),
    (IGNORE_HEALTH, "ignore_health", _BOOL),
    (APPLY, "apply", {"once": "once", "never": "skip", "always": ""}),
)

# Most objects have none of these, and every object of a watch is looked at.
_WORDS: Final = frozenset((*(name for name, _, _ in _RULES), ARGO + "sync-options", ARGO + "sync-wave", WAVE))

_ARGO_OPTIONS: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    "prune": ("prune", _REMOVAL),
    "delete": ("delete", _REMOVAL),
    "replace": ("recreate", _BOOL),
    "force": ("recreate", _BOOL),
}
# Options with no meaning here: taut always applies server side, prunes last, never adopts what another one owns, and asks for a
# dry-run of objects that exist alone; and a server-side apply with unknown fields is refused whatever is asked for.
_ARGO_WITHOUT_EFFECT: Final = frozenset(
    [
        "prunelast",
        "serversideapply",
        "clientsideapplymigration",
        "createnamespace",
        "applyoutofsynconly",
        "respectignoredifferences",
        "failonsharedresource",
        "prunepropagationpolicy",
        "skipdryrunonmissingresource",
        "validate",
    ]
)


def parse_options(manifest: Manifest) -> tuple[ObjectOptions, tuple[str, ...]]:
    """The object's options, and a warning for each value that means nothing. Flux's words may also be labels."""
    options, warnings = parse_annotations(manifest.annotations, manifest.labels)
    return options, tuple(f"{manifest}: {w}" for w in warnings)


def parse_annotations(
    annotations: Mapping[str, Any], labels: Mapping[str, Any] | None = None
) -> tuple[ObjectOptions, tuple[str, ...]]:
    """The options in annotations (of a live object, for example), and warnings."""
    if _WORDS.isdisjoint(annotations) and (not labels or _WORDS.isdisjoint(labels)):
        return DEFAULTS, ()
    options, warnings = ObjectOptions(), list[str]()
    words = {**{k: v for k, v in (labels or {}).items() if k.startswith(FLUX)}, **annotations}
    for name, field, values in (*_argo_rules(words, warnings), *_RULES):
        raw = words.get(name)
        if raw is None:
            continue
        meaning = values.get(str(raw).strip().lower(), _UNKNOWN)
        if meaning is _UNKNOWN:
            warnings.append(_unknown(name, raw, values))
        else:
            options = _with(options, field, meaning)
    wave, problem = parse_wave(annotations)
    if problem:
        warnings.append(problem)
    return replace(options, wave=wave), tuple(warnings)


_UNKNOWN: Final = object()


def _argo_rules(words: dict[str, Any], warnings: list[str]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Argo CD's comma list of `Option=value` as rows like those of `_RULES`."""
    listed = words.get(ARGO + "sync-options")
    for part in str(listed or "").split(","):
        name, _, value = part.strip().partition("=")
        key = name.strip().lower()
        if not key or key in _ARGO_WITHOUT_EFFECT:
            continue
        rule = _ARGO_OPTIONS.get(key)
        if rule is None:
            warnings.append(f"the sync option {part.strip()!r} is not known")
            continue
        words[f"sync option {name.strip()}"] = value
        field, values = rule
        yield f"sync option {name.strip()}", field, values


def _unknown(name: str, raw: Any, values: Mapping[str, Any]) -> str:
    return f"{name} is {str(raw)[:60]!r}, which means nothing; it can be {', '.join(values)}"


def _with(options: ObjectOptions, field: str, meaning: Any) -> ObjectOptions:
    if field == "keep":
        return replace(options, prune=meaning, delete=meaning)
    if field in ("ssa", "apply"):
        return replace(options, once=meaning == "once", skip=meaning == "skip")
    return replace(options, **{field: meaning})


def parse_wave(annotations: Mapping[str, Any]) -> tuple[int, str]:
    """The wave of an object (default 0), and what is wrong with the annotation, if anything."""
    for name in (WAVE, ARGO + "sync-wave"):
        raw = annotations.get(name)
        if raw is not None:
            return _integer(name, raw)
    return 0, ""


def _integer(name: str, raw: Any) -> tuple[int, str]:
    text = str(raw).strip()
    digits = text[1:] if text[:1] in ("-", "+") else text
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 10 and int(digits) <= _MAX_WAVE):
        return 0, f"{name} is {text[:60]!r}, which is no whole number; 0 is used"
    return int(text), ""
