"""Signatures of commits and tags: OpenPGP and SSH, checked in this process against the keys that a project trusts."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import pygit2
import pysequoia
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_ssh_public_key

from taut.model.errors import BadInput, SourceError, Where
from taut.model.project import Signatures

_PGP = b"-----BEGIN PGP SIGNATURE-----"
_SSH = b"-----BEGIN SSH SIGNATURE-----"
_SSH_END = b"-----END SSH SIGNATURE-----"
_ADVICE = "sign with a key that the project trusts, or add the key to the project's signatures"


@dataclass(frozen=True, slots=True)
class Signed:
    """What was signed and the signature, as Git keeps them."""

    what: str
    payload: bytes
    signature: bytes


def signed_commit(commit: pygit2.Commit, where: Where) -> Signed:
    """The signature of a commit. Raises SourceError when it has none."""
    signature, payload = commit.gpg_signature
    if not signature:
        raise SourceError(f"nobody signed the commit {str(commit.id)[:8]}", where=where, advice=_ADVICE)
    return Signed(f"the commit {str(commit.id)[:8]}", payload, signature)


def signed_tag(tag: pygit2.Tag, name: str, where: Where) -> Signed:
    """The signature of a tag, which Git puts at the end of its text. Raises SourceError when it has none, or the signed name is another."""
    raw = tag.read_raw()
    starts = [at for mark in (_PGP, _SSH) if (at := raw.rfind(b"\n" + mark)) >= 0]
    if not starts:
        raise SourceError(f"nobody signed the tag {name!r}", where=where, advice=_ADVICE)
    if tag.name != name:
        # A signed tag that was renamed would vouch for a version it is not.
        raise SourceError(f"the tag {name!r} was signed as {tag.name!r}", where=where, advice="sign a tag of this name")
    cut = max(starts) + 1
    return Signed(f"the tag {name!r}", raw[:cut], raw[cut:])


def check(signed: Signed, trusted: Signatures, where: Where) -> str:
    """Check a signature against the trusted keys; the fingerprint of the key that made it comes back.

    Raises SourceError that says which key signed, when it is not trusted or the signature is wrong; BadInput when a trusted key cannot be read.
    """
    if signed.signature.lstrip().startswith(_SSH):
        return _check_ssh(signed, trusted.ssh, where)
    if signed.signature.lstrip().startswith(_PGP):
        return _check_open_pgp(signed, trusted.open_pgp, where)
    raise SourceError(f"{signed.what} carries a signature that is neither OpenPGP nor SSH", where=where, advice=_ADVICE)


def _check_open_pgp(signed: Signed, keys: Sequence[str], where: Where) -> str:
    certificates = [certificate for text in keys for certificate in _certificates(text)]
    try:
        signature = pysequoia.Sig.from_bytes(signed.signature)
    except Exception:  # noqa: BLE001 - the binding raises bare exceptions for malformed input
        raise SourceError(f"the signature of {signed.what} cannot be read", where=where, advice=_ADVICE) from None
    signer = signature.issuer_fingerprint or signature.issuer_key_id or "an unknown key"
    try:
        result = pysequoia.verify(bytes=signed.payload, store=lambda _: certificates, signature=signature)
    except Exception:  # noqa: BLE001 - the same: wrong, expired, revoked and unknown all come as a bare exception
        raise SourceError(
            f"{signed.what} is signed by the OpenPGP key {signer.upper()}, which is not trusted, is expired or revoked, or did not sign this",
            where=where,
            advice=_ADVICE,
        ) from None
    return next((s.certificate.upper() for s in result.valid_sigs), signer.upper())


def _certificates(text: str) -> list[pysequoia.Cert]:
    try:
        return pysequoia.Cert.split_bytes(text.encode())
    except Exception:  # noqa: BLE001 - the binding raises bare exceptions for malformed input
        raise BadInput("an OpenPGP key of the project cannot be read", advice="paste the armoured public key") from None


def _check_ssh(signed: Signed, keys: Sequence[str], where: Where) -> str:
    try:
        public, made, message = _read_ssh(signed)
    except (ValueError, IndexError, binascii.Error):
        raise SourceError(f"the SSH signature of {signed.what} cannot be read", where=where, advice=_ADVICE) from None
    fingerprint = ssh_fingerprint(public)
    if public not in {_public_blob(key) for key in keys}:
        raise SourceError(
            f"{signed.what} is signed by the SSH key {fingerprint}, which is not trusted", where=where, advice=_ADVICE
        )
    try:
        _verify_ssh(public, made, message)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, LookupError):
        raise SourceError(
            f"{signed.what} carries a signature of the SSH key {fingerprint} that is wrong", where=where, advice=_ADVICE
        ) from None
    return fingerprint


def ssh_fingerprint(public: bytes) -> str:
    """The fingerprint of a public key's wire form, as ssh-keygen prints it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(public).digest()).decode().rstrip("=")


