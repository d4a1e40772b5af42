"""Where the private keys of Sealed Secrets' controllers are, as taut's configuration says it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from taut.dialects.globs import match_name
from taut.dialects.problems import Finding, one_of
from taut.model.application import Spec


class SealedKeysConfig(Spec, frozen=True):
    """Private keys of a Sealed Secrets controller, with which taut looks into SealedSecrets before they are applied: a file, or Secrets of the cluster."""

    cluster: str = "*"
    """The cluster whose controller they belong to; a glob."""
    file: str | None = None
    """A file with private keys in PEM, the newest first. It is read anew when it changes."""
    namespace: str | None = None
    """The controller's namespace: the Secrets there with the label `sealedsecrets.bitnami.com/sealed-secrets-key` are read with taut's own rights."""


def sealed_findings(entry: SealedKeysConfig, clusters: Sequence[str]) -> Iterator[Finding]:
    """What is wrong with an entry, in a configuration with these clusters."""
    if bool(entry.file) == bool(entry.namespace):
        yield Finding((), "file and namespace exclude each other, and one is needed", "write two entries")
    if clusters and not any(match_name(entry.cluster, name) for name in clusters):
        yield Finding(("cluster",), f"there is no cluster {entry.cluster!r}", one_of(entry.cluster, clusters))
