"""`make schemas`: the kinds and fields of the control plane that taut is tested with, for the checks that no cluster is asked for."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from taut import localplane
from taut.cli.target_schemas import ask
from taut.clients.kubernetes.client import KubernetesClient
from taut.clients.kubernetes.config import load_config
from taut.policy import builtin
from taut.policy.builtin.schemas import KEPT

FILE = Path(builtin.__file__).with_name(KEPT)


async def _read(kubeconfig: Path) -> bytes:
    async with KubernetesClient(load_config(kubeconfig, None)) as client:
        return builtin.keep(await ask(client))


def main() -> None:
    """Write the file."""
    with tempfile.TemporaryDirectory() as home, localplane.start("schemas", home=Path(home)) as plane:
        FILE.write_bytes(asyncio.run(_read(plane.kubeconfig)))
    print(f"{FILE.name}: {FILE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
