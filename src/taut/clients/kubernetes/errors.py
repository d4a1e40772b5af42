"""What the API server said, as an error for people: the object's name, the reason, what to do."""

from __future__ import annotations

import os
import re
import ssl
from typing import Any

from taut.model.errors import TargetError, Where

_ADVICE = {
    "Unauthorized": "the cluster does not accept these credentials; check the user of the kubeconfig's context",
    "Forbidden": "grant this right to the user that taut signs in as, or impersonates",
    "Conflict": "somebody else changed it meanwhile; read it again",
    "AlreadyExists": "an object of this name exists already",
    "Invalid": "correct the named fields in Git",
    "BadRequest": "the object is not one that the API server can read; check its fields",
    "Expired": "the list has to be read again",
    "TooManyRequests": "the API server is busy; taut tries again later",
    "RequestEntityTooLarge": "split the object; the API server takes about 3 MB",
    "InternalError": "look at the API server's log, and at the webhooks that it calls",
    "ServiceUnavailable": "the API server, or a server behind it, is not ready",
    "Timeout": "the API server did not answer in time; taut tries again later",
    "ServerTimeout": "the API server did not answer in time; taut tries again later",
}
_REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    409: "Conflict",
    410: "Expired",
    413: "RequestEntityTooLarge",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}
# Greedy on purpose: a value may hold anything that looks like the end of a quotation.
_SECRET_VALUES = (
    (re.compile(r"got [&\[{\"'].*", re.DOTALL), "got another type"),
    (re.compile(r"(Invalid value|Duplicate value|Unsupported value): .*: ", re.DOTALL), r"\1: ••••••: "),
    (re.compile(r"cannot unmarshal .* into", re.DOTALL), "cannot unmarshal another type into"),
)
_NOT_READABLE = (
    "failed to create typed patch object",
    "failed to convert new object",
    "unable to convert unstructured object",
)
_CONFLICT = re.compile(r'conflict with "(?P<manager>[^"]*)"(?: with subresource "(?P<sub>[^"]*)")?')


def status_error(
    status: int, payload: Any, *, subject: str = "", secret: bool = False, retry_after: float = 0.0
) -> TargetError:
    """Turn an answer that is no success into a TargetError.

    `payload` is the decoded body: a `Status` object, or whatever else a proxy in between answered. `subject` names the
    object (`Deployment shop/web`). With `secret` the server's quotations of values are removed from the text.
    """
    body: dict[str, Any] = payload if isinstance(payload, dict) else {}
    is_status = body.get("kind") == "Status"
    reason = str(body.get("reason") or "") if is_status else ""
    reason = reason or _REASONS.get(status, "")
    message = str(body.get("message") or "") if is_status else ""
    if status == 500 and any(text in message for text in _NOT_READABLE):
        # What the object says is wrong, and stays wrong: that is no trouble of the server's, whatever it calls it.
        status, reason = 422, "Invalid"
    if not message:
        message = f"the server answered {status} {reason}".rstrip()
    details = body.get("details") or {} if is_status else {}
    causes = tuple(
        (str(c.get("reason") or ""), str(c.get("field") or ""), str(c.get("message") or ""))
        for c in details.get("causes") or ()
    )
    if secret:
        message = without_values(message)
        causes = tuple((r, f, without_values(m)) for r, f, m in causes)
    seconds = retry_after or float(details.get("retryAfterSeconds") or 0)
    return TargetError(
        message,
        where=Where(object=subject),
        advice=_advice(reason, message, causes),
        status=status,
        reason=reason,
        causes=causes,
        retry_after=seconds,
    )


def _advice(reason: str, message: str, causes: tuple[tuple[str, str, str], ...]) -> str:
    if any(r == "NamespaceTerminating" for r, _, _ in causes) or "because it is being terminated" in message:
        return "the namespace is being deleted; taut tries again when it is gone"
    if any(r == "FieldManagerConflict" for r, _, _ in causes):
        managers = sorted({m.group("manager") for _, _, text in causes if (m := _CONFLICT.search(text))})
        return f"these fields belong to {', '.join(managers)}; taut takes them over only when told"
    if reason == "NotFound" and "the server could not find the requested resource" in message:
        return "the cluster does not serve this kind; is its CRD installed?"
    if reason == "NotFound" and message.startswith("namespaces "):
        return "create the namespace first, or set sync.createNamespace"
    if "failed calling webhook" in message:
        return "the admission webhook that is named does not answer; repair it, or its failurePolicy"
    if "denied the request" in message:
        return "an admission policy of the cluster forbids it"
    return _ADVICE.get(reason, "")


def without_values(message: str) -> str:
    """Remove what the API server quotes of an object's values, for objects that hold secrets."""
    for pattern, replacement in _SECRET_VALUES:
        message = pattern.sub(replacement, message)
    return message


def conflicting_managers(error: TargetError) -> tuple[tuple[str, str, str], ...]:
    """The (field, manager, subresource) of each conflict of a server-side apply; empty when it was no such conflict."""
    found: list[tuple[str, str, str]] = []
    for reason, field, message in error.causes:
        match = _CONFLICT.search(message)
        if reason == "FieldManagerConflict" and match:
            found.append((field, match.group("manager"), match.group("sub") or ""))
    return tuple(found)


def unreachable(
    server: str,
    error: BaseException,
    *,
    subject: str = "",
    reason: str = "Unreachable",
    advice: str = "check the address, the network and the proxy",
) -> TargetError:
    """The error for a cluster that gave no answer; `status` is 0."""
    text = _in_words(error)
    return TargetError(
        f"the cluster at {server} cannot be reached: {text}", where=Where(object=subject), advice=advice, reason=reason
    )


def _in_words(error: BaseException) -> str:
    """What an error of the network says, without what only its library means by it."""
    cause = getattr(error, "certificate_error", None) or getattr(error, "os_error", None)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {cause.verify_message}"
    if not isinstance(cause, OSError) or isinstance(cause, ssl.SSLError):
        return str(error) or type(error).__name__
    if cause.errno is not None and cause.errno > 0:
        return os.strerror(cause.errno)
    return cause.strerror or str(cause) or type(cause).__name__


def is_starting(error: TargetError) -> bool:
    """Whether a 429 says that one kind's storage is just being set up (a new CRD), not that the server is busy."""
    return error.status == 429 and "storage is (re)initializing" in error.what
