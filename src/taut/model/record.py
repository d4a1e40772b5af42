"""What the store remembers of an application."""

from __future__ import annotations

import msgspec


class AppRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One application between runs. Times are Unix seconds (`retry_at`: of the steady clock), 0 when it never happened.

    `spec` is the application's document as JSON: an application that left Git is still deleted by its own rules.
    """

    key: str
    spec: bytes = b""
    revision: str = ""
    """Last synced completely."""
    last_sync: float = 0.0
    render_key: str = ""
    content_hash: str = ""
    """Of all desired objects that were synced last."""
    attempted: str = ""
    """The content hash that was tried last, with how often it failed and when it is tried again."""
    attempted_revision: str = ""
    """The commit that this content was found at first: a part of its hooks' run keys."""
    failures: int = 0
    retry_at: float = 0.0
    failure: str = ""
    stopped: str = ""
    """Set when somebody aborted the last try, and who: this content is not tried again by itself."""
    suspended_by: str = ""
    rebuilt: bool = False
    """The inventory was rebuilt from the objects: the first prune asks."""
    deleting: bool = False
    removal_held: str = ""
    """Why taking it down asks first: too much of its root went at once."""
    parting: bytes = b""
    """While it is taken down: its project as JSON, as it was. Both may have left Git in one commit."""
    closure: bytes = b""
    """The inputs of the last render (see render.closure), as JSON."""
