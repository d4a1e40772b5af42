from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taut.model.errors import SourceError
from taut.sources.archive import ArchiveLimits, safe_path, unpack


def tar(
    *members: tuple[str, bytes], mode: str = "w:gz", change: Callable[[tarfile.TarInfo], None] | None = None
) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # pyright: ignore[reportCallIssue, reportArgumentType]
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            if change:
                change(info)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@pytest.mark.parametrize("mode", ["w:gz", "w"])
def test_files_come_out(mode: str) -> None:
    files = unpack(tar(("./a/b.yaml", b"x: 1"), ("c", b""), mode=mode))
    assert {path: file.content for path, file in files.items()} == {"a/b.yaml": b"x: 1", "c": b""}


def test_the_top_folder_of_a_chart_is_cut_off() -> None:
    assert sorted(unpack(tar(("app/Chart.yaml", b""), ("app/templates/a.yaml", b"")), strip_top=True)) == [
        "Chart.yaml",
        "templates/a.yaml",
    ]
    with pytest.raises(SourceError, match="no chart"):
        unpack(tar(("app/Chart.yaml", b""), ("other/x", b"")), strip_top=True)
    with pytest.raises(SourceError, match="no chart"):
        unpack(tar(("Chart.yaml", b"")), strip_top=True)


def test_modes_are_kept() -> None:
    def executable(info: tarfile.TarInfo) -> None:
        info.mode = 0o755

    assert unpack(tar(("run.sh", b"#!"), change=executable))["run.sh"].executable


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "a/../../x",
        "/etc/passwd",
        "a/.git/config",
        ".GIT/hooks/x",
        "C:/x",
        "a\\..\\b",
        "a\x1b[0m",
        "x/" * 80 + "y",
    ],
)
def test_paths_that_lead_out_are_refused(name: str) -> None:
    with pytest.raises(SourceError, match="archive holds"):
        unpack(tar((name, b"")))


def make(kind: bytes, target: str = "") -> Callable[[tarfile.TarInfo], None]:
    def change(info: tarfile.TarInfo) -> None:
        info.type, info.linkname, info.size = kind, target, 0

    return change


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (tarfile.SYMTYPE, "a link"),
        (tarfile.LNKTYPE, "a link"),
        (tarfile.CHRTYPE, "no plain file"),
        (tarfile.BLKTYPE, "no plain file"),
        (tarfile.FIFOTYPE, "no plain file"),
    ],
)
def test_links_and_devices_are_refused(kind: bytes, words: str) -> None:
    with pytest.raises(SourceError, match=words):
        unpack(tar(("x", b""), change=make(kind, "/etc/passwd")))


def test_a_bomb_is_stopped_while_it_grows() -> None:
    bomb = tar(("zeros", bytes(20 * 2**20)))
    assert len(bomb) < 100_000
    with pytest.raises(SourceError, match="too large"):
        unpack(bomb, limits=ArchiveLimits(total=2**20, one_file=2**20))


def test_a_bomb_behind_the_last_file_or_in_a_header_is_stopped() -> None:
    plain = gzip.decompress(tar(("a", b"x")))
    with pytest.raises(SourceError):
        unpack(gzip.compress(plain[:1024] + b"\x01" * 30 * 2**20), limits=ArchiveLimits(total=2**20, files=10))
    with pytest.raises(SourceError):
        unpack(tar(("n" * 10 * 2**20, b"")), limits=ArchiveLimits(total=2**20, files=10))


def test_too_many_entries() -> None:
    with pytest.raises(SourceError, match="more than 5 entries"):
        unpack(tar(*((f"f{i}", b"") for i in range(6))), limits=ArchiveLimits(files=5))


def test_a_path_that_is_file_and_folder() -> None:
    with pytest.raises(SourceError, match="both as a file and as a folder"):
        unpack(tar(("a", b""), ("a/b", b"")))


def test_what_is_cut_short() -> None:
    whole = tar(("a", bytes(range(256)) * 100))
    with pytest.raises(SourceError):
        unpack(whole[: len(whole) // 2])
    with pytest.raises(SourceError, match="zstd"):
        unpack(b"\x28\xb5\x2f\xfd" + bytes(40))


@given(st.binary(max_size=2000))
def test_any_bytes_are_files_or_an_error(data: bytes) -> None:
    for candidate in (data, gzip.compress(data), b"\x1f\x8b" + data):
        try:
            files = unpack(candidate)
        except SourceError:
            continue
        assert all(path == safe_path(path) for path in files)
