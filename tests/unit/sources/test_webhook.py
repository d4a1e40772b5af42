from __future__ import annotations

import hashlib
import hmac

import pytest

from taut.sources.webhook import changed_ref, repository_urls, same_repository, verify_signature

SECRET = b"s3cret"
BODY = b'{"ref": "refs/heads/main"}'
GOOD = hmac.new(SECRET, BODY, hashlib.sha256).hexdigest()


@pytest.mark.parametrize(
    ("secret", "body", "header", "good"),
    [
        (SECRET, BODY, f"sha256={GOOD}", True),
        (SECRET, BODY, GOOD, True),
        (SECRET, BODY, f"sha256={GOOD.upper()}", True),
        (SECRET, BODY + b" ", f"sha256={GOOD}", False),
        (b"other", BODY, f"sha256={GOOD}", False),
        (SECRET, BODY, "sha256=", False),
        (SECRET, BODY, "", False),
        (SECRET, BODY, "sha1=" + GOOD, False),
        (SECRET, BODY, "sha256=é", False),
        (b"", BODY, "sha256=" + hmac.new(b"", BODY, hashlib.sha256).hexdigest(), False),
    ],
)
def test_signature(secret: bytes, body: bytes, header: str, good: bool) -> None:
    assert verify_signature(secret, body, header) is good


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ({"url": "https://git.example/a/b", "ref": "refs/heads/main"}, {"https://git.example/a/b"}),
        (
            {"repository": {"clone_url": "https://h/a/b.git", "ssh_url": "git@h:a/b.git"}},
            {"https://h/a/b.git", "git@h:a/b.git"},
        ),
        ({"project": {"git_http_url": "https://lab/a/b.git"}}, {"https://lab/a/b.git"}),
        (
            {"repository": {"links": {"clone": [{"href": "https://bb/a/b"}], "html": {"href": "https://bb/x"}}}},
            {"https://bb/a/b", "https://bb/x"},
        ),
        ({"repository": "text"}, set()),
        ({"repository": {"url": 7, "links": []}}, set()),
        ([], set()),
        (None, set()),
    ],
)
def test_repository_urls(payload: object, expected: set[str]) -> None:
    assert repository_urls(payload) == expected


def test_changed_ref() -> None:
    assert changed_ref({"ref": "refs/heads/x"}) == "refs/heads/x"
    assert changed_ref({"ref": 1}) == ""
    assert changed_ref("x") == ""


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ("git@host:org/app.git", "https://host/org/app", True),
        ("ssh://git@host:2222/org/app.git", "https://HOST/org/app.git/", True),
        ("https://user@host/org/app", "https://host/org/app", True),
        ("https://user:password@host/org/app", "https://host/org/app", True),
        ("https://host/org/app", "https://host/org/app2", False),
        ("https://host/org/App", "https://host/org/app", False),
        ("https://host/org/app", "https://other/org/app", False),
        ("file:///srv/app.git", "/srv/app", True),
        ("nonsense", "nonsense", False),
    ],
)
def test_same_repository(a: str, b: str, same: bool) -> None:
    assert same_repository(a, b) is same
    assert same_repository(b, a) is same
