"""Nothing imports upwards: the table of docs/dev/architecture.md, held."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import taut

SOURCE = Path(taut.__file__).parent
LAYERS = {
    "model": 0,
    "documents": 0,
    "clients": 1,
    "store": 1,
    "localplane": 1,
    "prison": 1,
    "sources": 2,
    "render": 2,
    "health": 2,
    "planning": 2,
    "policy": 2,
    "secrets": 2,
    "dialects": 2,
    "targets": 3,
    "controller": 4,
    "admission": 5,
    "notify": 5,
    "server": 6,
    "cli": 7,
}
"""Packages of layer 2 do not import each other: what one needs of another comes in as a Protocol."""
TOGETHER = frozenset({("model", "model"), ("documents", "model"), ("prison", "clients")})


def _imports(file: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom):
            yield node.lineno, node.module or ""
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name


def _packages(file: Path) -> Iterator[tuple[int, str]]:
    for line, module in _imports(file):
        parts = module.split(".")
        if parts[0] == "taut" and len(parts) > 1:
            yield line, parts[1]


def test_every_package_has_a_layer() -> None:
    packages = {p.name for p in SOURCE.iterdir() if p.is_dir() and (p / "__init__.py").exists()}
    assert packages == LAYERS.keys()


def test_nothing_imports_upwards() -> None:
    faults = []
    for file in SOURCE.rglob("*.py"):
        own = file.relative_to(SOURCE).parts[0]
        if own not in LAYERS:
            continue
        for line, other in _packages(file):
            below = LAYERS.get(other, -1) < LAYERS[own] or (own, other) in TOGETHER
            if other != own and other in LAYERS and not below:
                faults.append(f"{file.relative_to(SOURCE)}:{line}: {own} imports {other}")
    assert not faults, "\n".join(faults)


def test_modules_have_one_subject() -> None:
    long = [f"{f.relative_to(SOURCE)}" for f in SOURCE.rglob("*.py") if f.read_text().count("\n") > 600]
    vague = [
        f"{f.relative_to(SOURCE)}"
        for f in SOURCE.rglob("*.py")
        if f.stem in {"utils", "helpers", "common", "misc", "manager"}
    ]
    assert not long
    assert not vague
