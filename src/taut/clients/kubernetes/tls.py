"""TLS to a cluster: its CA, our certificate, nothing verified less than the kubeconfig says."""

from __future__ import annotations

import os
import ssl
import tempfile
from dataclasses import dataclass

from taut.model.errors import BadInput


@dataclass(frozen=True, slots=True)
class Certificate:
    """A client certificate and its private key, both PEM."""

    certificate: bytes
    key: bytes

    def __repr__(self) -> str:
        return "Certificate(…)"


@dataclass(frozen=True, slots=True)
class Tls:
    """How a server is verified. An empty `ca` means the system's; `insecure` only when a kubeconfig says so."""

    ca: bytes = b""
    server_name: str = ""
    insecure: bool = False


def context(tls: Tls, certificate: Certificate | None) -> ssl.SSLContext:
    """An SSL context. Raises BadInput when the CA, the certificate or the key cannot be read.

    The flag VERIFY_X509_STRICT, which Python 3.13 sets, is cleared: it refuses CAs without keyUsage, which other Kubernetes
    clients accept and which clusters do have. Chain, name and dates are verified as ever.
    """
    made = _base(tls)
    if certificate is not None:
        try:
            _load_pair(made, certificate)
        except (ssl.SSLError, ValueError) as e:
            raise BadInput(
                "the client certificate and its key do not fit together, or are no PEM",
                advice="check client-certificate and client-key of the kubeconfig's user",
            ) from e
    return made


def _base(tls: Tls) -> ssl.SSLContext:
    if not tls.ca:
        made = ssl.create_default_context()
    else:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            made.load_verify_locations(cadata=tls.ca.decode("ascii"))
        except (ssl.SSLError, ValueError) as e:
            raise BadInput(
                "the cluster's certificate authority is no PEM",
                advice="check certificate-authority(-data) of the kubeconfig's cluster",
            ) from e
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if tls.insecure:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    return made


def _load_pair(made: ssl.SSLContext, pair: Certificate) -> None:
    """OpenSSL reads keys from files only: give it memory that looks like one, so that no key lies on a disk."""
    data = pair.certificate.rstrip() + b"\n" + pair.key.rstrip() + b"\n"
    if hasattr(os, "memfd_create") and os.path.isdir("/proc/self/fd"):
        fd = os.memfd_create("taut-client", os.MFD_CLOEXEC)
        try:
            os.write(fd, data)
            made.load_cert_chain(f"/proc/self/fd/{fd}", password="")
        finally:
            os.close(fd)
        return
    with tempfile.NamedTemporaryFile(suffix=".pem") as file:  # mode 0600
        file.write(data)
        file.flush()
        made.load_cert_chain(file.name, password="")
