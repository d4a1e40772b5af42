"""Tar archives from strangers, unpacked in memory: nothing leaves its folder, nothing is followed, nothing explodes. Pure."""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from taut.model.errors import SourceError

_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """What an archive may hold, unpacked."""

    total: int = 200 * 2**20
    one_file: int = 50 * 2**20
    files: int = 50_000
    path: int = 1000
    depth: int = 60


@dataclass(frozen=True, slots=True)
class UnpackedFile:
    """A file's content and whether it may be executed."""

    content: bytes
    executable: bool = False


def unpack(data: bytes, *, limits: ArchiveLimits | None = None, strip_top: bool = False) -> dict[str, UnpackedFile]:
    """Unpack a tar, gzipped or not, into files by path.

    With `strip_top` the one top folder (a chart's name) is cut off. Raises SourceError for: what is no archive, absolute paths and `..`, links,
    devices and pipes, sparse files, a path that is both file and folder, and anything beyond `limits`.
    """
    bounds = limits or ArchiveLimits()
    if data.startswith(_ZSTD_MAGIC):
        raise SourceError("the archive is compressed with zstd", advice="push it with gzip")
    files: dict[str, UnpackedFile] = {}
    try:
        plain = _decompressed(data, bounds)
        with tarfile.open(fileobj=io.BytesIO(plain), mode="r:", encoding="utf-8") as tar:
            for path, file in _members(tar, bounds):
                files[path] = file
            # A header that is no header ends the reading without a word; only zeros, or nothing, are an end.
            if plain[tar.offset : tar.offset + tarfile.BLOCKSIZE].strip(b"\0"):
                raise SourceError("the archive is damaged, or ends too early")
    except (
        tarfile.TarError,
        EOFError,
        zlib.error,
        gzip.BadGzipFile,
        OSError,
        ValueError,
        OverflowError,
        UnicodeError,
        RecursionError,  # headers that announce headers, again and again
    ) as error:
        raise SourceError(f"the archive cannot be read: {_short(error)}") from None
    _no_file_is_a_folder(files)
    return _stripped(files) if strip_top else files


def _decompressed(data: bytes, limits: ArchiveLimits) -> bytes:
    """The tar itself, measured while it grows. A header and padding a file are the format's own overhead."""
    limit = limits.total + 2 * tarfile.BLOCKSIZE * limits.files + tarfile.RECORDSIZE
    if not data.startswith(_GZIP_MAGIC):
        plain = data
    else:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as stream:
            plain = stream.read(limit + 1)
            if len(plain) <= limit:
                stream.read(1)  # the checksum at the end is looked at only when somebody reads that far
    if len(plain) > limit:
        raise SourceError(
            "the archive is too large once unpacked", advice="an archive of manifests is small: look at what was packed"
        )
    return plain


def _members(tar: tarfile.TarFile, limits: ArchiveLimits) -> Iterator[tuple[str, UnpackedFile]]:
    count = total = 0
    for member in tar:
        count += 1
        if count > limits.files:
            raise SourceError(f"the archive holds more than {limits.files} entries")
        path = safe_path(member.name, limits)
        if member.isdir():
            continue
        _only_plain(member)
        total += member.size
        if member.size > limits.one_file or total > limits.total:
            raise SourceError(f"{path!r} in the archive is too large ({member.size} bytes)")
        reader = tar.extractfile(member)
        content = reader.read() if reader else b""
        if len(content) != member.size:
            raise SourceError("the archive ends too early")
        if path:
            yield path, UnpackedFile(content, bool(member.mode & 0o100))


def _only_plain(member: tarfile.TarInfo) -> None:
    if member.issym() or member.islnk():
        raise SourceError(f"the archive holds a link, {member.name[:200]!r}", advice="pack the file itself")
    if not member.isreg() or member.issparse():
        raise SourceError(f"the archive holds something that is no plain file, {member.name[:200]!r}")


def safe_path(name: str, limits: ArchiveLimits | None = None) -> str:
    """An archive's path in its plain form (`./a//b` is `a/b`, the root is empty). Raises SourceError when it leads out or is not printable text."""
    bounds = limits or ArchiveLimits()
    if name.startswith("/") or "\\" in name or (len(name) > 1 and name[1] == ":"):
        raise SourceError(f"the archive holds an absolute path, {name[:200]!r}")
    parts = [part for part in name.split("/") if part not in {"", "."}]
    if any(part == ".." or part.lower() == ".git" for part in parts):
        raise SourceError(f"the archive holds a path that leads out of it or into Git's own files, {name[:200]!r}")
    if not name.isprintable() or len(name) > bounds.path or len(parts) > bounds.depth:
        raise SourceError(f"the archive holds a path that is too long or not printable, {name[:200]!r}")
    return "/".join(parts)


def _no_file_is_a_folder(files: dict[str, UnpackedFile]) -> None:
    for path in files:
        parent = path.rpartition("/")[0]
        while parent:
            if parent in files:
                raise SourceError(f"the archive holds {parent[:200]!r} both as a file and as a folder")
            parent = parent.rpartition("/")[0]


def _stripped(files: dict[str, UnpackedFile]) -> dict[str, UnpackedFile]:
    tops = {path.partition("/")[0] for path in files}
    if len(tops) != 1 or any("/" not in path for path in files):
        raise SourceError("the archive is no chart: a chart's files are in one folder that has its name")
    return {path.partition("/")[2]: file for path, file in files.items()}


def _short(error: Exception) -> str:
    return str(error)[:200] or type(error).__name__
