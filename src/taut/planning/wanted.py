"""What a render wants of a target: objects and hooks with their options, waves and rules, each parsed once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from taut.model.application import IgnoreRule
from taut.model.manifests import Manifest
from taut.model.plan import Phase
from taut.model.refs import AppKey, ObjectRef
from taut.planning.hooks import Fate, HookSpec, hook_manifest, parse_hook, run_key
from taut.planning.ignore import autoscaled, object_rules, rules_hash
from taut.planning.options import DEFAULTS, ObjectOptions, parse_options
from taut.planning.prepare import wanted_hash
from taut.planning.redact import Redactor


@dataclass(frozen=True)
class Wanted:
    """One object, or one run of a hook.

    `hash` is what the inventory remembers when it is applied: content, and ignore rules where there are any; never the
    revision. `hook` and `run_key` are set for hooks alone; `manifest` then is the run's object.
    """

    ref: ObjectRef
    manifest: Manifest
    hash: str
    options: ObjectOptions = DEFAULTS
    rules: tuple[IgnoreRule, ...] = ()
    phase: Phase = Phase.SYNC
    wave: int = 0
    hook: HookSpec | None = None
    run_key: str = ""


@dataclass(frozen=True, slots=True)
class Interpreted:
    """A render, understood. `dropped` takes no part (Helm tests)."""

    objects: tuple[Wanted, ...] = ()
    hooks: tuple[Wanted, ...] = ()
    dropped: tuple[Manifest, ...] = ()
    warnings: tuple[str, ...] = ()


def interpret(
    manifests: Iterable[Manifest],
    *,
    app: AppKey,
    cluster: str,
    revision: str,
    rules: Iterable[IgnoreRule] = (),
    autoscalers: Iterable[IgnoreRule] = (),
    redact: Redactor | None = None,
) -> Interpreted:
    """Understand normalised manifests.

    `rules` are the application's ignore rules, `autoscalers` those of the live autoscalers (`ignore.autoscaled`); the
    autoscalers among the manifests are found here. `revision` goes into the run keys of hooks. `redact` makes the hashes
    of Secrets keyed (see `prepare.wanted_hash`).
    """
    everything, own = tuple(manifests), tuple(rules)
    scaled = (*autoscalers, *autoscaled(m.body for m in everything))
    objects, hooks, dropped, warnings = list[Wanted](), list[Wanted](), list[Manifest](), list[str]()
    copies: Counter[str] = Counter()
    for manifest in everything:
        options, said = parse_options(manifest)
        fate, hook, more = parse_hook(manifest)
        warnings += [*said, *more]
        if fate is Fate.DROPPED:
            dropped.append(manifest)
        elif hook is not None:
            copies[manifest.hash] += 1
            runs = _runs(manifest, hook, app=app, revision=revision, copy=copies[manifest.hash])
            hooks += [
                Wanted(made.ref(cluster), made, manifest.hash, options, (), phase, hook.wave, hook, key)
                for phase, key, made in runs
            ]
        else:
            fitting = object_rules(own, scaled, manifest.body)
            objects.append(
                Wanted(
                    ref=manifest.ref(cluster),
                    manifest=manifest,
                    hash=wanted_hash(manifest, rules_hash(fitting), redact),
                    options=options,
                    rules=fitting,
                    wave=options.wave,
                )
            )
    return Interpreted(tuple(objects), tuple(hooks), tuple(dropped), tuple(dict.fromkeys(warnings)))


def _runs(
    manifest: Manifest, hook: HookSpec, *, app: AppKey, revision: str, copy: int
) -> Iterator[tuple[Phase, str, Manifest]]:
    """One run for each phase of a hook: phase, run key, object."""
    for phase in hook.phases:
        key = run_key(app, phase, manifest, revision)
        yield phase, key, hook_manifest(manifest, key, copy=copy)
