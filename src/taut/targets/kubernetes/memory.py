"""What is known of a cluster's objects, without asking it: small records, and the news when one changes."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections import Counter, OrderedDict
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, fields
from operator import attrgetter

from taut.model.live import LiveObject
from taut.model.refs import KindRef, ObjectRef
from taut.targets.kubernetes.projection import Foreign, Record, app_text, expand

_log = logging.getLogger(__name__)
_REMEMBERED_DELETIONS = 4096


@dataclass(frozen=True, slots=True)
class Event:
    """An object changed. `old` is None when it was not known, `new` is None when it is gone."""

    ref: ObjectRef
    old: LiveObject | None
    new: LiveObject | None


@dataclass
class _Write:
    """Writes of one object that are under way. `expected` is what is known without the watch: before, or their last answer."""

    expected: Record | None
    count: int = 0


class Memory:
    """The records of all watched kinds of one cluster.

    The order of events is that of resource versions: an answer to a write and the event of the same write come in any order, and
    what is older never replaces what is newer.
    """

    def __init__(self, cluster: str, on_event: Callable[[Event], None]) -> None:
        self._cluster = cluster
        self._on_event = on_event
        self._kinds: dict[KindRef, dict[str, dict[str, Record]]] = {}
        self._versions: dict[KindRef, str] = {}
        self._apps: dict[str, set[ObjectRef]] = {}
        self._deleted: OrderedDict[str, None] = OrderedDict()
        self._writes: dict[ObjectRef, _Write] = {}
        self._attended: Counter[ObjectRef] = Counter()
        self.on_version: Callable[[ObjectRef], None] | None = None
        """Hears of every new version of an object that is remembered in full, whoever wrote it, and of every object that goes."""

    def open(self, kind: KindRef, api_version: str) -> None:
        """Start to remember a kind, as it is watched in `api_version`."""
        self._kinds.setdefault(kind, {})
        self._versions[kind] = api_version

    def attend(self, ref: ObjectRef) -> None:
        """From now on every change of this object is news, whoever declares it: somebody reads what is in it. `neglect` undoes it."""
        self._attended[ref] += 1

    def neglect(self, ref: ObjectRef) -> None:
        """Undo one `attend`."""
        self._attended[ref] -= 1
        if self._attended[ref] <= 0:
            del self._attended[ref]

    def attended(self, ref: ObjectRef) -> bool:
        """Whether somebody reads what is in the object."""
        return ref in self._attended

    def knows(self, kind: KindRef) -> bool:
        """Whether the kind is remembered at all."""
        return kind in self._kinds

    def get(self, ref: ObjectRef) -> LiveObject | None:
        """The object, None when there is none (or when its kind is not watched)."""
        return expand(ref, self._record(ref), self._versions.get(ref.kind_ref, ""))

    def exact(self, ref: ObjectRef, uid: str, resource_version: str) -> LiveObject | None:
        """The object, if this very state of it is remembered in full: a watch and the answer to a write tell the same twice."""
        record = self._record(ref)
        if isinstance(record, LiveObject) and (record.uid, record.resource_version) == (uid, resource_version):
            return record
        return None

    def owned_by(self, app_key: str) -> list[LiveObject]:
        """The objects that carry this application's mark."""
        found = (self._record(ref) for ref in self._apps.get(app_key, ()))
        return [r for r in found if isinstance(r, LiveObject)]

    def apps(self) -> frozenset[str]:
        """The keys of all applications that own something."""
        return frozenset(self._apps)

    def foreign(self, namespace: str) -> Iterator[LiveObject]:
        """The objects of a namespace (empty: cluster-scoped) that nobody here declared, children of others included."""
        for kind, namespaces in list(self._kinds.items()):
            for name, record in list(namespaces.get(namespace, {}).items()):
                if isinstance(record, LiveObject) and (record.owner or record.run_key):
                    continue
                found = expand(self._ref(kind, namespace, name), record, self._versions[kind])
                if found is not None:
                    yield found

    def names(self, kind: KindRef, namespace: str = "") -> frozenset[str]:
        """The names of a kind's objects that are not being deleted."""
        records = self._kinds.get(kind, {}).get(namespace, {})
        return frozenset(name for name, record in records.items() if not record.deleting)

    def count(self) -> tuple[int, int]:
        """How many objects are remembered in full, and how many foreign ones."""
        records = [r for ns in self._kinds.values() for names in ns.values() for r in names.values()]
        strangers = sum(isinstance(r, Foreign) for r in records)
        return len(records) - strangers, strangers

    def observe(self, ref: ObjectRef, record: Record, *, quiet: bool = False) -> None:
        """Take in what a watch or a write shows. Nothing new, or something old: no event."""
        if ref.kind_ref not in self._kinds or record.uid in self._deleted:
            return
        old = self._record(ref)
        if old is not None and _is_older(record, old):
            return
        self._store(ref, old, record)
        if not quiet and ref not in self._writes and self._is_news(ref, old, record):
            self._tell(ref, old, record)

    def _is_news(self, ref: ObjectRef, old: Record | None, record: Record) -> bool:
        return not _same(old, record) or (ref in self._attended and _version(old) != _version(record))

    @contextlib.contextmanager
    def writing(self, ref: ObjectRef) -> Generator[Callable[[LiveObject], None]]:
        """While a write of `ref` is under way its events wait: the watch may be quicker than the answer.

        Yields a function that takes in the answer. Afterwards only what differs from the answer is news.
        """
        write = self._writes.setdefault(ref, _Write(self._record(ref)))
        write.count += 1

        def answered(record: LiveObject) -> None:
            self.observe(ref, record, quiet=True)
            write.expected = record

        try:
            yield answered
        finally:
            write.count -= 1
            if not write.count:
                del self._writes[ref]
                self._news_since(ref, write.expected)

    def _news_since(self, ref: ObjectRef, expected: Record | None) -> None:
        now = self._record(ref)
        if ref.kind_ref not in self._kinds or now is expected:
            return
        if now is None or self._is_news(ref, expected, now):
            self._tell(ref, expected, now)

    def remove(self, ref: ObjectRef, uid: str, *, quiet: bool = False) -> None:
        """Forget an object that was deleted. One of another uid took its name meanwhile: nothing happens."""
        if uid:
            self._deleted[uid] = None
            while len(self._deleted) > _REMEMBERED_DELETIONS:
                self._deleted.popitem(last=False)
        old = self._record(ref)
        if old is None or (uid and old.uid != uid):
            return
        self._kinds[ref.kind_ref][ref.namespace].pop(ref.name, None)
        self._unlink(ref, old)
        self._told_version(ref)
        if not quiet and ref not in self._writes:
            self._tell(ref, old, None)

    def sweep(self, kind: KindRef, namespace: str, seen: set[tuple[str, str]], resource_version: str) -> None:
        """After a complete list as of `resource_version`: forget what it did not have, unless it was written later."""
        namespaces = self._kinds.get(kind, {})
        chosen = {namespace: namespaces.get(namespace, {})} if namespace else dict(namespaces)
        for ns, names in chosen.items():
            for name, record in list(names.items()):
                if (ns, name) in seen:
                    continue
                if isinstance(record, LiveObject) and later(record.resource_version, resource_version):
                    continue
                self.remove(self._ref(kind, ns, name), record.uid)

    def drop(self, kind: KindRef, namespace: str = "", *, quiet: bool = False) -> None:
        """Forget a kind (or its objects in one namespace): it is not watched any more."""
        namespaces = self._kinds.get(kind, {})
        for ns in [namespace] if namespace else list(namespaces):
            for name, record in list(namespaces.get(ns, {}).items()):
                self.remove(self._ref(kind, ns, name), record.uid, quiet=quiet)
            namespaces.pop(ns, None)
        if not namespace:
            self._kinds.pop(kind, None)
            self._versions.pop(kind, None)

    def _ref(self, kind: KindRef, namespace: str, name: str) -> ObjectRef:
        return ObjectRef(self._cluster, kind.group, kind.kind, namespace, name)

    def _record(self, ref: ObjectRef) -> Record | None:
        return self._kinds.get(ref.kind_ref, {}).get(ref.namespace, {}).get(ref.name)

    def _store(self, ref: ObjectRef, old: Record | None, record: Record) -> None:
        self._kinds[ref.kind_ref].setdefault(sys.intern(ref.namespace), {})[ref.name] = record
        if isinstance(old, LiveObject) and (not isinstance(record, LiveObject) or record.owner != old.owner):
            self._unlink(ref, old)
        if isinstance(record, LiveObject) and record.owner:
            self._apps.setdefault(app_text(record.owner), set()).add(ref)
        if _version(old) != _version(record):
            self._told_version(ref)

    def _told_version(self, ref: ObjectRef) -> None:
        if self.on_version is not None:
            self.on_version(ref)

    def _unlink(self, ref: ObjectRef, old: Record) -> None:
        if not isinstance(old, LiveObject) or not old.owner:
            return
        app = app_text(old.owner)
        refs = self._apps.get(app)
        if refs is not None:
            refs.discard(ref)
            if not refs:
                del self._apps[app]

    def _tell(self, ref: ObjectRef, old: Record | None, new: Record | None) -> None:
        version = self._versions.get(ref.kind_ref, "")
        try:
            self._on_event(Event(ref, expand(ref, old, version), expand(ref, new, version)))
        except Exception:  # noqa: BLE001 -- a listener's mistake must not end the watch that everybody lives from
            _log.exception("a listener failed on %s", ref)


def later(version: str, than: str) -> bool:
    """Whether a resource version is later. They are ordered integers (Kubernetes says so since 1.35); others count as not."""
    return version.isdigit() and than.isdigit() and int(version) > int(than)


def _is_older(record: Record, old: Record) -> bool:
    if not isinstance(record, LiveObject) or not isinstance(old, LiveObject):
        return False
    return later(old.resource_version, record.resource_version)


def _version(record: Record | None) -> str:
    return record.resource_version if isinstance(record, LiveObject) else ""


_content = attrgetter(*(f.name for f in fields(LiveObject) if f.name != "resource_version"))


def _same(old: Record | None, new: Record) -> bool:
    """Whether nothing but the resource version differs."""
    if isinstance(old, LiveObject) and isinstance(new, LiveObject):
        return old is new or _content(old) == _content(new)
    return old == new
