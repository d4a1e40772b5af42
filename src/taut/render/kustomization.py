"""A kustomization file: finding it, reading it, and laying an application's options over it as the peers do.

Argo CD runs `kustomize edit` and Flux edits the file before the build; so the options are set in the kustomization itself, where a
namePrefix replaces the one that is there and an image override replaces the one of the same name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from taut.documents.yaml import dump, line_of, load_documents
from taut.model.application import KustomizeImage, KustomizeOptions, KustomizePatch
from taut.model.errors import BadInput, RenderError, Where
from taut.render.reach import Reach

NAMES = ("kustomization.yaml", "kustomization.yml", "Kustomization")

type Path = tuple[str | int, ...]


class Kustomization:
    """One kustomization file: its path, its bytes and its value."""

    def __init__(self, path: str, data: bytes, repository: str, *, written: bytes | None = None) -> None:
        """`written` is what people see in the repository, where errors point to; by default the same as `data`."""
        self.path = path
        self.data = data
        self.written = data if written is None else written
        self.repository = repository
        documents = load_documents(data, file=path)
        if len(documents) > 1:
            raise self.error("a kustomization is one document, here are several", ())
        body = documents[0].body if documents else {}
        if not isinstance(body, dict):
            raise self.error("a kustomization is a mapping", ())
        self.body: dict[str, Any] = body

    @property
    def folder(self) -> str:
        """The folder that it is in."""
        return self.path.rpartition("/")[0]

    def error(self, what: str, field: Path, advice: str = "") -> RenderError:
        """An error about a field, with its line."""
        line = line_of(self.written, field) if field else 1
        name = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in field).lstrip(".")
        return RenderError(
            what, where=Where(repository=self.repository, file=self.path, line=line, field=name), advice=advice
        )

    def texts(self, *field: str) -> list[tuple[Path, str]]:
        """The texts in the list at `field`, with their places. Raises RenderError when it is no list of texts."""
        return [(place, item) for place, item in self.items(*field) if self._is_text(place, item)]

    def items(self, *field: str) -> list[tuple[Path, Any]]:
        """The items of the list at `field`, with their places; empty when there is none. Raises RenderError when it is no list."""
        value: Any = self.body
        for key in field:
            value = value.get(key) if isinstance(value, dict) else None
        if value is None:
            return []
        if not isinstance(value, list):
            raise self.error(f"{'.'.join(field)} must be a list", tuple(field))
        return [((*field, n), item) for n, item in enumerate(value)]

    def _is_text(self, place: Path, item: Any) -> bool:
        if not isinstance(item, str):
            raise self.error("this must be a text", place)
        return True


def find_kustomization(reach: Reach, folder: str) -> Kustomization | None:
    """The kustomization of a folder; all three names are looked for. Raises RenderError when there are several, BadInput when it cannot be read."""
    found: list[tuple[str, bytes]] = []
    for name in NAMES:
        path = f"{folder}/{name}" if folder else name
        data = reach.take(path)
        if data is not None:
            found.append((path, data))
    if len(found) > 1:
        names = " and ".join(path.rpartition("/")[2] for path, _ in found)
        raise RenderError(
            f"there are {names}, of which only one may exist",
            where=Where(repository=reach.repository, file=folder or "."),
        )
    return Kustomization(*found[0], reach.repository) if found else None


def lay_over(body: dict[str, Any], options: KustomizeOptions, has_folder: Callable[[str], bool]) -> dict[str, Any]:
    """A kustomization with the options set in it. `has_folder` tells, for ignore_missing_components, whether a reference exists."""
    result = dict(body)
    result.setdefault("apiVersion", "kustomize.config.k8s.io/v1beta1")
    result.setdefault("kind", "Kustomization")
    for key, value in (
        ("namePrefix", options.name_prefix),
        ("nameSuffix", options.name_suffix),
        ("namespace", options.namespace),
    ):
        if value is not None:
            result[key] = value
    if options.images:
        result["images"] = _images(_list(body, "images"), options.images)
    if options.replicas:
        ours = {r.name: {"name": r.name, "count": r.count} for r in options.replicas}
        result["replicas"] = [
            r for r in _list(body, "replicas") if not (isinstance(r, dict) and r.get("name") in ours)
        ] + list(ours.values())
    if options.patches:
        result["patches"] = _list(body, "patches") + [_patch(p) for p in options.patches]
    components = [c for c in options.components if not options.ignore_missing_components or has_folder(c)]
    if components:
        result["components"] = _list(body, "components") + components
    _labels(result, body, options)
    if options.common_annotations:
        result["commonAnnotations"] = {**_mapping(body, "commonAnnotations"), **options.common_annotations}
    if options.build_metadata:
        result["buildMetadata"] = list(dict.fromkeys([*_list(body, "buildMetadata"), *options.build_metadata]))
    return result


def as_bytes(body: dict[str, Any]) -> bytes:
    """The file's content."""
    return dump(body).encode()


def _labels(result: dict[str, Any], body: dict[str, Any], options: KustomizeOptions) -> None:
    if not options.common_labels:
        return
    if options.label_without_selector or options.label_include_templates:
        entry = {
            "pairs": dict(options.common_labels),
            "includeSelectors": False,
            "includeTemplates": options.label_include_templates,
        }
        result["labels"] = [*_list(body, "labels"), entry]
    else:
        result["commonLabels"] = {**_mapping(body, "commonLabels"), **options.common_labels}


def _images(there: list[Any], ours: tuple[KustomizeImage, ...]) -> list[Any]:
    """As `kustomize edit set image`: a new tag or digest replaces both, what is not given stays."""
    result = [dict(i) if isinstance(i, dict) else i for i in there]
    for image in ours:
        entry = next((i for i in result if isinstance(i, dict) and i.get("name") == image.name), None)
        if entry is None:
            entry = {"name": image.name}
            result.append(entry)
        if image.new_name is not None:
            entry["newName"] = image.new_name
        if image.new_tag is not None or image.digest is not None:
            entry.pop("newTag", None)
            entry.pop("digest", None)
        if image.new_tag is not None:
            entry["newTag"] = image.new_tag
        if image.digest is not None:
            entry["digest"] = image.digest
    return result


def _patch(patch: KustomizePatch) -> dict[str, Any]:
    entry: dict[str, Any] = {"patch": patch.patch}
    if patch.target is not None:
        target = patch.target
        fields = {
            "group": target.group,
            "version": target.version,
            "kind": target.kind,
            "name": target.name,
            "namespace": target.namespace,
            "labelSelector": target.label_selector,
            "annotationSelector": target.annotation_selector,
        }
        entry["target"] = {k: v for k, v in fields.items() if v is not None}
    if patch.options:
        entry["options"] = dict(patch.options)
    return entry


def _list(body: dict[str, Any], key: str) -> list[Any]:
    value = body.get(key) or []
    if not isinstance(value, list):
        raise BadInput(f"{key} must be a list")
    return list(value)


def _mapping(body: dict[str, Any], key: str) -> dict[str, Any]:
    value = body.get(key) or {}
    if not isinstance(value, dict):
        raise BadInput(f"{key} must be a mapping")
    return dict(value)
