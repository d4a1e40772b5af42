"""What a render worker is asked, and what it answers: one message each, in msgpack."""

from __future__ import annotations

from typing import Any

import msgspec

from taut.prison.limits import Limits


class InFile(msgspec.Struct, frozen=True, array_like=True):
    """A file of the closed directory."""

    path: str
    data: bytes
    executable: bool = False


class InLink(msgspec.Struct, frozen=True, array_like=True):
    """A symbolic link of the closed directory, known to stay inside."""

    path: str
    target: str


class KustomizeTask(msgspec.Struct, frozen=True, tag="kustomize"):
    """Build the kustomization in `folder` with the tool of that name (`kustomize` or `kubectl`)."""

    folder: str
    tool: str


class ValuesLayer(msgspec.Struct, frozen=True):
    """One layer of Helm values: `text` is YAML to merge; with `path` it is set there, as `--set` does (`text`: `--set-string`, `file`: as it is)."""

    text: bytes
    origin: str
    path: str = ""
    how: str = "merge"


class HelmTask(msgspec.Struct, frozen=True, tag="helm"):
    """Render the chart in `folder`. `layers` are applied in order."""

    folder: str
    release: str
    namespace: str
    kube_version: str
    api_versions: tuple[str, ...]
    layers: tuple[ValuesLayer, ...]
    crds: bool = True
    schema: bool = True


class JsonnetTask(msgspec.Struct, frozen=True, tag="jsonnet"):
    """Evaluate the files; variables are (name, value, is code)."""

    files: tuple[str, ...]
    libs: tuple[str, ...]
    ext_vars: tuple[tuple[str, str, bool], ...] = ()
    tlas: tuple[tuple[str, str, bool], ...] = ()


class TemplatesTask(msgspec.Struct, frozen=True, tag="templates"):
    """Run Go templates: `items` are their texts, and which of `data` each sees as `.`."""

    items: tuple[tuple[str, int], ...]
    data: tuple[dict[str, bytes | dict[str, bytes]], ...]


class Job(msgspec.Struct, frozen=True):
    """A closed directory and what to do in it."""

    files: list[InFile]
    links: list[InLink]
    task: KustomizeTask | HelmTask | JsonnetTask | TemplatesTask
    limits: Limits
    secret: bool = False
    """Plain texts of encrypted files are among the files: they may lie in memory only."""


class OutDocument(msgspec.Struct, frozen=True, array_like=True):
    """One document that came out: the file it is from, its line there (0: unknown) and its value."""

    file: str
    line: int
    body: Any


class Reply(msgspec.Struct, frozen=True):
    """What came out, or why nothing did. `random` holds (number of the document, path) of what a second run gave differently."""

    documents: list[OutDocument] = []
    error: str = ""
    bad_input: bool = False
    file: str = ""
    line: int = 0
    field: str = ""
    advice: str = ""
    random: list[tuple[int, str]] = []
    warnings: list[str] = []
