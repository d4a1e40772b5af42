"""The admission webhook, as taut's configuration says it."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated
from urllib.parse import urlsplit

from msgspec import Meta

from taut.dialects.kinds import PlainName
from taut.dialects.problems import Finding
from taut.model.application import Spec


class FailurePolicy(StrEnum):
    """What becomes of a write that nobody can judge, because taut is away, fails or is slow: it is refused, or passes."""

    FAIL = "fail"
    IGNORE = "ignore"


class AdmissionServiceConfig(Spec, frozen=True):
    """The Service in front of taut, when it runs in the cluster that asks."""

    namespace: PlainName
    """Its namespace; no policy judges what is in it."""
    name: PlainName
    """Its name."""
    port: Annotated[int, Meta(ge=1, le=65535)] = 443
    """Its port."""


class AdmissionConfig(Spec, frozen=True):
    """The validating admission webhook: policies judge every write to the clusters, and drift is told with the name of the user."""

    listen: str = "127.0.0.1:9443"
    """Where the webhook listens, over TLS with a certificate that taut makes and renews; port 0 takes a free one."""
    url: str | None = None
    """The address (https) at which API servers find taut; default: `https://` and `listen`."""
    service: AdmissionServiceConfig | None = None
    """The Service by which the API server of taut's own cluster finds it. With `url` as well it is for clusters with `inCluster` only."""
    timeout_seconds: Annotated[int, Meta(ge=1, le=30)] = 5
    """How long the API server waits for an answer."""
    exempt_namespaces: tuple[PlainName, ...] = ()
    """Namespaces that no policy judges, besides `kube-system` and taut's own."""
    failure_policy: FailurePolicy = FailurePolicy.IGNORE
    """What becomes of writes that nobody can judge, for policies that do not say it themselves."""
    instance: PlainName = "default"
    """Tells apart several tauts that ask in one cluster: the ValidatingWebhookConfiguration is `taut-<instance>`."""


def admission_findings(admission: AdmissionConfig) -> Iterator[Finding]:
    """What is wrong with it."""
    host, colon, port = admission.listen.rpartition(":")
    if not colon or not host or not (port.isascii() and port.isdigit() and int(port) < 65536):
        yield Finding(("listen",), f"{admission.listen!r} is no address", "write host:port, such as 127.0.0.1:9443")
    elif host.strip("[]") in {"0.0.0.0", "::"} and not (admission.url or admission.service):  # noqa: S104 (it is asked for, not done)
        what = "API servers are not told how to find taut"
        yield Finding(("listen",), what, "add url or service, or listen on one address")
    if admission.url is not None and _webhook_url_fault(admission.url):
        yield Finding(("url",), _webhook_url_fault(admission.url), "write it like https://taut.example.com:9443")


def _webhook_url_fault(url: str) -> str:
    """What API servers do not take in a webhook's address."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return f"{url!r} is no address"
    if parts.scheme != "https":
        return "API servers ask over https only"
    if not host:
        return "there is no host in it"
    if parts.username is not None or parts.query or parts.fragment:
        return "API servers take no user, no query and no fragment in it"
    return ""
