"""Where control planes keep their files."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from taut.model.errors import BadInput

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")


def default_home() -> Path:
    """The folder of all control planes of this user: `$XDG_STATE_HOME/taut/localplane`, by default below `~/.local/state`."""
    base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(base).expanduser() / "taut" / "localplane"


def default_cache() -> Path:
    """The folder of what was built: `$XDG_CACHE_HOME/taut/localplane`, by default below `~/.cache`."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "taut" / "localplane"


def checked_name(name: str) -> str:
    """The name itself when it may be one of a control plane. Raises BadInput otherwise (it becomes a folder's name)."""
    if not _NAME.fullmatch(name):
        raise BadInput(
            f"{name!r} is no name for a control plane",
            advice="use up to 40 small letters, digits and dashes, as in `dev` or `test-2`",
        )
    return name


@dataclass(frozen=True, slots=True)
class Layout:
    """The files of one control plane. `folder` is private (0700), every file in it 0600."""

    home: Path
    name: str

    @property
    def folder(self) -> Path:
        """Everything but the lock."""
        return self.home / self.name

    @property
    def lock(self) -> Path:
        """Held by the supervisor as long as it lives; outside of the folder, which comes and goes."""
        return self.home / ".locks" / self.name

    @property
    def settings(self) -> Path:
        """What the supervisor is to run (JSON)."""
        return self.folder / "settings.json"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.folder / "kubeconfig"

    @property
    def audit_log(self) -> Path:
        """The API server's audit log, when it was asked for."""
        return self.folder / "audit.log"

    @property
    def ca(self) -> Path:
        """The certificate of the control plane's own CA."""
        return self.folder / "ca.crt"

    @property
    def ca_key(self) -> Path:
        """The CA's key: whoever reads it is administrator."""
        return self.folder / "ca.key"

    def component_kubeconfig(self, component: str) -> Path:
        """The kubeconfig of a component."""
        return self.folder / f"{component}.kubeconfig"

    def log(self, component: str) -> Path:
        """What a component prints."""
        return self.folder / f"{component}.log"
