"""Charts and artifacts, packed and pushed the way the ecosystem's tools do it."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import tarfile
from typing import Any

from servers.forge import Forge

HELM_CONFIG = "application/vnd.cncf.helm.config.v1+json"
HELM_CONTENT = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
FLUX_CONFIG = "application/vnd.cncf.flux.config.v1+json"
FLUX_CONTENT = "application/vnd.cncf.flux.content.v1.tar+gzip"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"


def tgz(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))
    return gzip.compress(buffer.getvalue(), mtime=0)


def chart(name: str, version: str, files: dict[str, str] | None = None) -> bytes:
    """A packaged chart."""
    about = f"apiVersion: v2\nname: {name}\nversion: {version}\n"
    contents = {"Chart.yaml": about, "templates/cm.yaml": f"# {name} {version}\n", **(files or {})}
    return tgz({f"{name}/{path}": text for path, text in contents.items()})


def sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def descriptor(media_type: str, data: bytes, **annotations: str) -> dict[str, Any]:
    found: dict[str, Any] = {"mediaType": media_type, "digest": sha256(data), "size": len(data)}
    return {**found, "annotations": annotations} if annotations else found


class Pusher:
    """Pushes to the forge's registry, signed in as its administrator."""

    def __init__(self, forge: Forge, name: str) -> None:
        self._forge = forge
        self._repository = f"{forge.user}/{name}"
        self.url = f"oci://{forge.registry}/{self._repository}"
        scope = f"repository:{self._repository}:push,pull"
        basic = "Basic " + base64.b64encode(f"{forge.user}:{forge.password}".encode()).decode()
        status, answer = forge.request(
            "GET", f"/v2/token?service=container_registry&scope={scope}", headers={"Authorization": basic}
        )
        assert status == 200, answer
        self._headers = {"Authorization": "Bearer " + json.loads(answer)["token"]}

    def blob(self, data: bytes) -> None:
        path = f"/v2/{self._repository}/blobs/uploads/?digest={sha256(data)}"
        status, answer = self._forge.request(
            "POST", path, data, {**self._headers, "Content-Type": "application/octet-stream"}
        )
        assert status == 201, answer

    def manifest(self, reference: str, body: dict[str, Any]) -> str:
        data = json.dumps(body).encode()
        path = f"/v2/{self._repository}/manifests/{reference or sha256(data)}"
        status, answer = self._forge.request("PUT", path, data, {**self._headers, "Content-Type": body["mediaType"]})
        assert status == 201, answer
        return sha256(data)

    def artifact(
        self, tag: str, config_type: str, *layers: tuple[str, bytes], config: bytes = b"{}", **annotations: str
    ) -> str:
        """Push an artifact; its digest comes back."""
        for data in (config, *(data for _, data in layers)):
            self.blob(data)
        return self.manifest(
            tag,
            {
                "schemaVersion": 2,
                "mediaType": OCI_MANIFEST,
                "config": descriptor(config_type, config),
                "layers": [descriptor(media_type, data) for media_type, data in layers],
                "annotations": annotations,
            },
        )

    def chart(self, name: str, version: str) -> str:
        config = json.dumps({"name": name, "version": version, "apiVersion": "v2"}).encode()
        return self.artifact(
            version.replace("+", "_"), HELM_CONFIG, (HELM_CONTENT, chart(name, version)), config=config
        )
