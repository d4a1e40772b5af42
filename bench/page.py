"""What the page costs: first byte, size, and a search as it is typed, for a fleet of any size; and what listeners cost when much changes.

taut's own server answers over a socket, from statuses in memory: the clusters behind them play no part here. Client and server share one process,
so the figures are a little too large.
"""

from __future__ import annotations

import gzip
import http.client
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import msgspec
import orjson

# The fleet in every state is the tests' own.
sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from support import shop
from support.memory_backend import MemoryBackend, Running, running

TYPED = (
    "checkout",
    "health:degraded",
    "cluster:prod-eu-3 billing",
    "drift:>1h",
    "-is:suspended label:team=payments",
    "state:held",
)
FIRST_BYTE, SEARCH, SIZE = 0.100, 0.050, 150_000
_RUNS = 25
_LISTENERS, _RATE, _SECONDS = 50, 100, 5.0


@dataclass(frozen=True)
class Timed:
    """Seconds on the clock: the median, and what one in twenty exceeded."""

    median: float
    p95: float
    cpu: float
    """CPU of client and server for one request, the median: it does not depend on what else the machine does."""


@dataclass(frozen=True)
class Result:
    """All of it. Sizes are bytes on the wire; `frames` are events that a listener got each second while changes came in at `rate` a second."""

    applications: int
    first_byte: Timed
    compressed: int
    raw: int
    cold: float
    search: Timed
    slowest_query: str
    deep_page: Timed
    tiles_compressed: int
    application: Timed
    listeners: int
    rate: int
    frames: float
    left_behind: int
    cpu: float


class Browser:
    """One signed-in client with one connection."""

    def __init__(self, up: Running) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(up.url).netloc, timeout=60)
        self._headers = {"Accept-Encoding": "gzip"}
        page = self.get("/sign-in").text
        csrf = page.partition('name="csrf" value="')[2].partition('"')[0]
        form = urlencode({"token": up.token, "csrf": csrf})
        self._connection.request("POST", "/sign-in", form, self._headers)
        answer = self._connection.getresponse()
        answer.read()
        self._headers["Cookie"] = (answer.headers["Set-Cookie"] or "").partition(";")[0]

    def get(self, path: str, **more: str) -> Answer:
        """One request; when its head came, when all of it."""
        began, spent = time.perf_counter(), time.process_time()
        self._connection.request("GET", path, headers={**self._headers, **more})
        answer = self._connection.getresponse()
        first = time.perf_counter() - began
        data = answer.read()
        assert answer.status == 200, (path, answer.status)
        packed = answer.headers.get("Content-Encoding") == "gzip"
        return Answer(
            first,
            time.perf_counter() - began,
            time.process_time() - spent,
            data,
            gzip.decompress(data) if packed else data,
        )

    def listen(self, path: str) -> http.client.HTTPResponse:
        """An open stream of events."""
        self._connection.request("GET", path, headers=self._headers)
        return self._connection.getresponse()


@dataclass(frozen=True)
class Answer:
    """What came, and when."""

    first: float
    whole: float
    cpu: float
    data: bytes
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


def measure(applications: int, say: Callable[[str], None]) -> Result:
    """Serve a fleet of that size, and measure."""
    with _served(applications) as up:
        browser = Browser(up)
        say(f"{applications} applications: the first page")
        cold = browser.get("/")
        first = [browser.get("/") for _ in range(_RUNS)]
        say("searches, letter by letter")
        searches = {q: [_search(browser, q[:n]) for n in range(1, len(q) + 1)] for q in TYPED}
        slowest = max(searches, key=lambda q: max(searches[q]))
        last = browser.get("/?group=none&sort=name")
        next_page = last.text.partition('rel="next" href="')[2].partition('"')[0].replace("&amp;", "&")
        deep = [browser.get(next_page or "/") for _ in range(_RUNS)]
        tiles = browser.get("/?as=tiles")
        key = next(iter(up.backend.apps))
        app = [browser.get(f"/app/{key}") for _ in range(_RUNS)]
        say(f"{_LISTENERS} listeners while {_RATE} applications change a second")
        frames, behind, cpu = _listening(up)
    return Result(
        applications=applications,
        first_byte=_timed([(a.first, a.cpu) for a in first]),
        compressed=len(first[0].data),
        raw=len(first[0].body),
        cold=cold.first,
        search=_timed([s for found in searches.values() for s in found]),
        slowest_query=slowest,
        deep_page=_timed([(a.first, a.cpu) for a in deep]),
        tiles_compressed=len(tiles.data),
        application=_timed([(a.first, a.cpu) for a in app]),
        listeners=_LISTENERS,
        rate=_RATE,
        frames=frames,
        left_behind=behind,
        cpu=cpu,
    )


