"""Whether a chart asks what its target can do: only then does its result depend on the target's version and kinds."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterable
from gzip import GzipFile

_WORDS = (b"Capabilities", b"kubeVersion")
"""What a template must say to ask, and what Chart.yaml says where it does not take every Kubernetes."""
_ARCHIVES = (".tgz", ".tar.gz")
_MOST = 64 * 1024 * 1024
"""Bytes that are looked through in one archive; a larger one counts as asking."""
_PIECE = 256 * 1024


def asks(files: Iterable[tuple[str, bytes]]) -> bool:
    """Whether any of these files (path, content) could ask. Archives are looked into; one that cannot be read counts as asking."""
    return any(_packed(data) if path.endswith(_ARCHIVES) else _says(data) for path, data in files)


def _says(data: bytes) -> bool:
    return any(word in data for word in _WORDS)


def _packed(data: bytes) -> bool:
    """A tar's content is in it as it is, so the words can be looked for without unpacking it."""
    seen, rest = 0, b""
    overlap = max(map(len, _WORDS)) - 1
    try:
        with GzipFile(fileobj=io.BytesIO(data)) as archive:
            while piece := archive.read(_PIECE):
                seen += len(piece)
                if seen > _MOST or _says(rest + piece):
                    return True
                rest = piece[-overlap:]
    except (OSError, EOFError, zlib.error):
        return True
    return False
