"""The small CA of a control plane. Keys are elliptic; certificates carry a proper keyUsage, so that strict clients verify them."""

from __future__ import annotations

import datetime
import ipaddress
import os
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_YEARS = 10


def write_private(file: Path, data: bytes) -> None:
    """Write a file that only its owner may read, from the first byte on."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        os.fchmod(descriptor, 0o600)
        out.write(data)


def make_ca(certificate: Path, key: Path, name: str) -> None:
    """Make a self-signed CA called `name`."""
    secret = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(_name(name), _name(name), secret.public_key())
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=True), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(secret.public_key()), critical=False)
    write_private(certificate, builder.sign(secret, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    write_private(key, _private(secret))


def issue(
    ca: Path,
    ca_key: Path,
    *,
    certificate: Path,
    key: Path,
    common_name: str,
    organizations: Sequence[str] = (),
    addresses: Sequence[str] = (),
) -> None:
    """Issue a certificate for a server at `addresses` (names and IP addresses) or, without any, for a client.

    Kubernetes takes a client's common name as the user and its organizations as the groups.
    """
    issuer = x509.load_pem_x509_certificate(ca.read_bytes())
    issuer_key = serialization.load_pem_private_key(ca_key.read_bytes(), None)
    if not isinstance(issuer_key, ec.EllipticCurvePrivateKey):
        raise ValueError(f"{ca_key} holds no elliptic key")
    secret = ec.generate_private_key(ec.SECP256R1())
    use = ExtendedKeyUsageOID.SERVER_AUTH if addresses else ExtendedKeyUsageOID.CLIENT_AUTH
    builder = _builder(_name(common_name, organizations), issuer.subject, secret.public_key())
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([use]), critical=False)
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    builder = builder.add_extension(identifier, critical=False)
    if addresses:
        builder = builder.add_extension(x509.SubjectAlternativeName([_address(a) for a in addresses]), critical=False)
    write_private(certificate, builder.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    write_private(key, _private(secret))


def make_key_pair(private: Path, public: Path) -> None:
    """Make a key pair, for signing service accounts' tokens."""
    secret = ec.generate_private_key(ec.SECP256R1())
    write_private(private, _private(secret))
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    write_private(public, secret.public_key().public_bytes(serialization.Encoding.PEM, form))


def _builder(subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=365 * _YEARS))
    )


def _name(common_name: str, organizations: Sequence[str] = ()) -> x509.Name:
    groups = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, o) for o in organizations]
    return x509.Name([*groups, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
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


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
