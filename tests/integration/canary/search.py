"""Looking for a marker in whatever was written or sent, in every form that a value takes on its way."""

from __future__ import annotations

import base64
import json
import secrets
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path


def marker(name: str) -> str:
    """A value that is found nowhere by chance; it begins with where it was put."""
    return f"cnry{name}{secrets.token_hex(10)}"


def forms(value: str) -> Iterator[tuple[str, bytes]]:
    """The value plain, in base64 at each of the three alignments, and in hexadecimal digits."""
    data = value.encode()
    yield "plain", data
    yield "backwards", data[::-1]
    yield "hex", data.hex().encode()
    yield "HEX", data.hex().upper().encode()
    for shift in range(3):
        text = base64.b64encode(b"\0" * shift + data)
        # What of the ends depends on the neighbours is left out.
        yield f"base64 + {shift}", text[4 if shift else 0 : -4]


@dataclass
class Searched:
    """What was looked through, by place, and what was found there."""

    markers: Mapping[str, str]
    places: dict[str, int] = field(default_factory=dict[str, int])
    found: list[str] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        self._forms = [(name, how, form) for name, value in self.markers.items() for how, form in forms(value)]

    def text(self, place: str, data: bytes | str, *, but: Iterable[str] = ()) -> None:
        """Look through a text. `but` are the names of markers that belong there."""
        raw = data.encode() if isinstance(data, str) else data
        self.places[place] = self.places.get(place, 0) + len(raw)
        allowed = set(but)
        for name, how, form in self._forms:
            if name not in allowed and form in raw:
                at = raw.index(form)
                around = raw[max(0, at - 120) : at].decode(errors="replace")
                self.found.append(f"{place}: the marker {name} ({how}) behind: …{around}")

    def folder(self, folder: Path, *, but: Mapping[str, Iterable[str]], skip: Iterable[str] = ()) -> None:
        """Look through all files; `but` are markers that belong below a part of the path, `skip` parts that are not looked at."""
        for file in sorted(folder.rglob("*")):
            name = str(file.relative_to(folder))
            if not file.is_file() or any(part in name for part in skip):
                continue
            allowed = [m for part, names in but.items() if part in name for m in names]
            self.text(f"{folder.name}/{name}", file.read_bytes(), but=allowed)
            if file.suffix == ".db":
                self._rows(file)

    def _rows(self, file: Path) -> None:
        """A value may lie across pages of the file: each cell is looked at as well."""
        with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as store:
            tables = [row[0] for row in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            for table in tables:
                for row in store.execute(f'SELECT * FROM "{table}"'):
                    for cell in row:
                        if isinstance(cell, str | bytes):
                            self.text(f"{file.name}: {table}", cell)


def of_objects(searched: Searched, place: str, items: Iterable[dict[str, object]], holders: Mapping[str, str]) -> None:
    """Look through objects of the cluster. `holders` are the Secrets that are meant to hold a marker: name → marker's name."""
    for item in items:
        metadata = item.get("metadata")
        name = str(metadata.get("name")) if isinstance(metadata, dict) else ""
        searched.text(f"{place} {name}", json.dumps(item), but=[holders[name]] if name in holders else [])
