"""Two folders are told apart as if both had been read whole, whatever lies between them."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taut.sources.folder_pair import DoubleNameError, Folders, read_folder

NAMES = [f"application-{n:04}".encode() for n in range(300)]

ENTRY = len(b"40000 \0") + len(NAMES[0]) + 20


def tree(entries: dict[bytes, bytes], mode: bytes = b"40000") -> bytes:
    return b"".join(mode + b" " + name + b"\0" + content for name, content in sorted(entries.items()))


def of(text: str) -> bytes:
    return hashlib.sha1(text.encode(), usedforsecurity=False).digest()


class Shelf:
    """Folders by name, and how often each was read."""

    def __init__(self) -> None:
        self.data: dict[str, bytes] = {}
        self.reads: list[str] = []

    def read(self, oid: str) -> bytes:
        self.reads.append(oid)
        return self.data[oid]


def differences(pair: tuple[dict[bytes, tuple[bytes, bytes]], dict[bytes, tuple[bytes, bytes]]]) -> dict[bytes, object]:
    before, after = pair
    return {n: (before.get(n), after.get(n)) for n in before.keys() | after.keys() if before.get(n) != after.get(n)}


changes = st.dictionaries(
    st.sampled_from([*NAMES, b"a", b"zz", b"application-0100 b", b"40000 application-0007"]),
    st.one_of(st.none(), st.integers(0, 3).map(lambda n: of(str(n))), st.just(b" application-0003\0xx")),
    max_size=6,
)


@settings(max_examples=300, deadline=None)
@given(st.lists(changes, min_size=1, max_size=6))
def test_a_row_of_commits_is_told_as_by_reading_everything(commits: list[dict[bytes, bytes | None]]) -> None:
    shelf, folders = Shelf(), Folders()
    entries = {name: of(name.decode()) for name in NAMES}
    shelf.data["0"] = tree(entries)
    for number, change in enumerate(commits, 1):
        entries = {n: c for n, c in {**entries, **change}.items() if c is not None}
        shelf.data[str(number)] = tree(entries)
        old, new = str(number - 1), str(number)
        wanted = differences((read_folder(shelf.data[old]), read_folder(shelf.data[new])))
        assert differences(folders.pair(old, new, shelf.read)) == wanted


def test_the_next_commit_reads_one_folder_and_only_what_differs_of_it() -> None:
    shelf, folders = Shelf(), Folders()
    entries = {name: of(name.decode()) for name in NAMES}
    for number in range(3):
        entries[NAMES[150]] = of(str(number))
        shelf.data[str(number)] = tree(entries)
    folders.pair("0", "1", shelf.read)
    shelf.reads.clear()
    before, after = folders.pair("1", "2", shelf.read)
    assert shelf.reads == ["2"]
    assert before.keys() == after.keys() == {NAMES[150]}


def test_two_entries_of_one_name_are_refused_wherever_they_are() -> None:
    shelf, folders = Shelf(), Folders()
    good = tree({name: of(name.decode()) for name in NAMES})
    shelf.data = {"0": good, "1": good.replace(of(NAMES[9].decode()), of("x"))}
    folders.pair("0", "1", shelf.read)
    for number, at in enumerate((0, len(NAMES) // 2 * ENTRY, len(good))):
        entry = b"40000 " + NAMES[9] + b"\0" + of("twice")
        shelf.data[f"bad{number}"] = good[:at] + entry + good[at:]
        with pytest.raises(ValueError):
            folders.pair("1", f"bad{number}", shelf.read)
    with pytest.raises(DoubleNameError):
        read_folder(shelf.data["bad2"])


@pytest.mark.parametrize("cut", [1, 20, 25, ENTRY - 1])
def test_a_folder_that_is_cut_off_is_no_folder(cut: int) -> None:
    shelf, folders = Shelf(), Folders()
    good = tree({name: of(name.decode()) for name in NAMES})
    shelf.data = {"0": good, "1": good.replace(of(NAMES[9].decode()), of("x")), "2": good[:-cut]}
    folders.pair("0", "1", shelf.read)
    with pytest.raises(ValueError):
        folders.pair("1", "2", shelf.read)
