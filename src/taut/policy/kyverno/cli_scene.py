"""What a `kyverno-test.yaml` file sets up: policies, objects, values, users, what a cluster would tell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from taut.documents.yaml import load_documents
from taut.model.errors import BadInput, Where
from taut.model.manifests import Body
from taut.policy.documents import Objects
from taut.policy.kyverno.context import Mocks
from taut.policy.plurals import placed
from taut.policy.review import Given, Operation, Review, User

_MOST_FILES = 2_000
_OPERATION = "request.operation"


@dataclass(frozen=True)
class Values:
    """The values declared for one policy and one object."""

    common: Mapping[str, Any]
    rules: Mapping[str, Mapping[str, Any]]
    foreach: Mapping[str, Mapping[str, Sequence[Any]]]

    def mocks(self, rule: str) -> Mocks:
        """What a rule's context holds of them; rules that were made from one have its values."""
        names = (rule, rule.removeprefix("autogen-").removeprefix("cronjob-"))
        own = next((self.rules[n] for n in names if n in self.rules), {})
        foreach = next((self.foreach[n] for n in names if n in self.foreach), {})
        return Mocks({k: v for k, v in {**self.common, **own}.items() if k != _OPERATION}, foreach, lenient=True)

    @property
    def operation(self) -> Operation:
        """What is about to happen to the object."""
        for values in (self.common, *self.rules.values()):
            if values.get(_OPERATION) in {o.value for o in Operation}:
                return Operation(values[_OPERATION])
        return Operation.CREATE


@dataclass(frozen=True)
class Scene:
    """All that a test file names."""

    policies: tuple[Given, ...]
    resources: tuple[Body, ...]
    values: Body
    user: User
    lookup: Objects
    labels: Mapping[str, Mapping[str, str]]
    folder: Path
    root: Path
    namespaces: Mapping[str, Body] = field(default_factory=dict[str, Body])
    targets: tuple[Body, ...] = ()
    """Objects that are there already, which rules may change."""

    def values_of(self, policy: str, body: Body) -> Values:
        """The values for a policy and an object: global ones first, then those of the policy, the object, the rule."""
        common: dict[str, Any] = dict(self.values.get("globalValues") or {})
        rules: dict[str, Mapping[str, Any]] = {}
        foreach: dict[str, Mapping[str, Sequence[Any]]] = {}
        name = (body.get("metadata") or {}).get("name")
        for entry in self.values.get("policies") or ():
            if entry.get("name") not in {policy, policy.rpartition("/")[2]}:
                continue
            for resource in entry.get("resources") or ():
                if resource.get("name") == name:
                    common |= resource.get("values") or {}
            for rule in entry.get("rules") or ():
                rules[str(rule.get("name"))] = rule.get("values") or {}
                foreach[str(rule.get("name"))] = rule.get("foreachValues") or {}
        return Values(common, rules, foreach)

    def review(self, body: Body, values: Values) -> Review:
        """The review of an object under these values."""
        namespace = str((body.get("metadata") or {}).get("namespace") or "")
        own = self.namespaces.get(namespace)
        labels = self.labels.get(namespace)
        if labels is not None or own is None:
            own = {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {"name": namespace, "labels": dict(labels or {})},
            }
        operation = values.operation
        old = body if operation in {Operation.DELETE, Operation.UPDATE} else None
        new = None if operation is Operation.DELETE else body
        return Review(new, old, operation, self.user, namespace_object=own if namespace else None)

    def compared(self, file: str, found: Body) -> tuple[str, str]:
        """`pass` when a file holds the object as it is now."""
        wanted = [b for b in _objects(_inside(self.folder / file, self.root)) if _same_object(b, found)]
        if not wanted:
            return "fail", f"{file} has no such object"
        if any(_settled(w) == _settled(found) for w in wanted):
            return "pass", ""
        return "fail", f"the object differs from the one in {file}"


