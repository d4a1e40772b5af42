"""OCI artifacts as trees: Flux's artifacts, Helm charts, tarballs, and single files."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from taut.clients.credentials import Credentials
from taut.clients.oci import Descriptor, OciClient, OciManifest, OciNotFoundError, OciReference, is_digest
from taut.model.errors import SourceError, Where
from taut.sources.archive import ArchiveLimits, UnpackedFile, safe_path, unpack
from taut.sources.semver_range import best_version, is_range, parse_range, parse_version

HELM_CONTENT = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
_TAR = (".tar", ".tar+gzip", ".tar.gzip", "/gzip", "/x-gzip", "/x-tar", "+gzip")
_IGNORED = ("application/vnd.cncf.helm.chart.provenance", "application/vnd.oci.empty")
_TITLE = "org.opencontainers.image.title"
_UNPACK = "io.deis.oras.content.unpack"
_MOST_LAYERS = 200


@dataclass(frozen=True, slots=True)
class ResolvedArtifact:
    """A manifest and the tag that led to it (empty when it was asked for by digest)."""

    manifest: OciManifest
    tag: str


async def resolve_artifact(
    client: OciClient, reference: OciReference, ref: str | None, credentials: Credentials | None
) -> ResolvedArtifact:
    """Find what `ref` names: a digest, a tag, or a range of versions among the tags. None: the reference's own digest or tag, else `latest`.

    A tag that exists wins over a range. `+` in versions is `_` in tags, as Helm writes them.
    """
    wanted = ref or reference.digest or reference.tag or "latest"
    if is_digest(wanted):
        return ResolvedArtifact(await client.manifest(reference, wanted, credentials), "")
    tag = wanted.replace("+", "_")
    exact = parse_version(wanted) is not None
    if exact or not is_range(wanted):
        try:
            return ResolvedArtifact(await client.manifest(reference, tag, credentials), tag)
        except OciNotFoundError:
            if not exact:
                raise
    found = _best_tag(await client.tags(reference, credentials), wanted, tag)
    if found is None:
        raise SourceError(
            f"the registry has no tag {wanted!r}" if exact else f"no tag is in the range {wanted!r}",
            where=Where(reference.url),
            advice="pre-releases count only when the range names one",
        )
    return ResolvedArtifact(await client.manifest(reference, found, credentials), found)


def _best_tag(tags: list[str], wanted: str, tag: str) -> str | None:
    if tag in tags:
        return tag
    by_version = {candidate.replace("_", "+"): candidate for candidate in tags}
    best = best_version(by_version, parse_range(wanted))
    return by_version[best] if best else None


async def artifact_files(
    client: OciClient,
    reference: OciReference,
    manifest: OciManifest,
    credentials: Credentials | None,
    limits: ArchiveLimits,
) -> dict[str, UnpackedFile]:
    """The files of an artifact: a chart's without its top folder; of several layers the later ones win.

    Raises SourceError for what is no artifact of files, such as a container image's layers with deletions in them.
    """
    where = Where(f"{reference.url}@{manifest.digest}")
    chart = [layer for layer in manifest.layers if layer.media_type == HELM_CONTENT]
    layers = chart or [layer for layer in manifest.layers if not layer.media_type.startswith(_IGNORED)]
    if len(layers) > _MOST_LAYERS:
        raise SourceError(f"the artifact has more than {_MOST_LAYERS} layers", where=where, advice="push it as one")
    files: dict[str, UnpackedFile] = {}
    packed = unpacked = count = 0
    for layer in layers:
        # What the manifest says of sizes is only good for saying no early: what came is counted.
        if packed + max(layer.size, 0) > limits.total:
            raise SourceError(f"the artifact is larger than {limits.total} bytes", where=where)
        data = await client.blob(reference, layer, credentials, limit=limits.total - packed)
        packed += len(data)
        left = replace(limits, total=limits.total - unpacked, files=limits.files - count)
        found = await asyncio.to_thread(_layer_files, layer, data, left, where)
        unpacked += sum(len(file.content) for file in found.values())
        count += len(found)
        files |= found
    if not files:
        raise SourceError("the artifact holds no files", where=where)
    return files


def _layer_files(layer: Descriptor, data: bytes, limits: ArchiveLimits, where: Where) -> dict[str, UnpackedFile]:
    title = layer.annotations.get(_TITLE, "")
    is_tar = layer.media_type.endswith(_TAR) or layer.annotations.get(_UNPACK) == "true"
    if layer.media_type == HELM_CONTENT:
        return unpack(data, limits=limits, strip_top=True)
    if is_tar and (
        not title or layer.annotations.get(_UNPACK) == "true" or title.endswith((".tgz", ".tar.gz", ".tar"))
    ):
        files = unpack(data, limits=limits)
        if any(path.rpartition("/")[2].startswith(".wh.") for path in files):
            raise SourceError(
                "this is a container image whose layers delete files",
                where=where,
                advice="push the manifests as an artifact",
            )
        return files
    if title and (path := safe_path(title)):
        return {path: UnpackedFile(data)}
    raise SourceError(
        f"layers of the type {layer.media_type[:100]!r} are not read", where=where, advice="push a tar+gzip layer"
    )
