"""Which application a folder of a working copy is."""

from __future__ import annotations

from pathlib import Path

import msgspec

from taut.dialects.working_copy import check_folder
from taut.model.application import Application, ApplicationSpec, Source, Target
from taut.model.refs import AppKey

HERE = "working copy"
"""The address that stands for the working copy itself."""


def working_copy_of(path: Path) -> tuple[Path, str]:
    """The folder that `path` may refer to (its Git working copy, else itself), and `path` in it."""
    full = path.resolve()
    root = next((p for p in (full, *full.parents) if (p / ".git").exists()), full)
    inside = full.relative_to(root).as_posix()
    return root, inside


def application_for(path: Path, namespace: str | None) -> tuple[Application, Path, str]:
    """The application that the folder `path` is, the working copy it is in, and the address of that repository in the application.

    The document of the working copy whose source is this folder, when there is exactly one; else an application with nothing but the folder.
    `namespace` wins over the document's.
    """
    root, inside = working_copy_of(path)
    declared = [a for a in check_folder(root).applications if any(_is(s, inside) for s in a.spec.all_sources)]
    if len(declared) == 1:
        app = declared[0]
        repository = next(s.git or "" for s in app.spec.all_sources if _is(s, inside))
    else:
        repository = HERE
        spec = ApplicationSpec(source=Source(git=HERE, path=inside), target=Target(namespace="default"))
        app = Application(key=AppKey("local", "", path.resolve().name or "local"), spec=spec)
    if namespace:
        target = msgspec.structs.replace(app.spec.target, namespace=namespace)
        app = msgspec.structs.replace(app, spec=msgspec.structs.replace(app.spec, target=target))
    return app, root, repository


def _is(source: Source, inside: str) -> bool:
    return source.git is not None and source.path.strip("/").removeprefix("./") == inside