def load_scene(test: Body, folder: Path, root: Path) -> Scene:
    """All that a test names, files read. Raises BadInput for what cannot be read or lies outside of `root`."""
    policies = [
        Given(body, str(path))
        for name in [*(test.get("policies") or ()), *(test.get("exceptions") or ())]
        for path in _files(folder / str(name), root)
        for body in _objects(path)
    ]
    resources = [
        body
        for name in test.get("resources") or ()
        for path in _files(folder / str(name), root)
        for body in _objects(path)
    ]
    objects = tuple(_placed(body) for body in resources)
    values = _values(test, folder, root)
    extra = [
        body for name in [test.get("context"), *(test.get("targetResources") or ())] if name
        for path in _files(folder / str(name), root) for body in _objects(path)
    ]  # fmt: skip
    targets = [
        _placed(body) for name in test.get("targetResources") or () for path in _files(folder / str(name), root) for body in _objects(path)
    ]  # fmt: skip
    labels = {str(s.get("name")): s.get("labels") or {} for s in values.get("namespaceSelector") or ()}
    namespaces = {str((b.get("metadata") or {}).get("name")): b for b in objects if b.get("kind") == "Namespace"}
    known = [*objects, *_context_objects(extra)]
    policies += [Given(b, "") for b in extra if b.get("kind") == "Context"]
    return Scene(
        tuple(policies), objects, values, _user(test, folder, root), Objects(known), labels, folder, root, namespaces,
        (*targets, *objects),
    )  # fmt: skip


def _context_objects(documents: list[Body]) -> Iterator[Body]:
    for body in documents:
        if body.get("kind") == "Context":
            yield from (o for o in (body.get("spec") or {}).get("resources") or () if isinstance(o, dict))
        else:
            yield body


def _values(test: Body, folder: Path, root: Path) -> Body:
    name = test.get("variables")
    if isinstance(name, str):
        found = list(_objects(_inside(folder / name, root)))
        values = found[0] if found else {}
    else:
        values = test.get("values") or {}
    return values.get("spec") or values


def _user(test: Body, folder: Path, root: Path) -> User:
    name = test.get("userinfo")
    if not isinstance(name, str):
        return User()
    found = list(_objects(_inside(folder / name, root)))
    info = found[0] if found else {}
    user = info.get("userInfo") or {}
    return User(
        str(user.get("username") or ""),
        tuple(user.get("groups") or ()),
        roles=tuple(info.get("roles") or ()),
        cluster_roles=tuple(info.get("clusterRoles") or ()),
        known=True,
    )


def _inside(path: Path, root: Path) -> Path:
    resolved = path.resolve()
    if not resolved.is_relative_to(root.resolve()):
        raise BadInput("a test names a file outside of the folder that is checked", where=Where(file=str(path)))
    return resolved


def _files(path: Path, root: Path) -> list[Path]:
    inside = _inside(path, root)
    if not inside.is_dir():
        return [inside]
    found = sorted(p for p in inside.rglob("*") if p.suffix in {".yaml", ".yml", ".json"} and p.is_file())
    return [_inside(p, root) for p in found[:_MOST_FILES]]


def _objects(path: Path) -> Iterator[Body]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadInput(f"the file cannot be read: {error.strerror}", where=Where(file=str(path))) from None
    for document in load_documents(data, file=str(path)):
        if isinstance(document.body, dict):
            items = document.body.get("items") if str(document.body.get("kind", "")).endswith("List") else None
            yield from (i for i in items if isinstance(i, dict)) if isinstance(items, list) else (document.body,)


def _placed(body: Body) -> Body:
    """An object of a test lives in `default` when it does not say where."""
    return placed(body, "default")


def _same_object(a: Body, b: Body) -> bool:
    first, second = a.get("metadata") or {}, b.get("metadata") or {}
    spaces = {first.get("namespace") or "default", second.get("namespace") or "default"}
    return a.get("kind") == b.get("kind") and first.get("name") == second.get("name") and len(spaces) == 1


def _settled(body: Any) -> Any:
    """An object without what says nothing: the namespace that is taken for granted, empty fields, the order of keys."""
    if isinstance(body, dict):
        found = {k: _settled(v) for k, v in body.items()}
        if (
            "metadata" in found
            and isinstance(found["metadata"], dict)
            and found["metadata"].get("namespace") == "default"
        ):
            found["metadata"] = {k: v for k, v in found["metadata"].items() if k != "namespace"}
        return {k: v for k, v in found.items() if v not in (None, {}, [])}
    return [_settled(v) for v in body] if isinstance(body, list) else body
