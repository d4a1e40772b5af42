"""An OpenID Connect issuer on loopback that says what a test wants: good tokens, and every kind of bad one.

It answers by OpenID Connect Discovery 1.0 and Core 1.0; a real provider takes part in `tests/integration/server/test_sign_in.py`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey


@dataclass
class Issuer:
    """What the next answers say. `claims` change or (None) remove what an ID token holds; `sign` makes the token."""

    url: str = ""
    client: str = "taut"
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "one"}))
    published: RSAKey | None = None
    claims: dict[str, Any] = field(default_factory=dict[str, Any])
    userinfo: dict[str, Any] = field(default_factory=dict[str, Any])
    sign: Callable[[Issuer, dict[str, Any]], str] | None = None
    expires_in: int = 3600
    refuse: str = ""
    asked: list[str] = field(default_factory=list[str])
    codes: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])

    def authorize(self, url: str) -> str:
        """What a browser is answered that agrees: the address it is sent back to."""
        query = {k: v[0] for k, v in parse_qs(urlsplit(url).query).items()}
        code = f"code-{len(self.codes)}"
        self.codes[code] = query
        return f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}"

    def token(self, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """The token endpoint."""
        if self.refuse:
            return 400, {"error": self.refuse}
        nonce = ""
        if form["grant_type"] == "authorization_code":
            asked = self.codes.pop(form.get("code", ""), None)
            if asked is None:
                return 400, {"error": "invalid_grant"}
            digest = hashlib.sha256(form["code_verifier"].encode()).digest()
            if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != asked["code_challenge"]:
                return 400, {"error": "invalid_grant"}
            nonce = asked["nonce"]
        now = int(time.time())
        said = {"iss": self.url, "aud": self.client, "sub": "s-1", "iat": now, "exp": now + 300, "nonce": nonce}
        said |= {"email": "ann@example.test", "email_verified": True, "groups": ["team"], **self.claims}
        said = {k: v for k, v in said.items() if v is not None}
        made = self.sign(self, said) if self.sign else jwt.encode({"alg": "RS256", "kid": "one"}, said, self.key)
        answer = {"id_token": made, "access_token": "access", "expires_in": self.expires_in, "token_type": "Bearer"}
        return 200, {**answer, "refresh_token": "refresh-1"}

    def answer(self, path: str) -> dict[str, Any]:
        """Everything that is read."""
        if path == "/.well-known/openid-configuration":
            paths = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}
            paths |= {"userinfo_endpoint": "userinfo", "end_session_endpoint": "logout"}
            return {"issuer": self.url, **{k: f"{self.url}/{v}" for k, v in paths.items()}}
        if path == "/keys":
            return {"keys": [(self.published or self.key).as_dict(private=False)]}
        return {"sub": "s-1", **self.userinfo}


@contextmanager
def issuing() -> Iterator[Issuer]:
    """An issuer that runs until the context ends."""
    issuer = Issuer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._say(200, issuer.answer(urlsplit(self.path).path))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
            self._say(*issuer.token({k: v[0] for k, v in parse_qs(body).items()}))

        def _say(self, status: int, answer: dict[str, Any]) -> None:
            issuer.asked.append(self.path)
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            """The test's output is for the test."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    issuer.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield issuer
    finally:
        server.shutdown()
        server.server_close()
