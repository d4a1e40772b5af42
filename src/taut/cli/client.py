"""A small client of taut's API, on the standard library: it starts fast, and one process makes a handful of requests at most."""

from __future__ import annotations

import getpass
import http.client
import socket
import ssl
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from taut.model.errors import TautError, Where
from taut.server.views import ErrorView

_TIMEOUT = 120.0
_QUIET = 60.0
"""Seconds without a byte after which a stream counts as broken; the server says something at least every 15."""


class NotAnswering(TautError):
    """Nothing listens at the address, or the connection broke."""


class Client:
    """Talks to one taut. Every method raises TautError: what the server said, or that it does not answer."""

    def __init__(self, url: str, token: str, *, timeout: float = _TIMEOUT) -> None:
        self.url = url
        self._token = token
        self._timeout = timeout

    def get[T](self, path: str, kind: type[T], **query: object) -> T:
        """Read something; parameters that are None or empty are left out."""
        given = {name: str(value) for name, value in query.items() if value not in (None, "", False)}
        return self._decode(self._request("GET", f"{path}?{urlencode(given)}" if given else path), kind)

    def post[T](self, path: str, kind: type[T], body: Any = None) -> T:
        """Ask for something."""
        return self._decode(self._request("POST", path, msgspec.json.encode(body or {})), kind)

    def delete[T](self, path: str, kind: type[T]) -> T:
        """Take something away."""
        return self._decode(self._request("DELETE", path), kind)

    @contextmanager
    def watch(self, **query: object) -> Generator[Iterator[tuple[str, bytes]]]:
        """The stream of statuses as (event, data); an event `alive` comes when nothing happens."""
        given = {name: str(value) for name, value in query.items() if value not in (None, "")}
        connection = self._connection(_QUIET)
        with closing(connection), self._broken():
            connection.request("GET", f"/v1/watch?{urlencode(given)}", headers=self._headers())
            response = connection.getresponse()
            if response.status != http.client.OK:
                raise self._said(response.read(), response.status)
            yield self._events(response)

    def _events(self, response: http.client.HTTPResponse) -> Iterator[tuple[str, bytes]]:
        name = ""
        with self._broken():
            for raw in response:
                line = raw.rstrip(b"\n")
                if line.startswith(b"event: "):
                    name = line[7:].decode()
                elif line.startswith(b"data: "):
                    yield name, line[6:]
                elif line.startswith(b":"):
                    yield "alive", b""
        raise NotAnswering(f"taut at {self.url} ended the connection", advice="it may be stopping; try again")

    def _request(self, method: str, path: str, body: bytes | None = None) -> bytes:
        connection = self._connection(self._timeout)
        with closing(connection), self._broken():
            connection.request(method, path, body, self._headers())
            response = connection.getresponse()
            data = response.read()
            if response.status >= http.client.BAD_REQUEST:
                raise self._said(data, response.status)
            return data

    def _connection(self, timeout: float) -> http.client.HTTPConnection:
        parts = urlsplit(self.url)
        if parts.scheme == "https":
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(parts.netloc, timeout=timeout, context=context)
        return http.client.HTTPConnection(parts.netloc, timeout=timeout)

    @contextmanager
    def _broken(self) -> Generator[None]:
        """Turn what the network says into one sentence."""
        try:
            yield
        except TimeoutError as error:
            raise NotAnswering(f"taut at {self.url} does not answer in time", advice="look at its log") from error
        except (OSError, http.client.HTTPException) as error:
            raise NotAnswering(
                f"taut at {self.url} does not answer", advice="start it with `taut run --config taut.yaml`"
            ) from error

    def _headers(self) -> dict[str, str]:
        return {
            "Authorization": f"Bearer {self._token}",
            "Content-Type": "application/json",
            "X-Taut-Actor": quote(actor(), safe="@ "),
        }

    def _decode[T](self, data: bytes, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(data, type=kind)
        except msgspec.DecodeError as error:
            raise TautError(
                f"The answer of taut at {self.url} cannot be read: {error}",
                advice="the two may be of different versions; compare `taut version`",
            ) from error

    def _said(self, data: bytes, status: int) -> TautError:
        try:
            view = msgspec.json.decode(data, type=ErrorView)
        except msgspec.DecodeError:
            return TautError(f"taut at {self.url} answered {status}", advice="look at its log")
        error = TautError(view.what, where=Where(field=view.where), advice=view.advice)
        error.code = view.code
        return error


def app_path(name: str, verb: str = "") -> str:
    """The address of an application as people name it, and of a verb on it."""
    return f"/v1/applications/{quote(name)}" + (f":{verb}" if verb else "")


def actor() -> str:
    """Who asks: the user and the machine, for the history."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = "unknown"
    return f"{user}@{socket.gethostname()}"
