"""Helm, inside the prison: a template run through the Helm library. There is no cluster, no network and no environment to look into.

kubeVersion and apiVersions are only in the options of the library's own `helm_render`, which the pinned version of the binding wraps
without them; so it is called directly.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import helm_python as helm
from helm_python import _native as native  # pyright: ignore[reportPrivateUsage] (see above)
from helm_python.errors import HelmError

from taut.documents.yaml import Limits as DocumentLimits
from taut.documents.yaml import load_documents
from taut.model.errors import BadInput, RenderError, Where
from taut.prison.limits import Limits
from taut.render.differences import differing_paths
from taut.render.values import merge, merge_indexed
from taut.render.wire import HelmTask, OutDocument, Reply, ValuesLayer

_SEPARATOR = re.compile(r"(?:^|\s*\n)---[ \t]*")
_RANDOM = re.compile(
    rb"\b(rand(Alpha|Numeric|AlphaNum|Ascii|Bytes|Int)|gen(CA|SelfSignedCert|SignedCert|PrivateKey)\w*|uuidv4|shuffle|bcrypt|htpasswd|now|ago|encryptAES)\b"
)
_ARCHIVES = (".tgz", ".tar.gz")


def render(task: HelmTask, root: Path, limits: Limits) -> Reply:
    """Render the chart. Raises RenderError with what Helm said, and the template where it said one."""
    folder = root / task.folder if task.folder else root
    if not task.schema:
        _drop_schemas(folder)
    try:
        helm.validate_release_name(task.release)
        values = merge_layers(task.layers)
        first = _documents(folder, task, values, limits)
        random = _compare(first, _documents(folder, task, values, limits)) if _may_be_random(folder, task) else []
    except HelmError as error:
        raise _explain(error, task) from None
    return Reply(documents=first, random=random)


def merge_layers(layers: tuple[ValuesLayer, ...]) -> dict[str, Any]:
    """The values that the layers give together. Raises BadInput for one that is no mapping, HelmError for one that is malformed."""
    values: dict[str, Any] = {}
    for layer in layers:
        text = layer.text.decode(errors="replace")
        if layer.path:
            values = _set(values, layer, text)
            continue
        found = load_documents(layer.text, file=layer.origin)
        if len(found) > 1:
            raise BadInput(
                "values are one document, here are several", where=Where(file=layer.origin, line=found[1].line)
            )
        body = found[0].body if found else {}
        if not isinstance(body, dict):
            raise BadInput("values must be a mapping", where=Where(file=layer.origin, line=found[0].line))
        values = merge(values, body)
    return values


def _set(values: dict[str, Any], layer: ValuesLayer, text: str) -> dict[str, Any]:
    """One `--set`, `--set-string` or `--set-file`. A path with an index changes that item of a list, any other replaces."""
    try:
        if layer.how == "file":
            parsed = _put(helm.parse_set_string_values(f"{layer.path}=@"), text)
        elif layer.how == "text":
            parsed = helm.parse_set_string_values(f"{layer.path}={_escape(text)}")
        else:
            parsed = helm.parse_set_string(f"{layer.path}={_escape(text)}")
    except HelmError as error:
        raise BadInput(f"{layer.origin}: {layer.path} cannot be set: {error.detail}") from None
    return merge_indexed(values, parsed) if "[" in layer.path else merge(values, parsed)


def _escape(text: str) -> str:
    """Commas separate in `--set`; as Argo CD does, they are taken literally unless the value is a list in braces."""
    return text if text.startswith("{") else re.sub(r"(?<!\\),", r"\\,", text)


def _put(value: Any, text: str) -> Any:
    if isinstance(value, dict):
        return {key: _put(item, text) for key, item in value.items()}
    if isinstance(value, list):
        return [_put(item, text) if item is not None else None for item in value]
    return text


def _documents(folder: Path, task: HelmTask, values: dict[str, Any], limits: Limits) -> list[OutDocument]:
    """One run. The chart is loaded anew each time: a run removes the dependencies that are switched off from what was loaded."""
    options = {
        "name": task.release,
        "namespace": task.namespace or "default",
        "kube_version": task.kube_version,
        "api_versions": list(task.api_versions),
        "is_install": True,
        "revision": 1,
    }
    with helm.Chart.load(folder) as chart:
        text = native.call_string("helm_render", chart._raw(), json.dumps(values), json.dumps(options))  # pyright: ignore[reportPrivateUsage] (see the module's docstring)
        crds = chart.crds if task.crds else []
    rendered: dict[str, str] = json.loads(text)
    outputs = [(crd["filename"], crd["data"]) for crd in crds]
    outputs += [(name, rendered[name]) for name in sorted(rendered) if not name.endswith("NOTES.txt")]
    return [document for name, data in outputs for document in _split(data, _in_repository(name, task.folder), limits)]


def _split(text: str, file: str, limits: Limits) -> Iterator[OutDocument]:
    """Split as Helm does: a line that begins with `---` separates, whatever follows on it."""
    bounds = DocumentLimits(bytes=limits.output_bytes)
    start = 0
    for end in [*(found.start() for found in _SEPARATOR.finditer(text)), len(text)]:
        piece = _SEPARATOR.sub("", text[start:end], count=1) if start or text.startswith("---") else text[start:end]
        first_line = text.count("\n", 0, start) + (text[start:end].count("\n") - piece.count("\n"))
        start = end
        try:
            for document in load_documents(piece.encode(), file=file, limits=bounds):
                yield OutDocument(file, 0, document.body)
        except BadInput as error:
            line = first_line + error.where.line
            raise RenderError(
                f"what the template gives cannot be read, in line {line} of its output: {error.what}",
                where=Where(file=file),
            ) from None


def _in_repository(name: str, folder: str) -> str:
    inner = name.partition("/")[2]
    return f"{folder}/{inner}" if folder else inner


def _may_be_random(folder: Path, task: HelmTask) -> bool:
    """Whether any file names a function whose result changes. What is packed cannot be searched, and counts as a yes."""
    if any(_RANDOM.search(layer.text) for layer in task.layers):
        return True
    return any(path.name.endswith(_ARCHIVES) or _RANDOM.search(path.read_bytes()) for path in _all_files(folder))


def _all_files(folder: Path) -> Iterator[Path]:
    return (
        Path(where, name)
        for where, _, names in folder.walk(follow_symlinks=True)
        for name in names
        if Path(where, name).is_file()
    )


def _compare(first: list[OutDocument], second: list[OutDocument]) -> list[tuple[int, str]]:
    if len(first) != len(second):
        return [(number, "") for number in range(len(first))]
    pairs = enumerate(zip(first, second, strict=True))
    return [(number, path) for number, (one, two) in pairs for path in differing_paths(one.body, two.body)]


def _drop_schemas(folder: Path) -> None:
    """Unpack the packed dependencies and remove the schemas: the library has no switch for them."""
    charts = folder / "charts"
    for archive in [p for p in charts.iterdir() if p.name.endswith(_ARCHIVES)] if charts.is_dir() else []:
        helm.expand(charts, archive)
        archive.unlink()
    for path in list(_all_files(folder)):
        if path.name == "values.schema.json":
            path.unlink()


def _explain(error: HelmError, task: HelmTask) -> RenderError:
    text = re.sub(r"\s*\n\s*", " ", error.detail).strip()
    found = re.search(r"([\w.-]+/(?:charts/[^\s:]+/)*templates/[^\s:\"]+):(\d+)", text)
    where = (
        Where(file=_in_repository(found[1], task.folder), line=int(found[2]))
        if found
        else Where(file=task.folder or ".")
    )
    advice = "check the values" if "values don't meet" in text else ""
    if "invalid release name" in text or "release name" in text:
        advice = "set releaseName to at most 53 lower-case letters, digits and dashes"
    return RenderError(f"helm: {text[:2000]}", where=where, advice=advice)
