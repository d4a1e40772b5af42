"""The provider `webhook`: any HTTP service, asked with templates."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote_plus

from taut.secrets.external.asking import Options, Reader, TemplateError, Templates, run
from taut.secrets.external.documents import Find, RemoteRef, duration
from taut.secrets.external.errors import NothingThereError, ProviderError
from taut.secrets.external.http import Answer, Http, Tls
from taut.secrets.external.stores import Store, Webhook
from taut.secrets.external.values import as_bytes, go_json, json_path, parsed, parsed_map

_METHOD = re.compile(r"^[A-Z]{1,20}$")
_LONGEST_SECONDS = 60.0


class WebhookProvider:
    """One service."""

    def __init__(
        self, store: Store, spec: Webhook, reader: Reader, http: Http, options: Options, templates: Templates
    ) -> None:
        self._store, self._spec, self._reader = store, spec, reader
        self._http, self._options, self._templates = http, options, templates
        self._secrets: dict[str, dict[str, bytes]] | None = None

    async def get(self, ref: RemoteRef) -> bytes:
        """The value that the answer has at jsonPath; without one the whole answer."""
        answer, path = await self._asked(ref)
        return _single(json_path(parsed(answer.body), path, self._spec.result.json_path)) if path else answer.body

    async def get_map(self, ref: RemoteRef) -> dict[str, bytes]:
        """The members of what the answer has at jsonPath; a text there is read as JSON."""
        answer, path = await self._asked(ref)
        if not path:
            return parsed_map(answer.body)
        value = json_path(parsed(answer.body), path, self._spec.result.json_path)
        return parsed_map(value.encode() if isinstance(value, str) else json.dumps(value).encode())

    async def find(self, find: Find) -> dict[str, bytes]:
        """A webhook cannot be searched."""
        raise ProviderError("the provider webhook cannot find keys", "use data or extract")

    async def close(self) -> None:
        """Nothing is borrowed."""

    async def _asked(self, ref: RemoteRef) -> tuple[Answer, str]:
        spec = self._spec
        url, body, path, headers = await self._filled(ref)
        method = spec.method or "GET"
        if not _METHOD.match(method):
            raise ProviderError(f"{method!r} is no method", "correct `method` in the store")
        answer = await self._http.ask(
            method,
            url,
            may_ask=self._options.may_ask,
            headers=headers,
            body=body or None,
            tls=Tls(await self._reader.authority(spec.ca_bundle, spec.ca_provider)),
            total=min(_seconds(spec.timeout), _LONGEST_SECONDS),
            retries=self._store.retries,
            shown="the webhook" if "{{" in spec.url.partition("://")[2].partition("/")[0] else "",
        )
        if answer.status == 404:
            raise NothingThereError("there is no such key (404)")
        if answer.status in {401, 403}:
            raise ProviderError(
                f"the webhook refuses access ({answer.status})", "check the headers and secrets in the store"
            )
        if not answer.ok:
            raise ProviderError(f"the webhook answered {answer.status}", "look into the service's log")
        return answer, path

    async def _filled(self, ref: RemoteRef) -> tuple[str, bytes, str, Mapping[str, str]]:
        """URL, body, jsonPath and headers. In a URL the reference is escaped: a key must not become another request."""
        spec, names = self._spec, list(self._spec.headers)
        asked = {"key": ref.key, "version": ref.version, "property": ref.property, "namespace": self._reader.namespace}
        secrets = await self._read_secrets()
        plain = {"remoteRef": {k: v.encode() for k, v in asked.items()}, **secrets}
        escaped = {"remoteRef": {k: quote_plus(v).encode() for k, v in asked.items()}, **secrets}
        items = [(spec.url, 0), (spec.result.json_path, 1), (spec.body, 1), *((spec.headers[n], 1) for n in names)]
        try:
            url, path, body, *headers = await run(self._templates, items, [escaped, plain])
            return url.decode(), body, path.decode(), {n: h.decode() for n, h in zip(names, headers, strict=True)}
        except TemplateError as error:
            fields = ("url", "result.jsonPath", "body", *(f"headers.{n}" for n in names))
            which = f"the template in {fields[error.number]}" if error.number >= 0 else "a template"
            raise ProviderError(f"{which} fails: {error}", "correct it in the store") from None
        except UnicodeDecodeError:
            raise ProviderError("a template gives what is no text", "correct the store") from None

    async def _read_secrets(self) -> dict[str, dict[str, bytes]]:
        if self._secrets is None:
            found: dict[str, dict[str, bytes]] = {}
            for secret in self._spec.secrets:
                found[secret.name] = found.get(secret.name, {}) | await self._reader.secret_data(secret.secret_ref)
            self._secrets = found
        return self._secrets


def _seconds(value: str | int) -> float:
    try:
        return duration(value)
    except ValueError:
        raise ProviderError(f"the timeout {value!r} is no duration", "write it like 10s") from None


def _single(value: Any) -> bytes:
    while isinstance(value, list):
        if not value:
            raise ProviderError("the answer has nothing at result.jsonPath", "correct it in the store")
        value = value[0]
    return go_json(value) if isinstance(value, dict) else as_bytes(value)
