"""taut's own status form: what an Application document would carry as `status`, and what `-o json` prints."""

from __future__ import annotations

from typing import Any

import msgspec

from taut.model.status import AppStatus


def status_body(status: AppStatus) -> dict[str, Any]:
    """The status as JSON: camelCase, every field present that a reader may rely on, lists and texts empty when there is nothing to say."""
    return msgspec.to_builtins(status)


def status_document(status: AppStatus) -> dict[str, Any]:
    """The Application document that tells how one application is: its identity in `metadata`, the rest in `status`."""
    body = status_body(status)
    identity = {"name": body.pop("name"), "namespace": body.pop("namespace"), "labels": body.pop("labels")}
    return {
        "apiVersion": "taut.dev/v1",
        "kind": "Application",
        "metadata": {key: value for key, value in identity.items() if value},
        "status": body,
    }
