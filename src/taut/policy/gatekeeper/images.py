"""Parts of an image's reference, put into it (Gatekeeper, AssignImage)."""

from __future__ import annotations

import re
from typing import Any

_DOMAIN = re.compile(r"^(?:[A-Za-z0-9.-]*[.:][A-Za-z0-9.:-]*|localhost(?::\d+)?)$")


def split(image: str) -> tuple[str, str, str]:
    """Domain, path and tag (with its `:` or `@`); what is not there is empty."""
    at = image.find("@")
    name, tag = (image[:at], image[at:]) if at >= 0 else (image, "")
    if not tag:
        head, colon, rest = name.rpartition(":")
        if colon and "/" not in rest:
            name, tag = head, ":" + rest
    domain, slash, path = name.partition("/")
    if slash and _DOMAIN.match(domain):
        return domain, path, tag
    return "", name, tag


def assigned(old: Any, parameters: dict[str, Any]) -> Any:
    """An image with the parts that are given; None where there is none to change."""
    if not isinstance(old, str):
        return None
    domain, path, tag = split(old)
    domain = str(parameters.get("assignDomain") or domain)
    path = str(parameters.get("assignPath") or path)
    tag = str(parameters.get("assignTag") or tag)
    return f"{domain}/{path}{tag}" if domain else path + tag
