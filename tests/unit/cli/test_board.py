"""The picture of `status --watch`."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest
from rich.cells import cell_len

from support.memory_backend import DB, WEB, fleet, status
from taut.cli.watch import Board
from taut.model.health import HealthStatus
from taut.model.refs import AppKey
from taut.model.status import AppStatus, Problem
from taut.server.views import RootView

NOW = datetime(2026, 1, 2, 4, 4, 5, tzinfo=UTC)


def board(statuses: list[AppStatus]) -> Board:
    made = Board(empty="Nothing here, and why.")
    for one in statuses:
        made.take("status", msgspec.json.encode(one))
    made.take("ready", b"{}")
    return made


def picture(of: Board, width: int = 120, height: int = 30) -> list[str]:
    return [line.plain for line in of.lines(width, height, NOW)]


def test_what_is_wrong_stands_at_the_top() -> None:
    lines = picture(board(list(fleet().values())))
    assert lines[0] == "4 applications   ⬣ 1 Failed   ▲ 1 Degraded   ■ 1 Held   ✓ 1 Healthy"
    assert [line.split()[:2] for line in lines[3:7]] == [
        ["⬣", "api"],
        ["▲", "shop/web"],
        ["■", "ops/web"],
        ["✓", "db"],
    ]
    assert lines[-1] == "Live. Ctrl-C ends it."


@pytest.mark.parametrize(("width", "height"), [(80, 10), (60, 24), (200, 50), (40, 8)])
def test_it_fits_the_terminal(width: int, height: int) -> None:
    many = [status(AppKey("prod", "bench", f"app-{n}")) for n in range(300)]
    many[7] = msgspec.structs.replace(many[7], health=HealthStatus.DEGRADED, message="x" * 300)
    lines = picture(board(many), width, height)
    assert len(lines) <= height
    # The head may be longer on a very narrow terminal; rows never are.
    assert all(cell_len(line) <= width for line in lines[2:-2])
    assert "app-7 " in lines[3] + " "
    assert lines[-3].startswith("… and ")
    assert lines[-3].endswith("all healthy")


def test_hidden_trouble_is_counted() -> None:
    many = [status(AppKey("prod", "", f"app-{n}"), health=HealthStatus.DEGRADED) for n in range(20)]
    assert picture(board(many), height=12)[-3] == "… and 14 more, 14 of them not healthy"


def test_changes_and_goings() -> None:
    made = board([status(DB), status(WEB)])
    assert made.take("status", msgspec.json.encode(status(DB))) is None, "the same again is no change"
    assert made.take("status", msgspec.json.encode(status(DB, drift=1))) == status(DB, drift=1)
    assert made.take("gone", b'{"key": "prod/shop/web"}') is not None
    assert made.take("gone", b'{"key": "prod/shop/web"}') is None
    assert picture(made)[0] == "1 applications   ◆ 1 Drifted".replace("1 applications", "1 application")


def test_a_lost_connection_is_said_since_when() -> None:
    made = board([status(DB)])
    made.lose("taut does not answer", NOW)
    made.lose("taut does still not answer", datetime(2026, 1, 2, 5, 0, 0, tzinfo=UTC))
    local = NOW.astimezone().strftime("%H:%M:%S")
    assert picture(made)[-1] == f"Not live since {local}: taut does still not answer. Trying again."


def test_trouble_of_a_root_stands_above_all() -> None:
    made = board([status(DB)])
    root = RootView(
        name="prod", git="g", problems=(Problem("unknown field `pth`", "app.yaml:3", "did you mean `path`?"),)
    )
    made.take("roots", msgspec.json.encode([root]))
    assert picture(made)[2:5] == ["⬣ root prod: app.yaml:3: unknown field `pth`", "  did you mean `path`?", ""]
    made.root = "other"
    assert picture(made)[2].startswith("NAME")


def test_an_empty_board_says_why() -> None:
    assert picture(Board(empty="why"))[2] == "Waiting for the first statuses."
    assert picture(board([]))[2] == "Nothing here, and why."