def _public_blob(line: str) -> bytes:
    """The wire form of a key written as `ssh-ed25519 AAAA… comment`; options or a principal may stand before it."""
    words = line.split()
    for kind, blob in pairwise(words):
        if kind.startswith(("ssh-", "ecdsa-", "sk-")):
            try:
                return base64.b64decode(blob, validate=True)
            except ValueError:
                break
    raise BadInput(
        "an SSH key of the project cannot be read",
        advice="write it like `ssh-ed25519 AAAA…`, as in the file id_ed25519.pub",
    )


class _Wire:
    """Reads SSH's wire format: strings with their length before them."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        """The next bytes. Raises ValueError when there are not as many."""
        piece = self._data[self._at : self._at + count]
        if len(piece) != count:
            raise ValueError("too short")
        self._at += count
        return piece

    def string(self) -> bytes:
        """The next string."""
        return self.take(int.from_bytes(self.take(4), "big"))

    def rest(self) -> bytes:
        """What is left."""
        return self._data[self._at :]


@dataclass(frozen=True, slots=True)
class _SshSignature:
    """A signature's algorithm, its bytes, and what hardware tokens put behind them."""

    algorithm: str
    raw: bytes
    extra: bytes


def _read_ssh(signed: Signed) -> tuple[bytes, _SshSignature, bytes]:
    """Public key, signature and the message that was signed, by OpenSSH's PROTOCOL.sshsig. The namespace must be `git`."""
    body = signed.signature.partition(_SSH)[2].partition(_SSH_END)[0]
    wire = _Wire(base64.b64decode(b"".join(body.split()), validate=True))
    if wire.take(6) != b"SSHSIG" or int.from_bytes(wire.take(4), "big") != 1:
        raise ValueError("no SSHSIG")
    public, namespace, reserved, hash_name, blob = (wire.string() for _ in range(5))
    if namespace != b"git" or hash_name not in {b"sha256", b"sha512"}:
        raise ValueError("another namespace or hash")
    digest = hashlib.new(hash_name.decode(), signed.payload).digest()
    message = b"SSHSIG" + b"".join(_packed(part) for part in (namespace, reserved, hash_name, digest))
    inner = _Wire(blob)
    return public, _SshSignature(inner.string().decode("ascii"), inner.string(), inner.rest()), message


def _packed(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def _verify_ssh(public: bytes, made: _SshSignature, message: bytes) -> None:
    """Raises InvalidSignature, or ValueError for a key or algorithm that is not accepted (DSA, SHA-1, certificates)."""
    kind = _Wire(public).string().decode("ascii")
    algorithm, raw = made.algorithm, made.raw
    if kind.startswith("sk-"):
        _verify_token(kind, public, raw, made.extra, message)
        return
    key = load_ssh_public_key(kind.encode() + b" " + base64.b64encode(public))
    match key:
        case ed25519.Ed25519PublicKey() if algorithm == "ssh-ed25519":
            key.verify(raw, message)
        case ec.EllipticCurvePublicKey() if algorithm == kind:
            key.verify(_ecdsa(raw), message, ec.ECDSA(_CURVE_HASHES[key.curve.name]()))
        case rsa.RSAPublicKey() if algorithm in _RSA_HASHES and key.key_size >= 2048:
            key.verify(raw, message, padding.PKCS1v15(), _RSA_HASHES[algorithm]())
        case _:
            raise ValueError(f"{algorithm} is not accepted")


_RSA_HASHES: dict[str, Callable[[], hashes.HashAlgorithm]] = {
    "rsa-sha2-256": hashes.SHA256,
    "rsa-sha2-512": hashes.SHA512,
}
_CURVE_HASHES: dict[str, Callable[[], hashes.HashAlgorithm]] = {
    "secp256r1": hashes.SHA256,
    "secp384r1": hashes.SHA384,
    "secp521r1": hashes.SHA512,
}


def _ecdsa(raw: bytes) -> bytes:
    wire = _Wire(raw)
    return encode_dss_signature(int.from_bytes(wire.string(), "big"), int.from_bytes(wire.string(), "big"))


def _verify_token(kind: str, public: bytes, raw: bytes, extra: bytes, message: bytes) -> None:
    """Keys on hardware tokens sign more than the message: application, flags and counter (PROTOCOL.u2f)."""
    wire = _Wire(public)
    wire.string()
    flags = extra[:5]
    if len(flags) != 5 or not flags[0] & 1:
        raise ValueError("nobody touched the token")
    if kind == "sk-ssh-ed25519@openssh.com":
        point, application = wire.string(), wire.string()
        signed = hashlib.sha256(application).digest() + flags + hashlib.sha256(message).digest()
        ed25519.Ed25519PublicKey.from_public_bytes(point).verify(raw, signed)
    elif kind == "sk-ecdsa-sha2-nistp256@openssh.com":
        wire.string()
        point, application = wire.string(), wire.string()
        signed = hashlib.sha256(application).digest() + flags + hashlib.sha256(message).digest()
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
        key.verify(_ecdsa(raw), signed, ec.ECDSA(hashes.SHA256()))
    else:
        raise ValueError(f"{kind} is not accepted")
