"""What all receivers have in common: a message, where it goes, and what an answer means."""

from __future__ import annotations

import email.utils
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import msgspec

from taut.clients.guarded import GuardedResolver
from taut.clients.http import proxy_for, tls_context
from taut.clients.sessions import Sessions, TooLargeError, read_bounded
from taut.clients.urls import shown
from taut.model.alerts import AlertReceiver
from taut.notify.messages import Message

_TOTAL, _CONNECT, _MOST_ANSWER, _SHOWN_ANSWER = 30.0, 10.0, 64 * 1024, 200
_AGAIN = frozenset({408, 421, 425, 429})
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 600.0
LONGEST_RETRY_AFTER = 3600.0


class UndeliveredError(Exception):
    """A message did not arrive: why, as a sentence without secrets. With `final` no repeat can help; `after` are seconds that the server asked for."""

    def __init__(self, why: str, *, final: bool = False, after: float = 0.0) -> None:
        super().__init__(why)
        self.why, self.final, self.after = why, final, after


@dataclass(frozen=True)
class Request:
    """An HTTP request to a receiver. `address` is what may be shown of the URL."""

    url: str = field(repr=False)
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    address: str = ""


type Send = Callable[[Message, AlertReceiver], Awaitable[None]]
"""Delivers a message. Raises UndeliveredError."""


def as_json(url: str, body: Any, headers: Mapping[str, str] | None = None, *, address: str = "") -> Request:
    """A request with JSON."""
    return Request(
        url, msgspec.json.encode(body), {"Content-Type": "application/json", **(headers or {})}, address or shown(url)
    )


class Poster(Sessions):
    """Posts to receivers: TLS verified, no redirect followed, bounded in time and size. What a root names is asked through guarded names."""

    async def post(self, requests: Sequence[Request], *, guarded: bool) -> None:
        """Send these requests, one after the other; an answer other than 2xx ends it. Raises UndeliveredError."""
        for request in requests:
            await self._one(request, guarded)

    async def _one(self, request: Request, guarded: bool) -> None:
        # A proxy resolves names itself: what the guard is for would be decided by it, so guarded requests go directly.
        proxy = None if guarded else proxy_for(request.url)
        try:
            async with self._session(guarded).post(
                request.url,
                data=request.body,
                headers={"User-Agent": "taut", **request.headers},
                allow_redirects=False,
                proxy=proxy,
            ) as response:
                status = response.status
                after = retry_after(response.headers.get("Retry-After", ""), time.time())
                body = b"" if status < 300 else await read_bounded(response, _MOST_ANSWER)
        except TooLargeError:
            raise UndeliveredError(f"{request.address}: the answer is too large") from None
        except TimeoutError:
            raise UndeliveredError(f"{request.address} does not answer in time") from None
        except aiohttp.InvalidURL:
            raise UndeliveredError(f"{request.address}: this is no web address", final=True) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or type(error).__name__
            raise UndeliveredError(f"{request.address} cannot be reached: {why}") from None
        if not 200 <= status < 300:
            raise refusal(request.address, status, body, after)

    def _session(self, guarded: bool) -> aiohttp.ClientSession:
        def made() -> aiohttp.ClientSession:
            resolver = GuardedResolver() if guarded else None
            return aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=tls_context(None), resolver=resolver, limit_per_host=4),
                timeout=aiohttp.ClientTimeout(total=_TOTAL, sock_connect=_CONNECT),
                cookie_jar=aiohttp.DummyCookieJar(),
            )

        return self._opened(guarded, made)


def refusal(address: str, status: int, body: bytes, after: float = 0.0) -> UndeliveredError:
    """What an answer other than 2xx means: servers that are busy or broken are asked again, what they refuse is not."""
    said = " ".join(body.decode(errors="replace").split())[:_SHOWN_ANSWER]
    text = f"{address} answers {status}" + (f": {said}" if said else "")
    return UndeliveredError(text, final=status < 500 and status not in _AGAIN, after=after)


def retry_after(text: str, now: float) -> float:
    """The seconds that a Retry-After header asks for (RFC 9110: seconds, or a date); 0 when it cannot be read."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), LONGEST_RETRY_AFTER)
    try:
        at = email.utils.parsedate_to_datetime(text).timestamp() if text else now
    except (TypeError, ValueError, OverflowError):
        return 0.0
    return min(max(at - now, 0.0), LONGEST_RETRY_AFTER)


def pause_after(tries: int, asked: float, spread: float) -> float:
    """Seconds until the next try after so many: longer and longer, at least what the server asked for. `spread` is between 0 and 1."""
    pause = min(FIRST_PAUSE * 2.0 ** min(tries, 20), LONGEST_PAUSE)
    return max(pause * (0.8 + 0.4 * spread), asked)
