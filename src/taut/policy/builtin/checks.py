"""All checks by name, and how they are run."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import partial

from taut.model.manifests import Body
from taut.model.verdict import Enforcement, Outcome, Subject, Verdict
from taut.policy.builtin import apis, fields, images, raw_secrets, together
from taut.policy.builtin.finding import Check, Finding, metadata_of, place_of
from taut.policy.builtin.raw_secrets import Decrypted
from taut.policy.builtin.schemas import Schemas, kept

ANNOTATION = "checks.taut.dev/"
"""Ahead of a check's name in an annotation whose value is the reason why it does not hold for an object."""


def checks(schemas: Schemas, decrypted: Decrypted = lambda _: ()) -> tuple[Check, ...]:
    """All checks, for a target that has these kinds, and objects of which these fields are out of encrypted files."""
    return (
        Check("image-tag", "images by the tag latest, or by none", Enforcement.DENY, images.latest),
        Check("image-digest", "images that are not pinned by digest", Enforcement.WARN, images.digest),
        Check("raw-secret", "Secrets whose values lie in Git", Enforcement.DENY, partial(raw_secrets.raw, decrypted)),
        Check(
            "removed-api",
            "API versions that the target does not serve",
            Enforcement.DENY,
            partial(apis.removed, schemas),
        ),
        Check("unknown-field", "fields that a kind does not have", Enforcement.DENY, partial(fields.unknown, schemas)),
        Check(
            "wrong-type", "values that a field does not take", Enforcement.DENY, partial(fields.wrong_types, schemas)
        ),
        Check("duplicate", "objects that are declared more than once", Enforcement.DENY, together.duplicates),
        Check("service-selector", "Services that select no Pod", Enforcement.WARN, together.services),
        Check("ingress-backend", "Ingresses that lead to no Service", Enforcement.WARN, together.backends),
    )


NAMES = tuple(one.name for one in checks(Schemas({}, {})))


def check(
    bodies: Sequence[Body],
    *,
    without: Collection[str] = (),
    schemas: Schemas | None = None,
    decrypted: Sequence[Collection[tuple[str, ...]]] = (),
) -> Iterator[tuple[int, Verdict]]:
    """What the checks find in objects, each with the number of its object.

    `without` are names of checks that are off. `schemas` is what the target serves; None: the Kubernetes version that this taut knows. Custom kinds are
    known where their definitions are among the objects. `decrypted` says of each object which fields have their values from encrypted files
    (`Origin.secret`); without it none has.
    """
    numbers = {id(body): number for number, body in enumerate(bodies)}

    def fields_of(body: Body) -> Collection[tuple[str, ...]]:
        return decrypted[numbers[id(body)]] if decrypted else ()

    for one in checks((schemas or kept()).with_definitions(bodies), fields_of):
        if one.name not in without:
            for finding in one.find(bodies):
                yield numbers[id(finding.body)], _verdict(one, finding)


def _verdict(one: Check, finding: Finding) -> Verdict:
    body = finding.body
    namespace, name = place_of(body)
    subject = Subject(str(body.get("apiVersion") or ""), str(body.get("kind") or ""), namespace, name)
    reason = str((metadata_of(body).get("annotations") or {}).get(ANNOTATION + one.name) or "").strip()
    outcome = Outcome.SKIP if reason else Outcome.FAIL if one.enforcement is Enforcement.DENY else Outcome.WARN
    message = f"{finding.message} (left as it is: {reason})" if reason else finding.message
    return Verdict(
        one.name, "", "taut", subject, outcome, message, one.enforcement,
        finding.path, finding.found, finding.wanted, ANNOTATION + one.name if reason else "",
    )  # fmt: skip
