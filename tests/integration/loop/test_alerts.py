"""People are told: of drift with field and blame, of what lasts and when it is over, also when taut is killed in between."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest
from standardwebhooks import Webhook

from integration.loop.harness import Taut, application, config_map, yaml
from servers.inbox import HttpInbox, http_inbox

pytestmark = pytest.mark.integration

KEY = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
FILES = {"apps/web/x.yaml": yaml(config_map("cm", {"a": "1", "b": "2"}))}


@pytest.fixture
def inbox() -> Iterator[HttpInbox]:
    with http_inbox() as box:
        yield box


def told_by(taut: Taut, inbox: HttpInbox, **rule: Any) -> None:
    """Configure one rule about the test's applications, and one receiver."""
    taut.folder.joinpath("signature").write_text(KEY)
    taut.options["alerts"] = {
        "secrets": [{"name": "signature", "file": "signature"}],
        "receivers": [{"name": "inbox", "spec": {"webhook": {"url": f"{inbox.url}/taut", "secret": "signature"}}}],
        "rules": [{"name": "all", "spec": {"receivers": ["inbox"], "group": "0s", **rule}}],
    }


def alerts(inbox: HttpInbox) -> list[dict[str, Any]]:
    """All that was told, each message's signature checked by another implementation."""
    found: list[dict[str, Any]] = []
    for got in inbox.got:
        data = Webhook(KEY).verify(got.body, got.headers)
        found += data["data"]["alerts"]
    return found


async def test_drift_is_told_with_field_values_and_blame_and_its_end(taut: Taut, inbox: HttpInbox) -> None:
    told_by(taut, inbox, triggers=["drift-found"])
    taut.declare(application("web"), files=FILES)
    async with taut.run():
        await taut.synced("web")
        taut.patch("configmaps", "cm", {"data": {"a": "9"}}, manager="somebody")
        await taut.until(lambda: len(alerts(inbox)) == 2, "found and healed are told")
    found, healed = alerts(inbox)
    assert (found["state"], found["trigger"], found["field"]) == ("firing", "drift-found", "data.a")
    assert (found["desired"], found["found"], found["who"]) == ("1", "9", "somebody")
    assert found["next"] == "taut puts it back."
    assert (healed["state"], healed["key"], healed["outcome"]) == ("resolved", found["key"], "healed")
