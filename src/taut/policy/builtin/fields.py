"""Fields that a kind does not have, and values that a field does not take: the API server would refuse them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from taut.model.manifests import Body
from taut.policy.builtin.finding import Finding
from taut.policy.builtin.schemas import Schemas


def unknown(schemas: Schemas, bodies: Sequence[Body]) -> Iterator[Finding]:
    """Fields that are not in the kind's schema: most often a slip of the pen, and what was meant does not happen."""
    for body in bodies:
        for misfit in schemas.misfits(body):
            if not misfit.known and not _of_sops(body, misfit.path):
                message = f"{body.get('kind')} ({body.get('apiVersion')}) has no field {misfit.path}"
                yield Finding(body, message, misfit.path, misfit.found, misfit.wanted)


def wrong_types(schemas: Schemas, bodies: Sequence[Body]) -> Iterator[Finding]:
    """Values of a type that the field does not take, such as a number where a text is wanted."""
    for body in bodies:
        for misfit in schemas.misfits(body):
            if misfit.known and misfit.words:
                message = f"{misfit.path} takes one of {', '.join(misfit.words)}, not {misfit.found!r}"
                yield Finding(body, message, misfit.path, misfit.found, misfit.wanted or misfit.words[0])
            elif misfit.known:
                message = f"{misfit.path} takes {_article(misfit.wanted)}, not {_article(misfit.found)}"
                yield Finding(body, message, misfit.path, misfit.found, misfit.wanted)


def _of_sops(body: Body, path: str) -> bool:
    """Whether a field is what SOPS adds to a document: it is gone when the file is decrypted."""
    return path == "sops" and isinstance(body["sops"], dict) and "mac" in body["sops"]


def _article(name: str) -> str:
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
