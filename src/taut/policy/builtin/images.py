"""Images that can change without a commit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from taut.model.manifests import Body
from taut.policy.builtin.finding import Finding, containers


def _images(bodies: Sequence[Body]) -> Iterator[tuple[Body, str, str]]:
    for body in bodies:
        for path, container in containers(body):
            image = container.get("image")
            if isinstance(image, str) and image:
                yield body, f"{path}.image", image


def _tag(image: str) -> str:
    name = image.partition("@")[0].rpartition("/")[2]
    return name.partition(":")[2]


def latest(bodies: Sequence[Body]) -> Iterator[Finding]:
    """Images by the tag `latest`, or by none, which is the same."""
    for body, path, image in _images(bodies):
        if "@" not in image and _tag(image) in {"", "latest"}:
            yield Finding(
                body,
                "the image has no tag of its own: what runs changes without a commit",
                path,
                image,
                "a version, or better a digest",
            )


def digest(bodies: Sequence[Body]) -> Iterator[Finding]:
    """Images without a digest."""
    for body, path, image in _images(bodies):
        if "@sha256:" not in image:
            yield Finding(
                body, "the image is not pinned: its tag can be moved to another image", path, image, "name@sha256:…"
            )
