"""The check of a webhook and what it says. Pure: bytes and headers in, facts out."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

from taut.sources.repository_url import same_repository

__all__ = ["SIGNATURE_HEADERS", "changed_ref", "repository_urls", "same_repository", "verify_signature"]

SIGNATURE_HEADERS = ("X-Taut-Signature", "X-Hub-Signature-256", "X-Gitea-Signature", "X-Forgejo-Signature")
"""The headers that may hold an HMAC, in the order in which they are looked for."""

_URL_KEYS = (
    "url",
    "clone_url",
    "ssh_url",
    "git_url",
    "html_url",
    "git_http_url",
    "git_ssh_url",
    "http_url",
    "http_url_to_repo",
    "ssh_url_to_repo",
    "homepage",
    "web_url",
)


def verify_signature(secret: bytes, body: bytes, header: str) -> bool:
    """Whether `header` is the HMAC-SHA256 of `body` under `secret`, compared in constant time.

    The header is `sha256=<hex>` (GitHub's `X-Hub-Signature-256`, `X-Taut-Signature`) or the bare hex digits (Gitea's `X-Gitea-Signature`).
    An empty secret never verifies.
    """
    if not secret:
        return False
    given = header.strip().removeprefix("sha256=").lower()
    expected = hmac.new(secret, body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())


def repository_urls(payload: object) -> set[str]:
    """The repository's URLs that a push event names: GitHub, Gitea, GitLab, Bitbucket, or the generic `{"url": …, "ref": …}`.

    Anything else gives an empty set. API addresses come along as well; they match no source, so they do no harm.
    """
    if not isinstance(payload, Mapping):
        return set()
    found = _urls_of(payload, ("url",))
    for key in ("repository", "project"):
        part = payload.get(key)
        if isinstance(part, Mapping):
            found |= _urls_of(part, _URL_KEYS)
            found |= _bitbucket_links(part)
    return found


def changed_ref(payload: object) -> str:
    """The ref that a push event names (`refs/heads/main`), empty when it names none."""
    ref = payload.get("ref") if isinstance(payload, Mapping) else None
    return ref if isinstance(ref, str) else ""


def _urls_of(part: Mapping[Any, Any], keys: tuple[str, ...]) -> set[str]:
    return {value for key in keys if isinstance(value := part.get(key), str) and value}


def _bitbucket_links(part: Mapping[Any, Any]) -> set[str]:
    links = part.get("links")
    if not isinstance(links, Mapping):
        return set()
    entries = links.get("clone")
    flat = [*(entries if isinstance(entries, list) else []), links.get("html")]
    return {entry["href"] for entry in flat if isinstance(entry, Mapping) and isinstance(entry.get("href"), str)}
