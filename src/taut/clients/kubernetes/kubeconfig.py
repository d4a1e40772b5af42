"""Kubeconfig files: reading, and merging several as kubectl does."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from taut.documents.yaml import load_one
from taut.model.errors import BadInput, Where


@dataclass(frozen=True, slots=True)
class Named:
    """An entry of a kubeconfig and the file it is from: relative paths in it start at that file's folder."""

    name: str
    value: Mapping[str, Any]
    file: Path


@dataclass(frozen=True)
class Kubeconfig:
    """One file, or several merged. `files` is for error messages."""

    files: str
    clusters: Mapping[str, Named]
    users: Mapping[str, Named]
    contexts: Mapping[str, Named]
    current_context: str = ""


def load(file: Path) -> Kubeconfig:
    """Read a kubeconfig. Raises BadInput when it cannot be read or is no kubeconfig."""
    where = Where(file=str(file))
    try:
        data = file.read_bytes()
    except OSError as e:
        raise BadInput(
            f"the kubeconfig cannot be read: {e.strerror}", where=where, advice="check the path and its permissions"
        ) from e
    document = load_one(data, file=str(file)) if data.strip() else {}
    if not isinstance(document, dict):
        raise BadInput("this is no kubeconfig", where=where, advice="it starts with `apiVersion: v1`, `kind: Config`")
    return Kubeconfig(
        files=str(file),
        clusters=_entries(document, "clusters", "cluster", file),
        users=_entries(document, "users", "user", file),
        contexts=_entries(document, "contexts", "context", file),
        current_context=str(document.get("current-context") or ""),
    )


def _entries(document: Mapping[str, Any], plural: str, singular: str, file: Path) -> dict[str, Named]:
    entries: Any = document.get(plural) or []
    found: dict[str, Named] = {}
    listed: list[Any] = entries if isinstance(entries, list) else [entries]
    for n, entry in enumerate(listed):
        name: Any = entry.get("name") if isinstance(entry, dict) else None
        value: Any = (entry.get(singular) or {}) if isinstance(entry, dict) else None
        if not name or not isinstance(value, dict):
            raise BadInput(
                f"an entry of {plural} is not what it should be",
                where=Where(file=str(file), field=f"{plural}[{n}]"),
                advice=f"each is a map with name and {singular}",
            )
        found.setdefault(str(name), Named(str(name), value, file))
    return found


def merge(configs: Iterable[Kubeconfig]) -> Kubeconfig:
    """Merge in order: of two entries with one name, and of two current contexts, the first counts."""
    clusters: dict[str, Named] = {}
    users: dict[str, Named] = {}
    contexts: dict[str, Named] = {}
    current, files = "", list[str]()
    for config in configs:
        files.append(config.files)
        clusters = {**config.clusters, **clusters}
        users = {**config.users, **users}
        contexts = {**config.contexts, **contexts}
        current = current or config.current_context
    return Kubeconfig(", ".join(files), clusters, users, contexts, current)


def path_of(entry: Named, key: str) -> Path | None:
    """The file that `key` names, absolute; None when it names none."""
    text = str(entry.value.get(key) or "")
    return (entry.file.absolute().parent / Path(text).expanduser()) if text else None


def bytes_of(entry: Named, key: str) -> bytes:
    """The content of `<key>-data` (which wins, as in kubectl) or of the file `key` names; empty when there is neither.

    Raises BadInput when it is there and cannot be read.
    """
    where = Where(file=str(entry.file), field=key)
    data = str(entry.value.get(f"{key}-data") or "")
    if data:
        try:
            # Line breaks in it are no fault, anything else is, as in kubectl.
            return base64.b64decode("".join(data.split()), validate=True)
        except (binascii.Error, ValueError) as e:
            raise BadInput(f"{key}-data is no base64", where=where, advice="copy it again") from e
    path = path_of(entry, key)
    if path is None:
        return b""
    try:
        return path.read_bytes()
    except OSError as e:
        raise BadInput(
            f"{path} cannot be read: {e.strerror}",
            where=where,
            advice="relative paths start at the kubeconfig's folder",
        ) from e
