"""The provider `aws`: Secrets Manager and Parameter Store."""

from __future__ import annotations

import base64
import binascii
import re
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from typing import Any

from taut.secrets.external.asking import Options, Reader
from taut.secrets.external.aws_requests import AwsRequests
from taut.secrets.external.documents import Find, RemoteRef
from taut.secrets.external.errors import NothingThereError, ProviderError
from taut.secrets.external.http import Http
from taut.secrets.external.selecting import fits
from taut.secrets.external.stores import Aws, Store
from taut.secrets.external.values import go_json, parsed, parsed_map, property_of

_PAGES = 1000
_VERSION = re.compile(r"^[\w.-]{1,128}$")


class _AwsProvider(ABC):
    """What both services share."""

    def __init__(self, store: Store, spec: Aws, reader: Reader, http: Http, options: Options) -> None:
        self._store, self._prefix, self._most = store, spec.prefix, options.most_found
        self._aws = AwsRequests(store, spec, reader, http, options)
        self._read: dict[tuple[str, str, str], bytes] = {}

    async def get(self, ref: RemoteRef) -> bytes:
        """A value, or a property of one that is JSON; with metadataPolicy Fetch its tags."""
        asked = (ref.metadata_policy, self._prefix + ref.key, ref.version)
        if asked not in self._read:
            fetch = self._tags if ref.metadata_policy == "Fetch" else self._value
            self._read[asked] = await fetch(asked[1], ref.version)
        value = self._read[asked]
        return property_of(parsed(value), ref.property) if ref.property else value

    async def get_map(self, ref: RemoteRef) -> dict[str, bytes]:
        """The members of a value that is a JSON object."""
        return parsed_map(await self.get(ref))

    async def find(self, find: Find) -> dict[str, bytes]:
        """The values below a path whose names an expression fits, or that carry all these tags."""
        found: dict[str, bytes] = {}
        async for name in self._names(find):
            if find.name is not None and not fits(find.name.regexp, name):
                continue
            try:
                found[name] = await self._value(name, "")
            except NothingThereError:
                continue
            if len(found) > self._most:
                raise ProviderError(f"more than {self._most} keys fit", "narrow find.path or find.name")
        return found

    async def close(self) -> None:  # noqa: B027 (not abstract: there is nothing to do)
        """Nothing is borrowed."""

    async def _pages(
        self, service: str, action: str, body: dict[str, Any], member: str
    ) -> AsyncIterator[dict[str, Any]]:
        token = ""
        for _ in range(_PAGES):
            answer = await self._aws.call(service, action, {**body, **({"NextToken": token} if token else {})})
            for item in answer.get(member) or ():
                yield item
            token = str(answer.get("NextToken") or "")
            if not token:
                return
        raise ProviderError(f"{action} does not come to an end", "narrow find.path")

    @abstractmethod
    async def _value(self, name: str, version: str) -> bytes: ...

    @abstractmethod
    async def _tags(self, name: str, version: str) -> bytes: ...

    @abstractmethod
    def _names(self, find: Find) -> AsyncIterator[str]: ...


def _as_json(tags: Any) -> bytes:
    return go_json({str(t["Key"]): str(t["Value"]) for t in tags or ()})


class SecretsManager(_AwsProvider):
    """AWS Secrets Manager."""

    async def _value(self, name: str, version: str) -> bytes:
        body: dict[str, Any] = {"SecretId": name}
        if version.startswith("uuid/"):
            body["VersionId"] = version.removeprefix("uuid/")
        else:
            body["VersionStage"] = version or "AWSCURRENT"
        answer = await self._aws.call("secretsmanager", "GetSecretValue", body)
        if isinstance(answer.get("SecretString"), str):
            return answer["SecretString"].encode()
        try:
            return base64.b64decode(str(answer.get("SecretBinary") or ""), validate=True)
        except (binascii.Error, ValueError):
            raise ProviderError("the answer's SecretBinary is no base64") from None

    async def _tags(self, name: str, version: str) -> bytes:
        answer = await self._aws.call("secretsmanager", "DescribeSecret", {"SecretId": name})
        return _as_json(answer.get("Tags"))

    async def _names(self, find: Find) -> AsyncIterator[str]:
        filters: list[dict[str, Any]] = [{"Key": "name", "Values": [find.path]}] if find.path else []
        wanted = (find.tags or {}) if find.name is None else {}
        filters += [{"Key": "tag-key", "Values": [k]} for k in wanted]
        body = {"Filters": filters} if filters else {}
        async for item in self._pages("secretsmanager", "ListSecrets", body, "SecretList"):
            tags = {str(t["Key"]): str(t["Value"]) for t in item.get("Tags") or ()}
            # The filter for names also finds words inside of them.
            if wanted.items() <= tags.items() and str(item["Name"]).startswith(find.path or ""):
                yield str(item["Name"])


class ParameterStore(_AwsProvider):
    """AWS Systems Manager Parameter Store; SecureStrings come decrypted."""

    async def _value(self, name: str, version: str) -> bytes:
        if version and not _VERSION.match(version):
            raise ProviderError(f"{version!r} is no version or label", "correct remoteRef.version")
        body = {"Name": f"{name}:{version}" if version else name, "WithDecryption": True}
        answer = await self._aws.call("ssm", "GetParameter", body)
        return str((answer.get("Parameter") or {}).get("Value") or "").encode()

    async def _tags(self, name: str, version: str) -> bytes:
        body = {"ResourceType": "Parameter", "ResourceId": name}
        answer = await self._aws.call("ssm", "ListTagsForResource", body)
        return _as_json(answer.get("TagList"))

    async def _names(self, find: Find) -> AsyncIterator[str]:
        if find.name is not None:
            body: dict[str, Any] = {"Path": find.path or "/", "Recursive": True, "WithDecryption": False}
            async for item in self._pages("ssm", "GetParametersByPath", body, "Parameters"):
                yield str(item["Name"])
            return
        filters = [{"Key": f"tag:{k}", "Option": "Equals", "Values": [v]} for k, v in (find.tags or {}).items()]
        if find.path:
            filters.append({"Key": "Path", "Option": "Recursive", "Values": [find.path]})
        async for item in self._pages("ssm", "DescribeParameters", {"ParameterFilters": filters}, "Parameters"):
            yield str(item["Name"])
