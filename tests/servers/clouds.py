"""Small stand-ins of Google Cloud KMS (cloudkms v1) and Azure Key Vault (keys 7.4), after their published API descriptions.

They wrap with a key of their own, and refuse what the services refuse: other paths, other tokens, other algorithms.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

RESOURCE = "projects/shop/locations/global/keyRings/taut/cryptoKeys/sops"
_OAEP = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)


@dataclass
class Clouds:
    """Where they are, and what they were asked."""

    address: str = ""
    seen: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    token: str = "token-of-the-tests"
    key: rsa.RSAPrivateKey = field(
        default_factory=lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048)
    )
    aes: bytes = field(default_factory=lambda: AESGCM.generate_key(256))

    @property
    def host(self) -> str:
        return self.address.removeprefix("http://")

    def answer(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, Any]]:
        self.seen.append((path, headers))
        if path.endswith("/oauth2/v2.0/token"):
            form = parse_qs(body.decode())
            good = form.get("client_secret") == ["secret"] and form["scope"] == ["https://vault.azure.net/.default"]
            return (200, {"access_token": self.token}) if good else (401, {"error": "invalid_client"})
        if headers.get("Authorization") != f"Bearer {self.token}":
            return 401, {"error": {"code": 401}}
        asked = json.loads(body)
        place, _, verb = path.rpartition(":")
        if place == f"/v1/{RESOURCE}" and verb in {"encrypt", "decrypt"}:
            return self._google(verb, asked)
        if path.startswith("/keys/sops/0123456789abcdef/") and path.endswith("?api-version=7.4"):
            return self._azure(path.removesuffix("?api-version=7.4").rpartition("/")[2], asked)
        return 404, {"error": {"code": 404}}

    def _google(self, verb: str, asked: dict[str, str]) -> tuple[int, dict[str, Any]]:
        if verb == "encrypt":
            sealed = AESGCM(self.aes).encrypt(bytes(12), base64.b64decode(asked["plaintext"]), None)
            return 200, {"name": RESOURCE, "ciphertext": base64.b64encode(sealed).decode()}
        try:
            plain = AESGCM(self.aes).decrypt(bytes(12), base64.b64decode(asked["ciphertext"]), None)
        except InvalidTag:
            return 400, {"error": {"code": 400, "status": "INVALID_ARGUMENT"}}
        return 200, {"plaintext": base64.b64encode(plain).decode()}

    def _azure(self, verb: str, asked: dict[str, str]) -> tuple[int, dict[str, Any]]:
        if asked.get("alg") != "RSA-OAEP-256":
            return 400, {"error": {"code": "BadParameter"}}
        value = base64.urlsafe_b64decode(asked["value"] + "=" * (-len(asked["value"]) % 4))
        try:
            done = self.key.public_key().encrypt(value, _OAEP) if verb == "encrypt" else self.key.decrypt(value, _OAEP)
        except ValueError:
            return 400, {"error": {"code": "BadParameter"}}
        text = base64.urlsafe_b64encode(done).decode().rstrip("=")
        return 200, {"kid": f"{self.address}/keys/sops/0123456789abcdef", "value": text}


@contextmanager
def clouds() -> Iterator[Clouds]:
    """Both, at one address, until the block ends."""
    made = Clouds()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, answer = made.answer(self.path, dict(self.headers), body)
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    made.address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
