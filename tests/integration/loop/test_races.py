"""What people and Git do in the very moment in which an operation ends, and steps that no request can be made of."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from integration.loop.harness import CLUSTER, Taut, application, config_map, yaml
from servers.git import Content
from taut.controller.state import AppState
from taut.model.errors import BadInput
from taut.model.operation import OperationKind

pytestmark = pytest.mark.integration


class Gate:
    """Holds the end of operations: the store has it already, and the controller has not heard so yet."""

    def __init__(self, taut: Taut, of: Callable[[Any], bool]) -> None:
        self.reached, self.opened = asyncio.Event(), asyncio.Event()
        finish = taut.controller.store.finish

        async def slow(operation: Any, *args: Any, **more: Any) -> None:
            await finish(operation, *args, **more)
            if of(operation):
                self.reached.set()
                await self.opened.wait()

        taut.controller.store.finish = slow  # pyright: ignore[reportAttributeAccessIssue] (the same, only slower)

    async def wait(self) -> None:
        async with asyncio.timeout(30):
            await self.reached.wait()


async def test_a_suspension_counts_that_comes_while_an_operation_ends(taut: Taut) -> None:
    taut.declare(application("web"), files={"apps/web/cm.yaml": yaml(config_map("one"))})
    async with taut.run():
        gate = Gate(taut, lambda operation: True)
        await gate.wait()
        await taut.controller.suspend(taut.key("web"), by="ada", reason="release freeze")
        gate.opened.set()
        await taut.until(lambda: taut.state("web").run is None, "ended")  # pyright: ignore[reportOptionalMemberAccess]
        await taut.push({"apps/web/cm.yaml": yaml(config_map("one", {"a": "2"}))})
        await taut.says("web", "suspended")
        live = taut.get("configmaps", "one")
        assert live is not None
        assert live["data"] == {"a": "1"}
    async with taut.run():
        await taut.says("web", "suspended")
        state = taut.state("web")
        assert state is not None
        assert (state.record.suspended_by, state.record.revision != "") == ("ada: release freeze", True)


async def test_an_application_comes_back_that_is_declared_again_while_its_removal_ends(taut: Taut) -> None:
    files: dict[str, Content] = {"apps/web/cm.yaml": yaml(config_map("one")), "apps/b/cm.yaml": yaml(config_map("b"))}
    taut.declare(application("web"), application("b"), files=files)
    async with taut.run():
        await taut.synced("web", "b")
        gate = Gate(taut, lambda operation: operation.kind is OperationKind.DELETE)
        taut.declare(application("b"))
        await taut.poke()
        await gate.wait()
        taut.declare(application("web"), application("b"))
        await taut.poke()
        await taut.until(lambda: taut.state("web") is not None and not taut.state("web").removed, "declared")  # pyright: ignore[reportOptionalMemberAccess]
        gate.opened.set()
        await taut.until(lambda: taut.get("configmaps", "one") is not None, "made again")
        await taut.synced("web")


async def test_a_step_that_no_request_can_be_made_of_fails_the_operation(taut: Taut) -> None:
    """A service account without a namespace, for a cluster-scoped object: waiting does not help, and it is said."""
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": taut.namespace}}
    target = {"cluster": CLUSTER, "namespace": "", "serviceAccount": "deployer"}
    taut.declare(application("web", target=target, sync={"retry": {"limit": 0}}), files={"apps/web/a.yaml": yaml(role)})
    async with taut.run():
        status = await taut.says("web", "namespace")
        assert "deployer" in status.message
        await taut.until(lambda: taut.state("web").run is None, "no operation hangs")  # pyright: ignore[reportOptionalMemberAccess]


async def test_nobody_syncs_what_is_report_only(taut: Taut) -> None:
    taut.declare(application("web", sync={"mode": "report"}), files={"apps/web/cm.yaml": yaml(config_map("one"))})
    async with taut.run():
        await taut.says("web", "report-only")
        with pytest.raises(BadInput, match="report-only"):
            await taut.controller.ask_sync(taut.key("web"), by="ada")
        assert taut.get("configmaps", "one") is None


async def test_an_object_is_handed_over_that_is_claimed_while_its_deletion_is_planned(taut: Taut) -> None:
    """The application's new name is looked at between the plan of the old one and the decision about it."""
    taut.declare(application("old", "apps/web"), files={"apps/web/cm.yaml": yaml(config_map("one"))})
    async with taut.run():
        await taut.synced("old")
        before = taut.get("configmaps", "one")
        plan, find, planned_once = taut.controller.planner.plan, taut.controller.wanting.find, asyncio.Event()

        async def slow_plan(state: AppState, **more: Any) -> Any:
            planned = await plan(state, **more)
            if state.removed:
                planned_once.set()
                await taut.until(
                    lambda: (s := taut.state("new")) is not None and not s.stale, "the other was looked at"
                )
            return planned

        async def slow_find(state: AppState) -> Any:
            await planned_once.wait()
            return await find(state)

        taut.controller.planner.plan = slow_plan  # pyright: ignore[reportAttributeAccessIssue] (the same, only slower)
        taut.controller.wanting.find = slow_find  # pyright: ignore[reportAttributeAccessIssue]
        taut.declare(application("new", "apps/web"))
        await taut.poke()
        await taut.until(lambda: taut.state("old") is None, "renamed")
        await taut.synced("new")
        after = taut.get("configmaps", "one")
        assert before is not None
        assert after is not None
        assert after["metadata"]["uid"] == before["metadata"]["uid"]
