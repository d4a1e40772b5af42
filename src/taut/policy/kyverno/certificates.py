"""Certificates and certificate requests as fields (`x509_decode`)."""

from __future__ import annotations

import re
from typing import Any

from taut.policy.kyverno.errors import PolicyError
from taut.policy.kyverno.moments import written


def decoded(text: str) -> dict[str, Any]:
    """The fields of a PEM certificate or request, named as Go's crypto/x509 prints them. Raises PolicyError when it is neither."""
    from cryptography import x509

    data = re.sub(r"(?<!-)\n?$", "\n", text.strip()).encode()
    try:
        if b"CERTIFICATE REQUEST" in data:
            request = x509.load_pem_x509_csr(data)
            return {"Subject": _name(request.subject), **_key(request.public_key()), **_signature(request)}
        certificate = x509.load_pem_x509_certificate(data)
    except ValueError:
        raise PolicyError("x509_decode: the value is no certificate in PEM") from None
    return {
        "Subject": _name(certificate.subject),
        "Issuer": _name(certificate.issuer),
        "SerialNumber": certificate.serial_number,
        "Version": certificate.version.value + 1,
        "NotBefore": written(certificate.not_valid_before_utc),
        "NotAfter": written(certificate.not_valid_after_utc),
        "DNSNames": _names(certificate),
        "IsCA": _is_authority(certificate),
        **_key(certificate.public_key()),
        **_signature(certificate),
    }


_FIELDS = {
    "2.5.4.3": "CommonName", "2.5.4.6": "Country", "2.5.4.7": "Locality", "2.5.4.8": "Province",
    "2.5.4.10": "Organization", "2.5.4.11": "OrganizationalUnit", "2.5.4.9": "StreetAddress",
    "2.5.4.17": "PostalCode", "2.5.4.5": "SerialNumber",
}  # fmt: skip


def _name(name: Any) -> dict[str, Any]:
    found: dict[str, Any] = dict.fromkeys(_FIELDS.values())
    for attribute in name:
        field = _FIELDS.get(attribute.oid.dotted_string)
        if field in {"CommonName", "SerialNumber"}:
            found[field] = attribute.value
        elif field:
            found[field] = [*(found[field] or []), attribute.value]
    found["Names"] = [{"Type": [int(n) for n in a.oid.dotted_string.split(".")], "Value": a.value} for a in name]
    return found


def _names(certificate: Any) -> list[str] | None:
    from cryptography import x509

    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, ValueError):
        return None
    return extension.value.get_values_for_type(x509.DNSName) or None


def _is_authority(certificate: Any) -> bool:
    from cryptography import x509

    try:
        return bool(certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
    except (x509.ExtensionNotFound, ValueError):
        return False


def _key(key: Any) -> dict[str, Any]:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(key, rsa.RSAPublicKey):
        numbers = key.public_numbers()
        return {"PublicKeyAlgorithm": "RSA", "PublicKey": {"N": str(numbers.n), "E": numbers.e}}
    if isinstance(key, ec.EllipticCurvePublicKey):
        return {"PublicKeyAlgorithm": "ECDSA", "PublicKey": {"Curve": key.curve.name}}
    return {
        "PublicKeyAlgorithm": "Ed25519" if isinstance(key, ed25519.Ed25519PublicKey) else "unknown",
        "PublicKey": {},
    }


def _signature(signed: Any) -> dict[str, Any]:
    algorithm = signed.signature_hash_algorithm
    return {"SignatureAlgorithm": algorithm.name.upper() if algorithm else "PureEd25519"}
