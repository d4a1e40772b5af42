"""The forge of the tests is real: Git, pull requests, a Helm repository, an OCI registry and an OIDC provider."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from servers.forge import Forge

pytestmark = pytest.mark.integration

CHART = b"apiVersion: v2\nname: tiny\nversion: 1.2.3\ndescription: nothing\n"


def chart() -> bytes:
    """A packaged chart."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        entry = tarfile.TarInfo("tiny/Chart.yaml")
        entry.size = len(CHART)
        archive.addfile(entry, io.BytesIO(CHART))
    return buffer.getvalue()


def test_a_pull_request_is_opened_and_merged(forge: Forge, tmp_path: Path) -> None:
    url = forge.create_repository("flow")
    file = {
        "content": base64.b64encode(b"x: 1\n").decode(),
        "branch": "main",
        "new_branch": "change",
        "message": "change",
    }
    forge.api("POST", f"/repos/{forge.user}/flow/contents/x.yaml", file)
    pull = forge.api("POST", f"/repos/{forge.user}/flow/pulls", {"title": "change", "head": "change", "base": "main"})
    sha = pull["head"]["sha"]
    forge.api("POST", f"/repos/{forge.user}/flow/statuses/{sha}", {"state": "success", "context": "taut"})
    assert forge.api("GET", f"/repos/{forge.user}/flow/commits/{sha}/status")["state"] == "success"
    assert forge.api("GET", f"/repos/{forge.user}/flow/pulls/{pull['number']}")["mergeable"] is not None
    alone = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_TERMINAL_PROMPT": "0", "PATH": os.environ["PATH"]}
    subprocess.run(["git", "clone", "-q", "-b", "change", url, str(tmp_path / "work")], env=alone, check=True)
    assert (tmp_path / "work/x.yaml").read_text() == "x: 1\n"


def test_charts_are_in_a_helm_repository(forge: Forge) -> None:
    forge.upload_chart(chart())
    status, index = forge.request("GET", f"/api/packages/{forge.user}/helm/index.yaml")
    assert status == 200
    assert b"tiny" in index
    assert b"1.2.3" in index


def test_artifacts_are_in_an_oci_registry(forge: Forge) -> None:
    name = f"/v2/{forge.user}/artifact"
    config, layer = b"{}", b"layer"
    for blob in (config, layer):
        digest = "sha256:" + hashlib.sha256(blob).hexdigest()
        assert forge.request("POST", f"{name}/blobs/uploads?digest={digest}", blob)[0] == 201
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("application/vnd.oci.empty.v1+json", config),
            "layers": [descriptor("application/octet-stream", layer)],
        }
    ).encode()
    content_type = {"Content-Type": "application/vnd.oci.image.manifest.v1+json", "Authorization": forge.basic}
    assert forge.request("PUT", f"{name}/manifests/1.0", manifest, content_type)[0] == 201
    status, answer = forge.request("GET", f"{name}/manifests/1.0", headers=content_type)
    assert (status, answer) == (200, manifest)


def descriptor(media_type: str, blob: bytes) -> dict[str, str | int]:
    return {"mediaType": media_type, "size": len(blob), "digest": "sha256:" + hashlib.sha256(blob).hexdigest()}


def test_it_is_an_oidc_provider(forge: Forge) -> None:
    status, answer = forge.request("GET", "/.well-known/openid-configuration", headers={})
    assert status == 200
    assert json.loads(answer)["issuer"].rstrip("/") == forge.url
