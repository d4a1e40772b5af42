"""What an attack is: a small repository, what it is after, what stops it, and what taut says."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from servers.git import Content, Executable, Symlink

CHART = "apiVersion: v2\nname: chart\nversion: 1.0.0\n"


@dataclass(frozen=True)
class Raw:
    """An entry of a tree as no Git would write it: a mode, and a blob's content or the hash of what is elsewhere."""

    mode: int
    content: bytes | str


type Planted = Content | Raw


@dataclass(frozen=True)
class Attack:
    """One attack, run as an application of its own.

    `files` are below the application's folder. In them, in `source` and in `spec` these stand for what the test has set up: `@CANARY@` a
    server that counts connections, `@HOST@` its host and port, `@OUTSIDE@` a folder of the machine with a secret in it.
    Either `says` is what the status must tell, with `place` in the place of the problem; or `gives` is the data of the ConfigMap that comes
    out all the same, because the attack has no effect.
    """

    name: str
    what: str
    stops: str
    files: Mapping[str, Planted] = field(default_factory=dict)
    source: Mapping[str, Any] = field(default_factory=dict)
    spec: Mapping[str, Any] = field(default_factory=dict)
    says: str = ""
    place: str = ""
    stage: str = "render"
    gives: Mapping[str, str] | None = None
    alone: bool = False
    """In a repository of its own, because it is about the repository's top."""
    short: bool = False
    """Whether it is among those that every run of the tests tries."""
    later: bool = False
    """Whether it comes when the healthy applications are in sync: it is about what they have."""
    rival: str = ""
    """Another attack that wants the same object (`rival-<n>` want `rival`) at the same time: one has it, and the other is told so."""
    slow: bool = False
    """Whether it takes until a limit of time or memory stops it."""


@dataclass(frozen=True)
class Ground:
    """What the test has set up, put in the place of the words for it."""

    canary: str
    outside: str

    def fill(self, value: Any) -> Any:
        """`value` with every word replaced, in whatever it is made of."""
        if isinstance(value, str):
            host = self.canary.partition("://")[2]
            return value.replace("@CANARY@", self.canary).replace("@HOST@", host).replace("@OUTSIDE@", self.outside)
        if isinstance(value, bytes):
            return self.fill(value.decode()).encode() if value.isascii() else value
        if isinstance(value, Symlink):
            return Symlink(self.fill(value.target))
        if isinstance(value, Executable):
            return Executable(self.fill(value.data))
        if isinstance(value, Mapping):
            return {k: self.fill(v) for k, v in value.items()}
        return [self.fill(v) for v in value] if isinstance(value, list | tuple) else value


def config_map(name: str, data: str = "{state: good}") -> str:
    """A ConfigMap as text."""
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {data}\n"


def kustomize(
    name: str, what: str, text: str, says: str, *, stops: str = "references stay in the repository", **more: Any
) -> Attack:
    """An attack by a kustomization."""
    files = {"kustomization.yaml": text, "cm.yaml": config_map(name), **more.pop("files", {})}
    return Attack(
        name, what, stops, files, says=says, place=more.pop("place", f"apps/{name}/kustomization.yaml"), **more
    )


def chart(name: str, what: str, template: str, *, stops: str, says: str = "", **more: Any) -> Attack:
    """An attack by a chart's template."""
    text = template if "apiVersion" in template else config_map(name, template)
    files = {"Chart.yaml": CHART, "templates/cm.yaml": text, **more.pop("files", {})}
    return Attack(name, what, stops, files, says=says, place=more.pop("place", f"apps/{name}"), **more)


def jsonnet(name: str, what: str, code: str, says: str, *, stops: str, **more: Any) -> Attack:
    """An attack by Jsonnet."""
    return Attack(name, what, stops, {"main.jsonnet": code}, says=says, place=more.pop("place", f"apps/{name}"), **more)


def packed(*members: tuple[str, bytes, str]) -> bytes:
    """A tar of members as (name, type, link or content), gzipped; the types are those of the tar format."""
    import gzip

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, kind, content in members:
            info = tarfile.TarInfo(name)
            info.type = kind
            if kind == tarfile.REGTYPE:
                info.size = len(content.encode())
                archive.addfile(info, io.BytesIO(content.encode()))
            else:
                info.linkname = content
                archive.addfile(info)
    return gzip.compress(buffer.getvalue(), mtime=0)


type Build = Callable[[], list[Attack]]
