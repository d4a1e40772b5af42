"""Whether a chart asks what its target can do."""

from __future__ import annotations

import gzip
import io
import os
import tarfile

import pytest

from taut.render.asking import asks

QUIET = ("templates/a.yaml", b"kind: ConfigMap\nmetadata: {name: {{ .Release.Name }}}\n")
ASKING = b'{{ if .Capabilities.APIVersions.Has "route.example.test/v1" }}'


def archive(*contents: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as out:
        for number, data in enumerate(contents):
            info = tarfile.TarInfo(f"sub/templates/{number}.yaml")
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))
    return packed.getvalue()


@pytest.mark.parametrize(
    ("path", "data", "expected"),
    [
        ("templates/b.yaml", b"kind: Service", False),
        ("templates/b.yaml", ASKING, True),
        ("Chart.yaml", b'kubeVersion: ">=1.30"', True),
        ("parameter x", b"{{ $.Capabilities.KubeVersion }}", True),
        ("charts/sub-1.0.0.tgz", archive(b"kind: Service"), False),
        ("charts/sub-1.0.0.tgz", archive(b"kind: Service", ASKING), True),
        ("charts/sub-1.0.0.tar.gz", archive(b"x" * (256 * 1024 - 1024 - 515) + ASKING), True),
        ("charts/sub-1.0.0.tgz", b"no archive", True),
        ("charts/sub-1.0.0.tgz", archive(os.urandom(4096))[:2000], True),
        ("charts/bomb-1.0.0.tgz", gzip.compress(bytes(70 * 1024 * 1024), 1), True),
    ],
)
def test_a_chart_asks_where_it_says_so(path: str, data: bytes, expected: bool) -> None:
    assert asks([QUIET, (path, data)]) is expected
