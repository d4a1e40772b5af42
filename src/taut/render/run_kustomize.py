"""Kustomize, inside the prison: one process a build, with no plugins, no network, and an environment of two variables."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from taut.documents.yaml import Limits as DocumentLimits
from taut.documents.yaml import load_documents
from taut.model.errors import BadInput, RenderError, Where
from taut.prison.limits import GO_THREADS, Limits
from taut.render.wire import KustomizeTask, OutDocument, Reply

ORIGIN = "config.kubernetes.io/origin"
_ERROR_BYTES = 8192


def build(task: KustomizeTask, root: Path, tools: Mapping[str, str], limits: Limits) -> Reply:
    """Build the kustomization. Raises RenderError with what kustomize said."""
    program = tools.get(task.tool)
    if program is None:
        raise RenderError("there is no kustomize", advice="install it, or name its path in the configuration")
    command = [program, "build", task.folder] if task.tool == "kustomize" else [program, "kustomize", task.folder]
    environment = {
        "HOME": os.fspath(root.parent),
        "GOMAXPROCS": GO_THREADS,
        "GOGC": "400",
        "GOMEMLIMIT": f"{limits.memory_mb * 3 // 4}MiB",
    }
    with subprocess.Popen(
        [*command, "--load-restrictor", "LoadRestrictionsNone"],
        cwd=root,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        output, errors = _collect(process, limits.output_bytes)
    if process.returncode != 0:
        text = _clean(errors, root)
        raise RenderError(_reason(text, process.returncode), advice=_advice(text))
    try:
        bounds = DocumentLimits(bytes=limits.output_bytes)
        found = load_documents(output, limits=bounds)
    except BadInput as error:
        raise RenderError(
            f"kustomize printed what cannot be read: {error.what}", where=Where(file=task.folder)
        ) from None
    return Reply(
        documents=[OutDocument(task.folder, 0, d.body) for d in found], warnings=_warnings(_clean(errors, root))
    )


def _collect(process: subprocess.Popen[bytes], bound: int) -> tuple[bytes, bytes]:
    """Standard output up to `bound`, and the end of standard error. Both are read at once, so that neither can block."""
    import selectors

    parts: dict[str, list[bytes]] = {"out": [], "err": []}
    sizes = {"out": 0, "err": 0}
    with selectors.DefaultSelector() as selector:
        for name, stream in (("out", process.stdout), ("err", process.stderr)):
            if stream is not None:
                selector.register(stream, selectors.EVENT_READ, name)
        while selector.get_map():
            for key, _ in selector.select():
                chunk = os.read(key.fd, 1 << 16)
                if not chunk:
                    selector.unregister(key.fileobj)
                    continue
                sizes[key.data] += len(chunk)
                if key.data == "err" and sizes["err"] > _ERROR_BYTES:
                    continue
                if sizes["out"] > bound:
                    process.kill()
                    raise RenderError(
                        f"the result is larger than {bound // (1024 * 1024)} MiB", advice="split the application"
                    )
                parts[key.data].append(chunk)
    process.wait()
    return b"".join(parts["out"]), b"".join(parts["err"])


def _clean(errors: bytes, root: Path) -> str:
    text = errors.decode(errors="replace").replace(f"{root}/", "").replace(str(root), ".")
    return text.strip()


def _reason(text: str, code: int) -> str:
    if "out of memory" in text or "cannot allocate memory" in text:
        return "kustomize needs more memory than a render may use"
    if code < 0 or code > 128:
        return f"kustomize was killed (signal {-code if code < 0 else code - 128}) {text[:400]}".strip()
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    message = " ".join(line.removeprefix("Error: ").removeprefix("error: ") for line in lines)
    return f"kustomize: {message[:2000]}" if message else f"kustomize ended with code {code}"


def _advice(text: str) -> str:
    if "helm" in text and ("enable-helm" in text or "helmCharts" in text):
        return "render the chart as a source of its own"
    if "plugin" in text and "external" in text:
        return "external plugins are not run"
    return ""


def _warnings(text: str) -> list[str]:
    return [re.sub(r"^#\s*", "", line) for line in text.splitlines() if line.startswith("# Warning")]
