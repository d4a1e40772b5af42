"""What Jsonnet files read. An import names its file in a literal, so looking through the text finds every one. Pure on trees."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from taut.model.application import JsonnetOptions
from taut.model.errors import RenderError, Where
from taut.model.snapshot import EntryKind
from taut.render.globs import matches
from taut.render.reach import Reach, join, leaves, normal
from taut.render.wire import InFile, InLink

_IMPORT = re.compile(r"""\bimport(str|bin)?\s*(@?)(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)')""")
_ESCAPE = re.compile(r"\\(.)")


@dataclass(frozen=True)
class JsonnetInputs:
    """The closed directory, and what is evaluated in it."""

    files: list[InFile]
    links: list[InLink]
    entry_points: tuple[str, ...]
    libs: tuple[str, ...]


def entry_points(reach: Reach, path: str, options: JsonnetOptions) -> tuple[str, ...]:
    """The files to evaluate: `path` itself, or the folder's `*.jsonnet`; with include patterns also those of inner folders that match.

    Raises RenderError when there is nothing at `path`.
    """
    found = reach.find(path)
    if found is None:
        raise RenderError(
            "there is no such folder",
            where=Where(repository=reach.repository, file=path),
            advice="check the source's path and ref",
        )
    if found.is_file:
        return (found.path,)
    return tuple(sorted(_below(reach, found.path, found.path, options)))


def _below(reach: Reach, root: str, folder: str, options: JsonnetOptions) -> Iterator[str]:
    for entry in reach.listing(folder):
        path = f"{folder}/{entry.name}" if folder else entry.name
        relative = path[len(root) :].lstrip("/")
        if entry.kind is EntryKind.FOLDER and options.include and not entry.name.startswith("."):
            yield from _below(reach, root, path, options)
        elif (
            entry.name.endswith(".jsonnet")
            and (not options.include or matches(relative, options.include))
            and not matches(relative, options.exclude)
        ):
            yield path


def resolve_jsonnet(reach: Reach, path: str, options: JsonnetOptions) -> JsonnetInputs:
    """The closed directory of the files in `path`. An import that is found nowhere is left for Jsonnet to report, with its line.

    Raises RenderError for a link or an import that leaves the repository.
    """
    libs = tuple(normal(lib) for lib in options.libs)
    files = entry_points(reach, path, options)
    pending = list(files)
    for variable in (*options.ext_vars, *options.tlas):
        if variable.code:
            pending += _imports(reach, variable.value, "", libs)
    seen: set[str] = set()
    while pending:
        file = pending.pop()
        if file in seen:
            continue
        seen.add(file)
        data = reach.take(file)
        if data is not None:
            pending += _imports(reach, data.decode(errors="replace"), file.rpartition("/")[0], libs, file)
    return JsonnetInputs(reach.files(), reach.links(), files, libs)


def _imports(reach: Reach, text: str, folder: str, libs: tuple[str, ...], file: str = "") -> list[str]:
    """The Jsonnet files that a text imports; all that it reads is taken. A match inside a comment only takes too much."""
    result: list[str] = []
    for found in _IMPORT.finditer(text):
        how, verbatim = found[1], found[2]
        reference = found[3] if found[3] is not None else found[4]
        if not verbatim:
            reference = _ESCAPE.sub(r"\1", reference)
        if reference.startswith("/"):
            continue
        for base in (folder, *libs):
            path = join(base, reference)
            if leaves(path):
                raise RenderError(
                    f"the import {reference} leaves the repository",
                    where=Where(repository=reach.repository, file=file, line=text.count("\n", 0, found.start()) + 1),
                    advice="import files of the repository only",
                )
            place = reach.find(path)
            if place is not None and place.is_file:
                reach.take(place.path)
                if not how:
                    result.append(place.path)
                break
    return result
