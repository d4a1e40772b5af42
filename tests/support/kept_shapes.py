"""`make schemas`: the shapes of the documents of Kyverno and Gatekeeper, from the CustomResourceDefinitions that the projects publish in their Go modules.

Both are under Apache-2.0. Only names and types of fields, and the words that a field takes, are kept. Of several versions a document may have the fields of each.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from taut import policy
from taut.documents.yaml import load_documents
from taut.localplane.building import find_go
from taut.policy.builtin import Schemas, keep
from taut.policy.shapes import CONSTRAINT, KEPT

FILE = Path(policy.__file__).with_name(KEPT)
_KYVERNO = ("config/crds/kyverno", "config/crds/policies.kyverno.io")
SOURCES = (
    ("github.com/kyverno/kyverno@v1.15.2", _KYVERNO),
    ("github.com/kyverno/kyverno@v1.19.1", _KYVERNO),
    ("github.com/open-policy-agent/gatekeeper/v3@v3.23.1", ("config/crd/bases",)),
    ("github.com/open-policy-agent/frameworks/constraint@v0.0.0-20250826220826-a139325b6501", ("config/crds",)),
)
"""Module and version, and the folders with definitions."""
_KINDS = frozenset(
    {
        "ClusterPolicy",
        "Policy",
        "PolicyException",
        "ConstraintTemplate",
        "Assign",
        "AssignMetadata",
        "AssignImage",
        "ModifySet",
        "ExpansionTemplate",
    }
)
_ENDINGS = ("ValidatingPolicy", "MutatingPolicy")


def _definitions(module: str, folders: tuple[str, ...], cache: Path) -> Iterator[dict[str, Any]]:
    environment = {**os.environ, "GOMODCACHE": str(cache), "GOFLAGS": "-mod=mod -modcacherw"}
    done = subprocess.run(
        [find_go("to read what policies look like"), "mod", "download", "-json", module],
        cwd=cache, env=environment, capture_output=True, check=True,
    )  # fmt: skip
    root = Path(json.loads(done.stdout)["Dir"])
    for folder in folders:
        for file in sorted((root / folder).glob("*.yaml")):
            yield from (d.body for d in load_documents(file.read_bytes(), file=file.name) if isinstance(d.body, dict))


def _merged(one: Schemas, other: Schemas) -> Schemas:
    types = {name: {**one.types.get(name, {}), **other.types.get(name, {})} for name in {*one.types, *other.types}}
    return replace(one, kinds={**one.kinds, **other.kinds}, types=types)


def _wanted(kind: str) -> bool:
    return kind in _KINDS or kind.endswith(_ENDINGS)


def shapes() -> Schemas:
    """All of them."""
    found = Schemas({}, {})
    with tempfile.TemporaryDirectory() as cache:
        for module, folders in SOURCES:
            bodies = list(_definitions(module, folders, Path(cache)))
            found = _merged(found, Schemas({}, {}).with_definitions(bodies))
    match = found.types[found.kinds["match.gatekeeper.sh/match", "DummyCRD"]]["embeddedMatch"]
    spec = {"enforcementAction": ":string", "scopedEnforcementActions": "[]", "match": match, "parameters": ""}
    types = {
        **found.types,
        CONSTRAINT: {
            "apiVersion": ":string",
            "kind": ":string",
            "metadata": "",
            "spec": "spec of a constraint",
            "status": "",
        },
    }
    types["spec of a constraint"] = spec
    kinds = {key: node for key, node in found.kinds.items() if _wanted(key[1])}
    for node in kinds.values():
        types[node] = {**types[node], "status": ""}
    nodes, types = _shared([*kinds.values(), CONSTRAINT], types)
    kinds = dict(zip(kinds, nodes, strict=False))
    used = _used(nodes, types)
    return Schemas(kinds, {name: types[name] for name in sorted(used)}, "; ".join(module for module, _ in SOURCES))


def _shared(nodes: list[str], types: dict[str, Any]) -> tuple[list[str], dict[str, Any]]:
    """The same with one type for all that have the same fields: definitions repeat what they use."""
    while True:
        first: dict[str, str] = {}
        names = {
            name: name if name == CONSTRAINT else first.setdefault(json.dumps(types[name], sort_keys=True), name)
            for name in sorted(types, key=len)
        }

        def named(node: str, names: dict[str, str] = names) -> str:
            name = node.lstrip("[]{}")
            return node[: len(node) - len(name)] + names.get(name, name)

        shorter = {n: {k: named(v) for k, v in fields.items()} for n, fields in types.items() if names[n] == n}
        nodes = [named(node) for node in nodes]
        if len(shorter) == len(types):
            return nodes, shorter
        types = shorter


def _used(nodes: list[str], types: dict[str, Any]) -> set[str]:
    found: set[str] = set()
    while nodes:
        name = nodes.pop().lstrip("[]{}")
        if name in types and name not in found:
            found.add(name)
            nodes += types[name].values()
    return found


def main() -> None:
    """Write the file."""
    FILE.write_bytes(keep(shapes()))
    print(f"{FILE.name}: {FILE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
