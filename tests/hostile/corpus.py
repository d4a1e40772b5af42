"""All attacks."""

from __future__ import annotations

from hostile import charts, documents, kustomizations, repositories, stores
from hostile.attack import Attack

GROUPS: dict[str, list[Attack]] = {
    "Kustomizations": kustomizations.ATTACKS,
    "Charts and Jsonnet": charts.ATTACKS,
    "Links, documents, names and owners": documents.ATTACKS,
    "Repositories, submodules and addresses": repositories.ATTACKS,
    "Stores of ExternalSecrets": stores.ATTACKS,
}
ATTACKS: list[Attack] = [attack for group in GROUPS.values() for attack in group]
