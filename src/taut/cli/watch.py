"""`taut status --watch`: live, coloured, calm. What is wrong stands at the top, what is healthy recedes, and it redraws on change only."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import click
import msgspec
from rich.console import Group
from rich.live import Live
from rich.text import Text

from taut.cli.client import Client
from taut.cli.printing import console, table
from taut.cli.status import COLUMNS, root_lines, status_rows, why_empty
from taut.cli.words import HEALTHY, STATES, clock, short_names, state_of
from taut.model.status import AppStatus
from taut.model.visible import one_line
from taut.server.views import Gone, RootView

_GATHER = 0.1
"""Seconds that changes are gathered before the screen is drawn anew."""
_AGAIN = 2.0
"""Seconds between tries to reach a taut that does not answer."""

_read_status = msgspec.json.Decoder(AppStatus).decode
_read_gone = msgspec.json.Decoder(Gone).decode
_read_roots = msgspec.json.Decoder(list[RootView]).decode


@dataclass
class Board:
    """What is shown: the statuses as far as they are known, and since when they are not live any more."""

    statuses: dict[str, AppStatus] = field(default_factory=dict[str, AppStatus])
    complete: bool = False
    lost_since: datetime | None = None
    lost_why: str = ""
    empty: str = ""
    roots: list[RootView] = field(default_factory=list[RootView])
    root: str | None = None

    def take(self, event: str, data: bytes) -> AppStatus | Gone | None:
        """Take one event of the stream in; what changed comes out, None when nothing did."""
        self.lost_since = None
        if event == "status":
            status = _read_status(data)
            if self.statuses.get(status.key) == status:
                return None
            self.statuses[status.key] = status
            return status
        if event == "gone":
            gone = _read_gone(data)
            return gone if self.statuses.pop(gone.key, None) else None
        if event == "roots":
            self.roots = _read_roots(data)
        if event == "ready":
            self.complete = True
        return None

    def lose(self, why: str, now: datetime) -> None:
        """Note that the connection broke."""
        self.lost_why = why
        self.lost_since = self.lost_since or now

    def lines(self, width: int, height: int, now: datetime) -> list[Text]:
        """The whole picture, at most `height` lines of at most `width` cells."""
        found = list(self.statuses.values())
        trouble = root_lines(self.roots, self.root)
        head = [self._head(), Text(), *trouble[: max(0, height // 2)]]
        foot = [Text(), self._foot()]
        if not found:
            words = self.empty if self.complete else "Waiting for the first statuses."
            return [*head, Text(words, style="dim"), *foot]
        rows = table(COLUMNS, status_rows(found, now), width)
        room = max(2, height - len(head) - len(foot))
        if len(rows) > room:
            hidden = len(rows) - (room - 1)
            loud = sum(state_of(s) is not HEALTHY for s in found)
            more_loud = max(0, loud - (room - 2))
            tail = f"… and {hidden} more" + (f", {more_loud} of them not healthy" if more_loud else ", all healthy")
            rows = [*rows[: room - 1], Text(tail, style="dim")]
        return [*head, *rows, *foot]

    def _head(self) -> Text:
        counts = Counter(state_of(s).word for s in self.statuses.values())
        total = len(self.statuses)
        line = Text(f"{total} application" + ("" if total == 1 else "s"), style="bold")
        for state in STATES:
            if counts[state.word]:
                line.append(f"   {state.mark} {counts[state.word]} {state.word}", style=state.style)
        return line

    def _foot(self) -> Text:
        if self.lost_since is not None:
            local = self.lost_since.astimezone().strftime("%H:%M:%S")
            return Text(f"Not live since {local}: {one_line(self.lost_why)}. Trying again.", style="yellow")
        return Text("Live. Ctrl-C ends it." if self.complete else "Connecting.", style="dim")


def watch(client: Client, root: str | None, selector: str | None, *, output: str, terminal: bool) -> None:
    """Follow the changes until Ctrl-C: as a picture on a terminal, as lines in a pipe, as JSON documents with `-o`."""
    with contextlib.suppress(KeyboardInterrupt):
        if output != "table":
            watch_json(client, root, selector)
        elif terminal:
            watch_live(client, root, selector)
        else:
            watch_lines(client, root, selector)


def watch_live(client: Client, root: str | None, selector: str | None) -> None:
    """Draw on the terminal until Ctrl-C."""
    out = console()
    board = Board(empty=why_empty(root, selector), root=root)
    news: queue.SimpleQueue[tuple[str, bytes] | TautLost] = queue.SimpleQueue()
    threading.Thread(target=_read_on, args=(client, root, selector, news), daemon=True).start()

    def picture() -> Group:
        return Group(*board.lines(out.width, out.height, clock()))

    with contextlib.suppress(KeyboardInterrupt), Live(picture(), console=out, screen=True, auto_refresh=False) as live:
        while True:
            _gather(board, news)
            live.update(picture(), refresh=True)
    # The last picture stays on the ordinary screen: what was seen is not lost with Ctrl-C.
    for line in board.lines(out.width, out.height, clock())[:-2]:
        out.print(line, no_wrap=True, crop=False)


def watch_lines(client: Client, root: str | None, selector: str | None) -> None:
    """For a pipe: one line for each change, without an end."""
    for news, names in _changes(client, root, selector):
        if isinstance(news, Gone):
            click.echo(f"{names.get(news.key, news.key)}  gone")
            continue
        words = [names[news.key], state_of(news).word, news.operation, news.revision, news.message]
        click.echo("  ".join(one_line(word) for word in words if word))


def watch_json(client: Client, root: str | None, selector: str | None) -> None:
    """One JSON document a line for each change: a status, or `{"key": …, "gone": true}`."""
    for news, _ in _changes(client, root, selector):
        value = {"key": news.key, "gone": True} if isinstance(news, Gone) else news
        click.echo(msgspec.json.encode(value).decode())


@dataclass(frozen=True, slots=True)
class TautLost:
    """The connection broke."""

    why: str


def _read_on(
    client: Client, root: str | None, selector: str | None, news: queue.SimpleQueue[tuple[str, bytes] | TautLost]
) -> None:
    """Read the stream into a queue, and connect again when it breaks; in a thread of its own."""
    while True:
        try:
            with client.watch(root=root, selector=selector) as events:
                for event in events:
                    news.put(event)
        except Exception as error:  # noqa: BLE001 (whatever it is, the screen says it and the next try follows)
            news.put(TautLost(getattr(error, "what", str(error))))
        time.sleep(_AGAIN)


def _gather(board: Board, news: queue.SimpleQueue[tuple[str, bytes] | TautLost]) -> None:
    """Wait for something to change, then take in what comes right after it."""
    until = 0.0
    while True:
        try:
            item = news.get(timeout=max(0.0, until - time.monotonic()) if until else None)
        except queue.Empty:
            return
        if isinstance(item, TautLost):
            board.lose(item.why, clock())
        else:
            if item[0] == "status" and board.lost_since is not None:
                # A new stream tells everything anew; what went meanwhile must not stay on the board.
                board.statuses.clear()
            board.take(*item)
        until = until or time.monotonic() + _GATHER


def _changes(
    client: Client, root: str | None, selector: str | None
) -> Iterator[tuple[AppStatus | Gone, Mapping[str, str]]]:
    """Every change with the names to show; the first ones are all that exist. Raises NotAnswering when taut goes."""
    board = Board()
    with client.watch(root=root, selector=selector) as events:
        for event, data in events:
            changed = board.take(event, data)
            if changed is not None:
                yield changed, short_names(board.statuses)