@contextmanager
def _served(applications: int) -> Iterator[Running]:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_RUNTIME_DIR"] = folder
        with running(Path(folder), MemoryBackend(apps=shop.many(applications, time.time()))) as up:
            yield up


def _search(browser: Browser, text: str) -> tuple[float, float]:
    answer = browser.get(f"/?q={quote(text)}", **{"HX-Request": "true"})
    return answer.whole, answer.cpu


def _timed(found: Sequence[tuple[float, float]]) -> Timed:
    ordered = sorted(clock for clock, _ in found)
    late = ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))]
    return Timed(statistics.median(ordered), late, statistics.median(cpu for _, cpu in found))


def _listening(up: Running) -> tuple[float, int, float]:
    """Events a second for one listener, how many listeners never heard of the last change, and CPU seconds of this process for each second."""
    last = "the last change of all"
    heard: list[tuple[int, bool]] = []
    lock = threading.Lock()

    def listen() -> None:
        stream = Browser(up).listen("/live")
        events, seen = 0, False
        while not seen and (line := stream.readline()):
            events += line.startswith(b"event: fleet")
            seen = last.encode() in line.lower()
        with lock:
            heard.append((events, seen))

    threads = [threading.Thread(target=listen, daemon=True) for _ in range(_LISTENERS)]
    for thread in threads:
        thread.start()
    while len(up.backend.listeners) == 0:
        time.sleep(0.05)
    time.sleep(1.0)
    keys = list(up.backend.apps)
    cpu, began = time.process_time(), time.monotonic()
    for number in range(int(_RATE * _SECONDS)):
        status = up.backend.apps[keys[number * 7 % len(keys)]]
        up.put(msgspec.structs.replace(status, message=f"change {number}"))
        time.sleep(max(0.0, began + number / _RATE - time.monotonic()))
    seconds = time.monotonic() - began
    spent = (time.process_time() - cpu) / seconds
    # The one that stands first on everybody's page.
    urgent = min(up.backend.apps.values(), key=lambda s: (not s.problems, s.name, s.key))
    up.put(msgspec.structs.replace(urgent, problems=(msgspec.structs.replace(urgent.problems[0], what=last),)))
    deadline = time.monotonic() + 20
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    events = statistics.median([count for count, _ in heard]) if heard else 0.0
    return events / seconds, _LISTENERS - sum(seen for _, seen in heard), spent


def table(result: Result) -> list[str]:
    """For people, with the aims beside."""
    rows = (
        ("first byte of the fleet", _ms(result.first_byte), f"{FIRST_BYTE * 1000:.0f} ms"),
        ("first byte right after the start", f"{result.cold * 1000:.0f} ms", ""),
        (
            "its first 200 rows, compressed",
            f"{result.compressed / 1000:.0f} kB ({result.raw / 1000:.0f} kB raw)",
            f"{SIZE / 1000:.0f} kB",
        ),
        ("a search as it is typed, whole answer", _ms(result.search), f"{SEARCH * 1000:.0f} ms"),
        ("a further page", _ms(result.deep_page), f"{FIRST_BYTE * 1000:.0f} ms"),
        ("all of it as tiles, compressed", f"{result.tiles_compressed / 1000:.0f} kB", f"{SIZE / 1000:.0f} kB"),
        ("an application's page", _ms(result.application), ""),
        (
            f"{result.listeners} listeners, {result.rate} changes a second",
            f"{result.frames:.1f} frames a second each, {result.left_behind} left behind, {result.cpu * 100:.0f} % of a core",
            "4 frames, 0 left behind",
        ),
    )
    head = [f"| {result.applications:,} applications | measured | aim |", "| --- | --- | --- |"]
    return [*head, *(f"| {what} | {found} | {aim} |" for what, found, aim in rows)]


def met(result: Result) -> bool:
    """Whether the aims are reached."""
    quick = (
        result.first_byte.median <= FIRST_BYTE
        and result.search.median <= SEARCH
        and result.deep_page.median <= FIRST_BYTE
    )
    return (
        quick
        and max(result.compressed, result.tiles_compressed) <= SIZE
        and result.frames <= 4.2
        and not result.left_behind
    )


def as_json(result: Result) -> bytes:
    """For programs."""
    found: dict[str, Any] = asdict(result)
    return orjson.dumps(found, option=orjson.OPT_INDENT_2)


def _ms(timed: Timed) -> str:
    return f"{timed.median * 1000:.0f} ms (95 %: {timed.p95 * 1000:.0f} ms; CPU: {timed.cpu * 1000:.0f} ms)"
