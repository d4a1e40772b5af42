"""The provider `vault`: key-value engines of Vault and OpenBao, versions 1 and 2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

import orjson

from taut.model.visible import one_line
from taut.secrets.external.asking import Options, Reader
from taut.secrets.external.documents import Find, RemoteRef
from taut.secrets.external.errors import NothingThereError, ProviderError
from taut.secrets.external.http import Answer, Http, Tls
from taut.secrets.external.selecting import fits
from taut.secrets.external.stores import Store, Vault
from taut.secrets.external.values import go_json, parsed_map, property_of
from taut.secrets.external.vault_signin import client_tls, sign_in

_DEEPEST, _LONGEST_REASON = 32, 200
_SYSTEM = ("created_time", "current_version", "delete_version_after")


class VaultProvider:
    """One server, signed in to once."""

    def __init__(self, store: Store, spec: Vault, reader: Reader, http: Http, options: Options) -> None:
        self._store, self._spec, self._reader, self._http, self._options = store, spec, reader, http, options
        self._server = _server(spec.server)
        self._token = ""
        self._lent = False
        self._tls: Tls | None = None
        self._read: dict[tuple[str, str], Any] = {}

    async def get(self, ref: RemoteRef) -> bytes:
        """A secret as JSON, or a property of it; with metadataPolicy Fetch its metadata."""
        data = await (self._metadata(ref.key) if ref.metadata_policy == "Fetch" else self._data(ref.key, ref.version))
        return property_of(data, ref.property) if ref.property else go_json(data)

    async def get_map(self, ref: RemoteRef) -> dict[str, bytes]:
        """The members of a secret, or of a property that is a JSON object."""
        return parsed_map(await self.get(ref))

    async def find(self, find: Find) -> dict[str, bytes]:
        """The secrets below a path whose names an expression fits, or that carry all these custom metadata."""
        if find.name is None and self._spec.version == "v1":
            raise ProviderError("version 1 of the engine has no tags", "find by name")
        start = f"{find.path.strip('/')}/" if find.path else ""
        found: dict[str, bytes] = {}
        for name in await self._list(start, 0):
            if not await self._fits(name, find):
                continue
            try:
                found[name] = go_json(await self._data(name, ""))
            except NothingThereError:
                continue
            if len(found) > self._options.most_found:
                raise ProviderError(f"more than {self._options.most_found} keys fit", "narrow find.path or find.name")
        return found

    async def _fits(self, name: str, find: Find) -> bool:
        if find.name is not None:
            return fits(find.name.regexp, name)
        metadata = await self._metadata(name)
        return all(metadata.get(k) == v for k, v in (find.tags or {}).items())

    async def close(self) -> None:
        """Have the token revoked that a sign-in gave."""
        token, lent, self._token = self._token, self._lent, ""
        if token and lent:
            try:
                await self._send("POST", "auth/token/revoke-self", token, body={})
            except ProviderError:
                return

    async def _data(self, key: str, version: str) -> Any:
        path = data_path(self._spec, key)
        if (path, version) not in self._read:
            self._read[path, version] = await self._fetched(path, version)
        return self._read[path, version]

    async def _fetched(self, path: str, version: str) -> Any:
        if version and not version.isdecimal():
            raise ProviderError(f"the version {version} is no number", "correct remoteRef.version")
        answer = await self._ask("GET", path, f"?version={version}" if version else "")
        if answer.status == 404:
            raise NothingThereError(f"there is no such key at {path}")
        data = self._checked(answer, path).get("data")
        if self._spec.version == "v2":
            data = data.get("data", ()) if isinstance(data, dict) else ()
            if data is None:
                raise NothingThereError(f"the key at {path} was deleted")
        if not isinstance(data, dict):
            raise ProviderError(
                f"{path} is no secret of a key-value engine of version {self._spec.version[1:]}",
                "correct `path` and `version` in the store",
            )
        return data

    async def _metadata(self, key: str) -> dict[str, str]:
        if self._spec.version == "v1":
            raise ProviderError("version 1 of the engine keeps no metadata", "set metadataPolicy to None")
        path = metadata_path(self._spec, key)
        answer = await self._ask("GET", path)
        if answer.status == 404:
            raise NothingThereError(f"there is no such key at {path}")
        data = self._checked(answer, path).get("data") or {}
        custom = data.get("custom_metadata") or {}
        return {k: str(data[k]) for k in _SYSTEM if data.get(k) is not None} | {k: str(v) for k, v in custom.items()}

    async def _list(self, path: str, depth: int) -> list[str]:
        if depth > _DEEPEST:
            raise ProviderError(f"the folders below {path} are nested deeper than {_DEEPEST}", "set find.path")
        address = metadata_path(self._spec, path)
        answer = await self._ask("LIST", address)
        if answer.status == 404:
            raise NothingThereError(f"there is nothing at {address}")
        found: list[str] = []
        for name in (self._checked(answer, address).get("data") or {}).get("keys") or ():
            full = f"{path}{name}"
            found += await self._list(full, depth + 1) if full.endswith("/") else [full]
            if len(found) > self._options.most_found * 10:
                raise ProviderError(f"there are more than {self._options.most_found * 10} keys", "set find.path")
        return found

    async def _ask(self, method: str, path: str, query: str = "") -> Answer:
        if not self._token:
            await self._sign_in()
        return await self._send(method, path, self._token, query=query)

    async def _sign_in(self) -> None:
        self._tls = await client_tls(self._spec, self._reader)
        way = await sign_in(self._spec, self._reader)
        if way.token:
            self._token = way.token
            return
        answer = await self._send("POST", way.path, "", body=way.body, sign_in=True)
        if not answer.ok:
            raise ProviderError(
                f"signing in at {way.path.rpartition('/login')[0]} was refused ({answer.status}{_reason(answer, way.body)})",
                "check the store's auth, and the role's policies",
            )
        auth = answer.json().get("auth")
        token = auth.get("client_token") if isinstance(auth, dict) else None
        if not isinstance(token, str) or not token:
            raise ProviderError("the sign-in gave no token", "check the store's auth")
        self._token, self._lent = token, True

    async def _send(
        self,
        method: str,
        path: str,
        token: str,
        *,
        query: str = "",
        body: Mapping[str, Any] | None = None,
        sign_in: bool = False,
    ) -> Answer:
        spec = self._spec
        namespace = (spec.auth.namespace or spec.namespace) if sign_in else spec.namespace
        headers = {**spec.headers, "X-Vault-Request": "true"}
        headers |= {"X-Vault-Token": token} if token else {}
        headers |= {"X-Vault-Namespace": namespace} if namespace else {}
        return await self._http.ask(
            method,
            f"{self._server}/v1/{_quoted(path)}{query}",
            may_ask=self._options.may_ask,
            headers=headers,
            body=None if body is None else orjson.dumps(body),
            tls=self._tls,
            retries=self._store.retries,
        )

    def _checked(self, answer: Answer, path: str) -> dict[str, Any]:
        secrets = {"token": self._token}
        if answer.status in {401, 403}:
            raise ProviderError(
                f"the server refuses to read {path} ({answer.status}{_reason(answer, secrets)})",
                "check the store's token or role, and its policy",
            )
        if answer.status == 503:
            raise ProviderError("the server is sealed, or not ready (503)", "unseal it, or wait")
        if not answer.ok:
            raise ProviderError(f"the server answered {answer.status}{_reason(answer, secrets)}", "look into its log")
        found = answer.json()
        return found if isinstance(found, dict) else {}


def _server(url: str) -> str:
    if urlsplit(url).query or urlsplit(url).fragment:
        raise ProviderError("the server's address must hold no query", "correct `server` in the store")
    return url.rstrip("/")


def _quoted(path: str) -> str:
    """A path for the request. Raises ProviderError for one that would make another request of it: `../../sys/seal` is a key that a stranger can write."""
    steps = path.removesuffix("/").split("/")
    if any(s in {"", ".", ".."} or not s.isprintable() for s in steps):
        raise ProviderError(f"{one_line(path)!r} is no path in Vault", "write it without empty steps, `.` and `..`")
    return "/".join(quote(s, safe="") for s in steps)


def _reason(answer: Answer, sent: Mapping[str, Any]) -> str:
    """What the server says, without what was sent."""
    try:
        found = answer.json()
    except ProviderError:
        return ""
    errors = found.get("errors") if isinstance(found, dict) else None
    text = one_line("; ".join(str(e) for e in errors)) if isinstance(errors, list) else ""
    for value in sorted((str(v) for v in sent.values() if v), key=len, reverse=True):
        text = text.replace(value, "•••")
    return f": {text[:_LONGEST_REASON]}" if text else ""


def data_path(spec: Vault, key: str) -> str:
    """Where a key's data are: the mount and `data/` come before it, unless the key says them already."""
    inner = _inner(spec, key)
    if spec.path:
        return "/".join([spec.path.strip("/"), *(["data"] if spec.version == "v2" else []), inner])
    if spec.version == "v2" and "/data/" not in inner:
        mount, _, rest = inner.partition("/")
        return f"{mount}/data/{rest}"
    return inner


def metadata_path(spec: Vault, key: str) -> str:
    """Where a key's metadata are, or the names below a folder."""
    inner = _inner(spec, key)
    if spec.version == "v1":
        return f"{spec.path.strip('/')}/{inner}" if spec.path else inner
    if spec.path:
        return f"{spec.path.strip('/')}/metadata/{inner}"
    if "/data/" in inner:
        return inner.replace("/data/", "/metadata/", 1)
    mount, _, rest = inner.partition("/")
    return f"{mount}/metadata/{rest}"


def _inner(spec: Vault, key: str) -> str:
    mount = f"{spec.path.strip('/')}/" if spec.path else ""
    if mount and key.startswith(mount):
        key = key.removeprefix(mount)
        if spec.version == "v2":
            key = key.removeprefix("data/")
    return key.removeprefix("/") if mount else key
