"""AdmissionReview v1 (admission.k8s.io): the API server's question as a `Review`, and the answer as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from taut.model.errors import BadInput
from taut.model.manifests import Body
from taut.model.refs import KindRef
from taut.model.visible import clean, one_line
from taut.policy.review import Operation, Review, User

BODY_LIMIT = 8 * 1024 * 1024
"""The largest question: an object may have 3 MiB as JSON, and an update holds two."""
WARNING_LENGTH, WARNINGS_LENGTH = 256, 4096
"""What the API server passes on of one warning, and of all; it cuts the rest without a word."""
MESSAGE_LENGTH = 8192
NOTE_LENGTH = 2048
_API = "admission.k8s.io/v1"
_DENIED = 403


class _Kind(msgspec.Struct):
    kind: str
    group: str = ""
    version: str = ""


class _Resource(msgspec.Struct):
    resource: str
    group: str = ""
    version: str = ""


class _UserInfo(msgspec.Struct):
    username: str = ""
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: dict[str, tuple[str, ...]] | None = None


class _Request(msgspec.Struct, rename="camel"):
    uid: str
    kind: _Kind
    resource: _Resource
    operation: Operation
    sub_resource: str = ""
    name: str = ""
    namespace: str = ""
    user_info: _UserInfo = msgspec.field(default_factory=_UserInfo)
    object: dict[str, Any] | None = None
    old_object: dict[str, Any] | None = None
    dry_run: bool | None = None
    options: dict[str, Any] | None = None


class _Envelope(msgspec.Struct, rename="camel"):
    api_version: str
    kind: str
    request: _Request | None = None


_decode = msgspec.json.Decoder(_Envelope).decode


@dataclass(frozen=True, slots=True)
class Question:
    """One AdmissionReview: what policies judge (`review`), and what of the request is in no object.

    `kind` is that of the request (`Scale` for a change of `deployments/scale`), `resource` its group and plural, and `manager` the field manager
    that the client named, which it need not do.
    """

    review: Review
    kind: KindRef
    resource: tuple[str, str]
    namespace: str
    name: str
    manager: str

    @property
    def uid(self) -> str:
        """What the answer has to repeat."""
        return self.review.uid


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API server is told. `message` is for who wrote the object; `notes` go into the API server's audit log."""

    allowed: bool
    message: str = ""
    warnings: Sequence[str] = ()
    notes: Mapping[str, str] | None = None
    code: int = _DENIED


def read(data: bytes) -> Question:
    """The question in a request's body. Raises BadInput, in a sentence and without the object's values, for anything else."""
    try:
        envelope = _decode(data)
    except (msgspec.ValidationError, UnicodeDecodeError) as error:
        raise BadInput(f"this is no AdmissionReview: {_told(error)}") from None
    except (msgspec.DecodeError, RecursionError):
        raise BadInput("the body is no JSON that can be read") from None
    if (envelope.api_version, envelope.kind) != (_API, "AdmissionReview"):
        raise BadInput(
            f"this is {envelope.kind[:80]!r} of {envelope.api_version[:80]!r}, not an AdmissionReview of {_API!r}"
        )
    if envelope.request is None:
        raise BadInput("the AdmissionReview has no request")
    request = envelope.request
    if not request.uid:
        raise BadInput("the AdmissionReview's request has no uid")
    return _question(request)


def _told(error: Exception) -> str:
    """What does not fit, and where. Of a text that is no operation msgspec quotes the text: only the place is told then."""
    text = str(error)
    return (
        text
        if isinstance(error, msgspec.ValidationError) and "Invalid" not in text
        else f"a value cannot stand{_place(text)}"
    )


def _place(text: str) -> str:
    _, at, place = text.rpartition(" - at ")
    return f" at {place}" if at else " where it is"


def _question(request: _Request) -> Question:
    kind = KindRef(request.kind.group, request.kind.kind)
    resource, who = request.resource, request.user_info
    # The API server calls a Namespace's own name its namespace; it is in none.
    in_namespace = bool(request.namespace) and (resource.group, resource.resource) != ("", "namespaces")
    review = Review(
        object=_body(request.object, request),
        old_object=_body(request.old_object, request),
        operation=request.operation,
        user=User(name=who.username, groups=who.groups, uid=who.uid, extra=who.extra or {}, known=True),
        resource="/".join(filter(None, (resource.group, resource.version, resource.resource))),
        subresource=request.sub_resource,
        namespaced=in_namespace,
        dry_run=bool(request.dry_run),
        uid=request.uid,
    )
    manager = (request.options or {}).get("fieldManager")
    return Question(
        review=review,
        kind=kind,
        resource=(resource.group, resource.resource),
        namespace=request.namespace if in_namespace else "",
        name=request.name or review.subject.name,
        manager=manager if isinstance(manager, str) else "",
    )


def _body(found: Body | None, request: _Request) -> Body | None:
    """An object; its type and place are the request's where it does not say them (as objects of some subresources do not)."""
    if found is None:
        return None
    version = "/".join(filter(None, (request.kind.group, request.kind.version)))
    if not (found.get("apiVersion") and found.get("kind")):
        found = {"apiVersion": version, "kind": request.kind.kind, **found}
    if request.sub_resource and "metadata" not in found:
        found = {**found, "metadata": {"name": request.name, "namespace": request.namespace}}
    return found


def write(uid: str, answer: Answer) -> bytes:
    """An answer as an AdmissionReview. Everything in it is bounded, as the API server bounds it."""
    response: dict[str, Any] = {"uid": uid, "allowed": answer.allowed}
    if not answer.allowed:
        response["status"] = {
            "code": answer.code,
            "reason": "Forbidden" if answer.code == _DENIED else "InternalError",
            "message": clean(cut(answer.message, MESSAGE_LENGTH)),
        }
    warnings = bounded(answer.warnings)
    if warnings:
        response["warnings"] = warnings
    if answer.notes:
        response["auditAnnotations"] = {name: one_line(cut(text, NOTE_LENGTH)) for name, text in answer.notes.items()}
    return msgspec.json.encode({"apiVersion": _API, "kind": "AdmissionReview", "response": response})


def bounded(warnings: Sequence[str]) -> list[str]:
    """Warnings that arrive whole: each on one line and cut to 256 characters, as many as fit in 4,096 together.

    What is left out is counted in the last one.
    """
    texts = [cut(one_line(w), WARNING_LENGTH) for w in warnings if w.strip()]
    if sum(map(len, texts)) <= WARNINGS_LENGTH:
        return texts
    kept: list[str] = []
    room = WARNINGS_LENGTH - WARNING_LENGTH
    for text in texts:
        if len(text) > room:
            break
        room -= len(text)
        kept.append(text)
    return [*kept, f"and {len(texts) - len(kept)} more warnings"]


def cut(text: str, length: int) -> str:
    """The text, or its beginning and an ellipsis."""
    return text if len(text) <= length else text[: length - 1] + "…"
