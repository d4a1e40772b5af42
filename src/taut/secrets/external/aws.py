"""AWS Secrets Manager and Parameter Store, through AWS's own library."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from taut.documents.re2 import ExpressionError, matches
from taut.secrets.external.documents import Find, RemoteRef
from taut.secrets.external.errors import NoValueError, SecretError
from taut.secrets.external.values import entries, part

_MOST_FOUND = 1000
_MISSING = frozenset({"ResourceNotFoundException", "ParameterNotFound", "ParameterVersionNotFound"})


@dataclass(frozen=True)
class Account:
    """Credentials: keys, or a web identity's token for a role; neither: those that taut runs with, which the configuration has to allow."""

    region: str
    access_key: str = field(default="", repr=False)
    secret_key: str = field(default="", repr=False)
    session_token: str = field(default="", repr=False)
    role: str = ""
    external_id: str = ""
    endpoint: str = ""


def _told[**P, T](ask: Callable[P, T]) -> Callable[P, T]:
    """AWS's errors as ours: their code, never their text."""

    @functools.wraps(ask)
    def asked(*args: P.args, **kwargs: P.kwargs) -> T:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return ask(*args, **kwargs)
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", "unknown"))
            if code in _MISSING:
                raise NoValueError(f"AWS has no such value ({code})", advice="correct remoteRef.key") from None
            raise SecretError(f"AWS refuses with {code}", advice="check the store's credentials and policy") from None
        except BotoCoreError as error:
            raise SecretError(f"AWS does not answer ({type(error).__name__})", advice="it is tried again") from None

    return asked


class _Aws:
    service = ""

    def __init__(self, account: Account, prefix: str = "") -> None:
        self._account = account
        self._prefix = prefix
        self._made: Any = None

    @property
    def _client(self) -> Any:
        if self._made is None:
            self._made = self._make()
        return self._made

    def _make(self) -> Any:
        import boto3
        from botocore.config import Config

        account = self._account
        options = Config(connect_timeout=5, read_timeout=10, retries={"max_attempts": 2})
        keys: dict[str, Any] = {
            "aws_access_key_id": account.access_key or None,
            "aws_secret_access_key": account.secret_key or None,
            "aws_session_token": account.session_token or None,
        }
        session: Any = boto3.Session(region_name=account.region)
        where = {"endpoint_url": account.endpoint} if account.endpoint else {}
        if account.role:
            sts: Any = session.client("sts", config=options, **keys, **where)
            more = {"ExternalId": account.external_id} if account.external_id else {}
            given = sts.assume_role(RoleArn=account.role, RoleSessionName="taut", **more)["Credentials"]
            keys = {
                "aws_access_key_id": given["AccessKeyId"],
                "aws_secret_access_key": given["SecretAccessKey"],
                "aws_session_token": given["SessionToken"],
            }
        return session.client(self.service, config=options, **keys, **where)


class SecretsManager(_Aws):
    """AWS Secrets Manager."""

    service = "secretsmanager"

    @_told
    def get(self, ref: RemoteRef) -> bytes:
        """One value, or its property; `version` is a stage, or `uuid/` and an id."""
        if ref.metadata_policy == "Fetch":
            import orjson

            found = self._client.describe_secret(SecretId=self._prefix + ref.key).get("Tags") or []
            return part(orjson.dumps({t["Key"]: t["Value"] for t in found}), ref.property, f"the tags of {ref.key}")
        return part(self._value(ref), ref.property, ref.key)

    @_told
    def get_map(self, ref: RemoteRef) -> Mapping[str, bytes]:
        """The entries of a JSON object."""
        return entries(self._value(ref), ref.property, ref.key)

    @_told
    def find(self, find: Find) -> Mapping[str, bytes]:
        """All secrets whose names and tags fit."""
        filters = [{"Key": "name", "Values": [find.path]}] if find.path else []
        filters += [
            {"Key": k, "Values": [v]}
            for key, value in find.tags.items()
            for k, v in (("tag-key", key), ("tag-value", value))
        ]
        found: dict[str, bytes] = {}
        for page in self._client.get_paginator("list_secrets").paginate(Filters=filters):
            for entry in page.get("SecretList") or ():
                tags = {t["Key"]: t["Value"] for t in entry.get("Tags") or ()}
                name = str(entry["Name"])
                if _fits(find, name, tags):
                    found[name] = self._value(RemoteRef(key=name), whole=True)
                    _bounded(found)
        return found

    def _value(self, ref: RemoteRef, *, whole: bool = False) -> bytes:
        version: dict[str, str] = {}
        if ref.version.startswith("uuid/"):
            version = {"VersionId": ref.version.removeprefix("uuid/")}
        elif ref.version:
            version = {"VersionStage": ref.version}
        name = ref.key if whole else self._prefix + ref.key
        answer = self._client.get_secret_value(SecretId=name, **version)
        text = answer.get("SecretString")
        return text.encode() if text is not None else bytes(answer.get("SecretBinary") or b"")


class ParameterStore(_Aws):
    """AWS Systems Manager's Parameter Store."""

    service = "ssm"

    @_told
    def get(self, ref: RemoteRef) -> bytes:
        """One parameter, or its property."""
        return part(self._value(ref), ref.property, ref.key)

    @_told
    def get_map(self, ref: RemoteRef) -> Mapping[str, bytes]:
        """The entries of a JSON object."""
        return entries(self._value(ref), ref.property, ref.key)

    @_told
    def find(self, find: Find) -> Mapping[str, bytes]:
        """All parameters below a path whose names and tags fit."""
        filters: list[dict[str, Any]] = [{"Key": f"tag:{k}", "Values": [v]} for k, v in find.tags.items()]
        if find.path:
            filters.append({"Key": "Path", "Option": "Recursive", "Values": [find.path]})
        found: dict[str, bytes] = {}
        for page in self._client.get_paginator("describe_parameters").paginate(ParameterFilters=filters):
            for entry in page.get("Parameters") or ():
                name = str(entry["Name"])
                if _fits(find, name, find.tags):
                    found[name] = self._value(RemoteRef(key=name), whole=True)
                    _bounded(found)
        return found

    def _value(self, ref: RemoteRef, *, whole: bool = False) -> bytes:
        name = ref.key if whole else self._prefix + ref.key
        name = f"{name}:{ref.version}" if ref.version else name
        answer = self._client.get_parameter(Name=name, WithDecryption=True)
        return str(answer["Parameter"]["Value"]).encode()


def _fits(find: Find, name: str, tags: Mapping[str, str]) -> bool:
    if any(tags.get(k) != v for k, v in find.tags.items()):
        return False
    try:
        return find.name is None or not find.name.regexp or matches(find.name.regexp, name)
    except ExpressionError as error:
        raise SecretError(str(error), advice="correct dataFrom.find.name.regexp") from None


def _bounded(found: Mapping[str, bytes]) -> None:
    if len(found) > _MOST_FOUND:
        raise SecretError(f"more than {_MOST_FOUND} values are found", advice="narrow find.path, or add tags")
