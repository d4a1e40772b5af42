"""Whose an object is: the OWNER annotation, which names application and object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from taut.model.live import OWNER
from taut.model.refs import AppKey, ObjectRef, parse_app_key


def owner_text(app: AppKey, ref: ObjectRef) -> str:
    """The value of the OWNER annotation: `<app key>|<object id>`."""
    return f"{app}|{ref.id}"


def owner_annotation(app: AppKey, ref: ObjectRef) -> dict[str, str]:
    """The annotation as it is added to what is applied."""
    return {OWNER: owner_text(app, ref)}


def checked_owner(annotations: Mapping[str, Any], ref: ObjectRef) -> str:
    """The OWNER annotation of the object `ref`, "" when there is none or it speaks of another object (a copy, a child)."""
    text = annotations.get(OWNER)
    if not isinstance(text, str):
        return ""
    return text if text.partition("|")[2] == ref.id else ""


def owner_app(text: str) -> AppKey | None:
    """The application in an OWNER annotation; None when there is none."""
    return parse_app_key(text.partition("|")[0])
