"""Which renderer a source is for. An explicit one wins; else as the peers detect it."""

from __future__ import annotations

from taut.model.application import Renderer, Source
from taut.model.snapshot import EntryKind
from taut.render.kustomization import NAMES
from taut.render.reach import Reach


def detect(reach: Reach, source: Source) -> Renderer:
    """Chart.yaml makes a chart, a kustomization file a kustomization, a folder of nothing but Jsonnet is Jsonnet, the rest is plain.

    A source with `chart` is a chart. Where nothing is found, the renderer whose options are given is meant.
    """
    if source.renderer is not Renderer.AUTO:
        return source.renderer
    if source.chart:
        return Renderer.HELM
    found = reach.find(source.path)
    if found is None or not found.is_folder:
        return Renderer.JSONNET if source.path.endswith(".jsonnet") else Renderer.PLAIN
    base = f"{found.path}/" if found.path else ""
    if _is_file(reach, base + "Chart.yaml"):
        return Renderer.HELM
    if any(_is_file(reach, base + name) for name in NAMES):
        return Renderer.KUSTOMIZE
    if source.kustomize is not None and source.plain is None:
        return Renderer.KUSTOMIZE
    names = [e.name for e in reach.listing(found.path) if e.kind is not EntryKind.FOLDER]
    jsonnet = any(n.endswith(".jsonnet") for n in names)
    others = any(n.endswith((".yaml", ".yml", ".json")) for n in names)
    if jsonnet and (source.jsonnet is not None or not others):
        return Renderer.JSONNET
    return Renderer.PLAIN


def _is_file(reach: Reach, path: str) -> bool:
    found = reach.find(path)
    return found is not None and found.is_file
