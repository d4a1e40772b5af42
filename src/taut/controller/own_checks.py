"""taut's own checks in the loop: of what an application renders to, before ExternalSecrets become Secrets. Pure.

What the API server refuses by itself (unknown fields, kinds that are gone) is left to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from taut.dialects.checks_config import ChecksConfig
from taut.model.manifests import Manifest
from taut.model.plan import Hold, HoldKind
from taut.model.verdict import Outcome, Verdict
from taut.policy.builtin import NAMES, Schemas, check
from taut.policy.waiving import of_engine

LOOP = frozenset({"image-tag", "image-digest", "raw-secret", "service-selector", "ingress-backend"})
_NOTHING = Schemas({}, {})
_MOST_NAMED = 3


@dataclass(frozen=True)
class Examined:
    """What the checks say: a warning a check, and holds of those that are enforced."""

    warnings: tuple[str, ...] = ()
    holds: tuple[Hold, ...] = ()


class OwnChecks:
    """The checks that a configuration wants."""

    def __init__(self, config: ChecksConfig) -> None:
        self._enforced = frozenset(config.enforce)
        self._off = frozenset(NAMES) - LOOP | set(config.without)

    def examined(self, manifests: Sequence[Manifest], cluster: str) -> Examined:
        """What they say of the objects of one application, as Git has them. Values that came out of encrypted files are no raw secrets."""
        found: dict[str, list[tuple[Verdict, Manifest]]] = {}
        bodies, decrypted = [m.body for m in manifests], [m.origin.secret for m in manifests]
        for number, verdict in check(bodies, without=self._off, schemas=_NOTHING, decrypted=decrypted):
            if verdict.result is not Outcome.SKIP:
                found.setdefault(verdict.policy, []).append((verdict, manifests[number]))
        enforced = [(name, each) for name, each in found.items() if name in self._enforced]
        told = [(name, each) for name, each in found.items() if name not in self._enforced]
        return Examined(
            tuple(f"check {name}: {_sentence(each)}" for name, each in told),
            tuple(_hold(name, each, cluster) for name, each in enforced),
        )


def _sentence(found: Sequence[tuple[Verdict, Manifest]]) -> str:
    names = list(dict.fromkeys(str(v.subject) for v, _ in found))
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return f"{found[0][0].message} ({', '.join(names[:_MOST_NAMED])}{more})"


def _hold(name: str, found: Sequence[tuple[Verdict, Manifest]], cluster: str) -> Hold:
    verdict, manifest = found[0]
    place = f" ({verdict.difference})" if verdict.difference else ""
    origin = f", from {manifest.origin.place}" if manifest.origin.place else ""
    out = of_engine(verdict)
    refs = tuple(dict.fromkeys(m.ref(cluster) for _, m in found))
    text = f"check {name} denies {_sentence(found)}{place}{origin}; to leave it as it is, {out}"
    return Hold(HoldKind.POLICY, text, refs, approvable=False)
