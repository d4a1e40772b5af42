from __future__ import annotations

import pytest

from taut.clients.credentials import Credentials
from taut.sources.git_errors import explain

HELD = Credentials(username="me", password="hunter2")
MESSAGES = [
    ("Host key verification failed.\nfatal: Could not read from remote repository.", "host key is not known"),
    (
        "git@host: Permission denied (publickey).\nfatal: Could not read from remote repository.",
        "does not accept the key",
    ),
    ("fatal: Authentication failed for 'https://me:hunter2@host/a'", "does not accept the credentials"),
    ("too many redirects or authentication replays", "does not accept the credentials"),
    ("fatal: unable to access 'https://host/a/': The requested URL returned error: 403", "refuses access"),
    ("fatal: repository 'https://host/a/' not found", "no repository at this address"),
    ("unexpected http status code: 404", "no repository at this address"),
    ("fatal: unable to access 'https://host/': Could not resolve host: host", "host's name is not known"),
    ("failed to connect to 127.0.0.1: Connection refused", "refuses the connection"),
    ("fatal: unable to access: SSL certificate problem: self-signed certificate", "certificate is not trusted"),
    ("the SSL certificate is invalid", "certificate is not trusted"),
    ("cannot redirect from 'a' to 'b'", "redirects to another address"),
    ("fatal: unable to access: The requested URL returned error: 502", "fails"),
    ("fatal: detected dubious ownership in repository at '/srv'", "belongs to another user"),
    ("fatal: remote error: upload-pack: not our ref 1234", "does not give out that commit"),
    ("fetch-pack: unexpected disconnect while reading sideband packet", "connection broke"),
    ("error: unable to write: No space left on device", "disk is full"),
    ("something entirely new \x1b[31m happened", "could not be read: something entirely new"),
    ("", "no reason given"),
]


@pytest.mark.parametrize(("message", "words"), MESSAGES, ids=[row[1] for row in MESSAGES])
def test_sentences(message: str, words: str) -> None:
    text = str(explain(message, "https://me:hunter2@host/a", HELD))
    assert words in text
    assert "hunter2" not in text
    assert "\x1b" not in text


def test_missing_credentials_are_said_to_be_missing() -> None:
    assert "there are none for this address" in explain("error 401", "https://host/a", None).what
    assert "there are none for this address" in explain("error 401", "https://host/a", Credentials(ca=b"x")).what
