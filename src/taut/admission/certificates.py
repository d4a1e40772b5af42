"""The webhook's certificates: a small CA of taut's own and a serving certificate, renewed long before they end.

Pure functions of what is kept and the time. A new CA is known to API servers (it is in the bundle) for an hour before it signs, and an old
one stays in the bundle for an hour after the last certificate that it signed: at no moment a server is shown what it does not trust.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
import ssl
import tempfile
from collections.abc import Sequence

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = 86_400.0
CA_LIFE, LEAF_LIFE = 365 * DAY, 30 * DAY
RENEWED_AT = 2 / 3
"""The share of its life after which a certificate is made anew."""
OVERLAP = 3600.0
"""Seconds that API servers are given to learn of a new CA before it signs, and to forget an old one."""
_BACK = 300.0
"""A certificate holds from five minutes ago: clocks of other machines are behind."""


class Pair(msgspec.Struct, frozen=True):
    """A certificate and its private key as PEM, and from when to when it holds (Unix seconds)."""

    certificate: bytes
    key: bytes
    begins: float
    ends: float

    def __repr__(self) -> str:
        return f"Pair({self.begins}–{self.ends})"

    @property
    def renew_at(self) -> float:
        """From when on it is to be replaced."""
        return self.begins + (self.ends - self.begins) * RENEWED_AT

    def fresh(self, now: float) -> bool:
        """Whether it holds, and is not to be replaced. A clock that was set back makes a certificate of the future."""
        return self.begins - _BACK <= now < self.renew_at


class Certificates(msgspec.Struct, frozen=True):
    """The CAs, the oldest first, and the serving certificate with the names that it is for and the CA that signed it."""

    authorities: tuple[Pair, ...]
    leaf: Pair
    names: tuple[str, ...]
    signer: int

    @property
    def bundle(self) -> bytes:
        """What API servers are to trust: all CAs as PEM."""
        return b"".join(a.certificate for a in self.authorities)


def renewed(kept: Certificates | None, names: Sequence[str], now: float) -> Certificates:
    """The certificates for servers at `names` (host names and addresses) as they should be now: `kept` itself when nothing is due."""
    names = tuple(dict.fromkeys(names))
    authorities = _authorities(kept, now)
    signer = _signer(authorities, now)
    if kept is not None and kept.names == names and kept.leaf.fresh(now):
        old = kept.authorities[kept.signer]
        if old in authorities:
            # Only at its own renewal it changes to a newer CA: until then clusters that are away can learn of it.
            found = _without_past(authorities, authorities.index(old), kept.leaf, now)
            same = found == kept.authorities
            return kept if same else msgspec.structs.replace(kept, authorities=found, signer=found.index(old))
    leaf = _leaf(authorities[signer], names, now)
    return Certificates(authorities, leaf, names, signer)


def next_look(kept: Certificates) -> float:
    """When `renewed` may have something to do again, as Unix seconds."""
    moments = [kept.leaf.renew_at, kept.authorities[-1].renew_at]
    if kept.signer:
        moments.append(kept.leaf.begins + OVERLAP)
    return min(moments)


def _authorities(kept: Certificates | None, now: float) -> tuple[Pair, ...]:
    """The CAs that hold, with a new one when the newest is to be replaced."""
    alive = tuple(a for a in kept.authorities if a.begins - _BACK <= now < a.ends) if kept else ()
    return alive if alive and alive[-1].fresh(now) else (*alive, _authority(now))


def _signer(authorities: tuple[Pair, ...], now: float) -> int:
    """The newest CA that API servers have heard of; the newest of all when there is none."""
    known = [n for n, a in enumerate(authorities) if a.begins + OVERLAP <= now]
    if known:
        return known[-1]
    return 0 if len(authorities) > 1 else len(authorities) - 1


def _without_past(authorities: tuple[Pair, ...], signer: int, leaf: Pair, now: float) -> tuple[Pair, ...]:
    """The CAs without those before the signer, once no connection can know their certificates any more."""
    return authorities[signer:] if leaf.begins + OVERLAP <= now else authorities


def encoded(certificates: Certificates) -> bytes:
    """For the store, which seals it."""
    return msgspec.msgpack.encode(certificates)


def decoded(data: bytes | None) -> Certificates | None:
    """What `encoded` made; None for anything else: certificates are made anew then."""
    try:
        found = msgspec.msgpack.decode(data, type=Certificates) if data else None
    except (msgspec.DecodeError, msgspec.ValidationError):
        return None
    return found if found and 0 <= found.signer < len(found.authorities) else None


def load_into(context: ssl.SSLContext, certificates: Certificates) -> None:
    """Let new connections be served with this certificate; those that are open keep theirs.

    OpenSSL reads keys from files only. It is given one that is encrypted with a word of this moment: no plain key lies on a disk.
    """
    word = os.urandom(24).hex().encode()
    key = serialization.load_pem_private_key(certificates.leaf.key, None)
    sealed = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(word)
    )
    with tempfile.NamedTemporaryFile(suffix=".pem") as file:  # mode 0600
        file.write(certificates.leaf.certificate + sealed)
        file.flush()
        context.load_cert_chain(file.name, password=word)


def server_context(certificates: Certificates) -> ssl.SSLContext:
    """TLS as a server: 1.2 or newer. `load_into` gives it another certificate while it is in use."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    load_into(context, certificates)
    return context


def _authority(now: float) -> Pair:
    secret = ec.generate_private_key(ec.SECP256R1())
    # Two CAs of one name would be told apart by their keys alone, and not every verifier tries both.
    name = _name(f"taut admission {os.urandom(4).hex()}")
    builder = _builder(name, name, secret, now, now + CA_LIFE)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(signs=True), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(secret.public_key()), critical=False)
    return _pair(builder.sign(secret, hashes.SHA256()), secret, now, now + CA_LIFE)


def _leaf(authority: Pair, names: Sequence[str], now: float) -> Pair:
    issuer = x509.load_pem_x509_certificate(authority.certificate)
    issuer_key = serialization.load_pem_private_key(authority.key, None)
    if not isinstance(issuer_key, ec.EllipticCurvePrivateKey):
        raise TypeError("a CA of taut's has an elliptic key")
    secret = ec.generate_private_key(ec.SECP256R1())
    ends = min(now + LEAF_LIFE, authority.ends)
    builder = _builder(_name("taut admission webhook"), issuer.subject, secret, now, ends)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(signs=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    builder = builder.add_extension(identifier, critical=False)
    builder = builder.add_extension(x509.SubjectAlternativeName([_address(n) for n in names]), critical=False)
    return _pair(builder.sign(issuer_key, hashes.SHA256()), secret, now, ends)


def _pair(certificate: x509.Certificate, secret: ec.EllipticCurvePrivateKey, begins: float, ends: float) -> Pair:
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return Pair(
        certificate.public_bytes(pem), secret.private_bytes(pem, form, serialization.NoEncryption()), begins, ends
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, secret: ec.EllipticCurvePrivateKey, now: float, ends: float
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(secret.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.datetime.fromtimestamp(now - _BACK, datetime.UTC))
        .not_valid_after(datetime.datetime.fromtimestamp(ends, datetime.UTC))
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _address(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)
