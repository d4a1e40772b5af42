"""Requests to AWS: signed (Signature Version 4), with roles taken on the way."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlencode

import orjson

from taut.secrets.external.asking import AwsKeys, Options, Reader
from taut.secrets.external.errors import NothingThereError, ProviderError
from taut.secrets.external.http import Answer, Http
from taut.secrets.external.stores import Aws, Store

_REGION = re.compile(r"^[a-z]{2,4}(?:-[a-z]+)+-\d{1,2}$")
_TYPE = re.compile(r"^[A-Za-z0-9.]{1,80}$")
_GIVEN = {n: re.compile(rf"<{n}>([^<]+)</{n}>") for n in ("AccessKeyId", "SecretAccessKey", "SessionToken", "Code")}
_NOT_THERE = frozenset({"ResourceNotFoundException", "ParameterNotFound", "ParameterVersionNotFound"})
_TARGETS = {"secretsmanager": "secretsmanager", "ssm": "AmazonSSM"}
_ADVICE = {
    "AccessDeniedException": "check the policy of the key or role",
    "AccessDenied": "check the role's trust policy",
    "UnrecognizedClientException": "check the access key that the store names",
    "InvalidClientTokenId": "check the access key that the store names",
    "InvalidSignatureException": "check the secret access key that the store names, and the clock",
    "SignatureDoesNotMatch": "check the secret access key that the store names, and the clock",
    "ExpiredTokenException": "renew the session token",
    "ThrottlingException": "raise refreshInterval",
}


class AwsRequests:
    """One store's access to AWS."""

    def __init__(self, store: Store, spec: Aws, reader: Reader, http: Http, options: Options) -> None:
        if not _REGION.match(spec.region):
            raise ProviderError(f"{spec.region!r} is no region", "correct `region` in the store")
        self._store, self._spec, self._reader, self._http, self._options = store, spec, reader, http, options
        self._keys: AwsKeys | None = None

    async def call(self, service: str, action: str, body: dict[str, Any]) -> dict[str, Any]:
        """One action of a service, whose answer is JSON. Raises NothingThereError, and ProviderError with AWS's name for the failure."""
        if self._keys is None:
            self._keys = await self._sign_in()
        headers = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": f"{_TARGETS[service]}.{action}"}
        answer = await self._send(service, orjson.dumps(body), headers, self._keys)
        found = answer.json() if answer.ok else {}
        if answer.ok and isinstance(found, dict):
            return found
        raise _failure(answer, _kind(answer), action)

    async def _sign_in(self) -> AwsKeys:
        ref = self._spec.auth.secret_ref
        if ref is not None:
            token = await self._reader.text(ref.session_token) if ref.session_token is not None else ""
            keys = AwsKeys(
                await self._reader.text(ref.access_key_id), await self._reader.text(ref.secret_access_key), token
            )
        elif self._options.aws_keys is not None:
            keys = self._options.aws_keys
        else:
            raise ProviderError(
                "the store says no way to sign in, and taut lends its own to nobody", "set auth.secretRef in the store"
            )
        roles = [*self._spec.additional_roles, *([self._spec.role] if self._spec.role else [])]
        for number, role in enumerate(roles):
            keys = await self._assumed(role, keys, last=number == len(roles) - 1)
        return keys

    async def _assumed(self, role: str, keys: AwsKeys, *, last: bool) -> AwsKeys:
        form = {"Action": "AssumeRole", "Version": "2011-06-15", "RoleArn": role, "RoleSessionName": "taut"}
        if last and self._spec.external_id:
            form["ExternalId"] = self._spec.external_id
        for number, tag in enumerate(self._spec.session_tags if last else (), 1):
            form |= {f"Tags.member.{number}.Key": tag.key, f"Tags.member.{number}.Value": tag.value}
        for number, key in enumerate(self._spec.transitive_tag_keys if last else (), 1):
            form[f"TransitiveTagKeys.member.{number}"] = key
        headers = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
        answer = await self._send("sts", urlencode(form).encode(), headers, keys)
        text = answer.body.decode(errors="replace")
        given = {name: found[1] for name, wanted in _GIVEN.items() if (found := wanted.search(text))}
        if not answer.ok or not {"AccessKeyId", "SecretAccessKey", "SessionToken"} <= given.keys():
            code = given.get("Code", "")
            raise _failure(answer, code if _TYPE.match(code) else "", f"AssumeRole of {role}")
        return AwsKeys(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])

    async def _send(self, service: str, body: bytes, headers: dict[str, str], keys: AwsKeys) -> Answer:
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials

        url = f"{self._endpoint(service)}/"
        request: Any = AWSRequest(method="POST", url=url, data=body, headers=headers)
        SigV4Auth(Credentials(keys.id, keys.secret, keys.token or None), service, self._spec.region).add_auth(request)
        signed = {str(k): str(v) for k, v in request.headers.items()}
        return await self._http.ask(
            "POST", url, may_ask=self._options.may_ask, headers=signed, body=body, retries=self._store.retries
        )

    def _endpoint(self, service: str) -> str:
        if self._options.aws_endpoint:
            return self._options.aws_endpoint.rstrip("/")
        suffix = ".cn" if self._spec.region.startswith("cn-") else ""
        return f"https://{service}.{self._spec.region}.amazonaws.com{suffix}"


def _kind(answer: Answer) -> str:
    try:
        found = answer.json()
    except ProviderError:
        return ""
    kind = str(found.get("__type") or "").rpartition("#")[2] if isinstance(found, dict) else ""
    return kind if _TYPE.match(kind) else ""


def _failure(answer: Answer, kind: str, action: str) -> ProviderError:
    if kind in _NOT_THERE:
        return NothingThereError(f"there is no such key ({kind})")
    said = f"{kind}, {answer.status}" if kind else str(answer.status)
    return ProviderError(f"AWS refuses {action} ({said})", _ADVICE.get(kind, "check the store, and AWS's status"))
