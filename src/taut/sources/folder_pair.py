"""Two states of one folder, read at the cost of what lies between them: a commit below a folder of thousands makes a new one that is nearly the same."""

from __future__ import annotations

import threading
from array import array
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_HASH_BYTES = 20
_LARGE = 8_192
"""Bytes from which on a folder is worth remembering."""
_KEPT = 8
_MOST_BYTES = 4_000_000

type Entries = dict[bytes, tuple[bytes, bytes]]
"""Name → mode and hash."""


class DoubleNameError(ValueError):
    """A folder has two entries of one name."""


@dataclass(frozen=True, slots=True)
class _Read:
    """A folder's bytes, where each of its entries begins, and the end. No name is there twice."""

    data: bytes
    starts: array[int]


class Folders:
    """The large folders that were read last, for threads that share them."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, _Read] = OrderedDict()
        self._lock = threading.Lock()

    def pair(self, old: str, new: str, read: Callable[[str], bytes]) -> tuple[Entries, Entries]:
        """What the folders `old` and `new` (tree hashes) hold, without (some of) the entries that are the same in both.

        `read` gives a tree object's bytes, and what it raises is passed on. Raises ValueError for bytes that are no tree (DoubleNameError: two
        entries of one name).
        """
        before = self._recall(old)
        data = read(new)
        if before is None:
            former = read(old)
            if max(len(former), len(data)) < _LARGE:
                return read_folder(former), read_folder(data)
            before = self._keep(old, _whole(former))
        found = _following(before, data)
        if found is None:
            self._keep(new, _whole(data))
            return read_folder(before.data), read_folder(data)
        after, (first, last), (begin, end) = found
        self._keep(new, after)
        return read_folder(before.data[before.starts[first] : before.starts[last]]), read_folder(data[begin:end])

    def _recall(self, oid: str) -> _Read | None:
        with self._lock:
            found = self._kept.get(oid)
            if found is not None:
                self._kept.move_to_end(oid)
            return found

    def _keep(self, oid: str, folder: _Read) -> _Read:
        with self._lock:
            self._kept[oid] = folder
            while len(self._kept) > _KEPT or (
                len(self._kept) > 1 and sum(len(f.data) for f in self._kept.values()) > _MOST_BYTES
            ):
                self._kept.popitem(last=False)
        return folder


def _whole(data: bytes) -> _Read:
    starts = array("Q")
    names: set[bytes] = set()
    for start, name, _ in _walk(data, 0, len(data)):
        starts.append(start)
        names.add(name)
    if len(names) != len(starts):
        raise DoubleNameError("a folder holds two entries of one name")
    starts.append(len(data))
    return _Read(data, starts)


def _following(old: _Read, data: bytes) -> tuple[_Read, tuple[int, int], tuple[int, int]] | None:
    """`data` read from what is known of `old`, and where the two may differ: in entries of the old one, in bytes of the new one.

    None when that cannot be told for certain: then it is read as a whole.
    """
    alike = _same_start(old.data, data)
    tail = _same_end(old.data, data, min(len(old.data), len(data)) - alike)
    # Entries that end before the first difference are the same, and so are those that begin in what is the same at the end: a tree is read from its
    # start, so equal bytes are equal entries wherever reading arrives at the same place.
    first = max(bisect_right(old.starts, alike) - 1, 0)
    last = max(bisect_left(old.starts, len(old.data) - tail), first)
    begin, shift = old.starts[first], len(data) - len(old.data)
    end = old.starts[last] + shift
    if end < begin:
        return None
    starts = old.starts[:first]
    names: list[bytes] = []
    try:
        for start, name, _ in _walk(data, begin, end):
            starts.append(start)
            names.append(name)
    except ValueError:
        return None
    if any(not _only_once(data, name, begin, end) for name in names):
        return None
    starts.extend(old.starts[last:] if not shift else array("Q", (s + shift for s in old.starts[last:])))
    return _Read(data, starts), (first, last), (begin, end)


def _only_once(data: bytes, name: bytes, begin: int, end: int) -> bool:
    """Whether an entry's name cannot be that of another one. A hash that looks like a name makes it doubtful, which is enough."""
    mark = b" " + name + b"\0"
    at = data.find(mark)
    return begin <= at < end and data.find(mark, at + 1) < 0


def _same_start(a: bytes, b: bytes) -> int:
    """How many bytes are the same from the start."""
    low, high = 0, min(len(a), len(b))
    with memoryview(a) as left, memoryview(b) as right:
        while low < high:
            middle = (low + high + 1) // 2
            if left[low:middle] == right[low:middle]:
                low = middle
            else:
                high = middle - 1
    return low


def _same_end(a: bytes, b: bytes, most: int) -> int:
    """How many bytes are the same from the end, `most` at the most."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        if a[len(a) - middle : len(a) - low] == b[len(b) - middle : len(b) - low]:
            low = middle
        else:
            high = middle - 1
    return low


def read_folder(data: bytes) -> Entries:
    """All entries of a tree object. Raises ValueError as `Folders.pair` does."""
    pairs = [(name, value) for _, name, value in _walk(data, 0, len(data))]
    found = dict(pairs)
    if len(found) != len(pairs):
        raise DoubleNameError("a folder holds two entries of one name")
    return found


def _walk(data: bytes, at: int, size: int) -> Iterator[tuple[int, bytes, tuple[bytes, bytes]]]:
    """A tree object's entries (gitformat: `mode name NUL hash`) between two places. libgit2's own comparison costs several times as much in a
    folder of thousands. Raises ValueError when they do not end where they should.
    """
    while at < size:
        start = at
        space = data.index(b" ", at, size)
        end = data.index(b"\0", space, size)
        at, mode = end + 1 + _HASH_BYTES, data[start:space]
        if at > size:
            raise ValueError("the tree ends in the midst of an entry")
        yield start, data[space + 1 : end], (mode, data[end + 1 : at])
