"""What policies may look up when there are only documents: objects of files, and nothing that they do not tell."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from taut.model.manifests import Body
from taut.policy.review import NotKnown


class Objects:
    """A lookup over given objects. What is not among them is not known: another place may have it."""

    def __init__(self, objects: Iterable[Body] = (), *, complete: bool = False) -> None:
        self._complete = complete
        objects = tuple(objects)
        self._objects = objects
        self._known: dict[tuple[str, str, str], Body] = {}
        self._by_kind: dict[tuple[str, str], list[Body]] = {}
        for body in objects:
            metadata = _metadata(body)
            version, kind = str(body.get("apiVersion") or ""), str(body.get("kind") or "")
            place = (kind, str(metadata.get("namespace") or ""), str(metadata.get("name") or ""))
            self._known.setdefault(place, body)
            self._by_kind.setdefault((_group(version), kind), []).append(body)

    def get(self, api_version: str, kind: str, namespace: str, name: str) -> Body | None:
        """One of the objects. Raises NotKnown for another one, unless they are all there are."""
        for place in ((kind, namespace, name), (kind, "", name)):
            found = self._known.get(place)
            if found is not None and _group(str(found.get("apiVersion"))) == _group(api_version):
                return found
        if self._complete:
            return None
        raise NotKnown(f"{kind} {namespace + '/' if namespace else ''}{name} is not among the files")

    def list(self, api_version: str, kind: str, namespace: str = "") -> Sequence[Body]:
        """Those of a kind. Raises NotKnown when there is none among them, unless they are all there are."""
        found = self._by_kind.get((_group(api_version), kind))
        if found is None:
            if self._complete:
                return ()
            raise NotKnown(f"no {kind} is among the files")
        return [b for b in found if not namespace or _metadata(b).get("namespace") == namespace]

    def inventory(self) -> dict[str, Any]:
        """All objects, as Gatekeeper's templates look them up: `cluster[GV][Kind][name]`, `namespace[ns][GV][Kind][name]`."""
        tree: dict[str, Any] = {"cluster": {}, "namespace": {}}
        for body in self._objects:
            metadata = _metadata(body)
            space = metadata.get("namespace")
            place = tree["namespace"].setdefault(str(space), {}) if space else tree["cluster"]
            kinds = place.setdefault(str(body.get("apiVersion")), {}).setdefault(str(body.get("kind")), {})
            kinds[str(metadata.get("name"))] = body
        return tree

    def raw(self, method: str, path: str, body: Any = None) -> Any:
        """Never known."""
        raise NotKnown(f"{method} {path}: there is no cluster to ask")


def _metadata(body: Body) -> dict[str, Any]:
    found = body.get("metadata")
    return found if isinstance(found, dict) else {}


def _group(api_version: str) -> str:
    head, slash, _ = api_version.partition("/")
    return head if slash else ""
