"""A Helm repository's index: read, kept in a small form, searched. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

import yamlrocks

from taut.clients.urls import is_loopback, joined, origin_of, shown
from taut.model.errors import SourceError, Where
from taut.sources.semver_range import best_version, is_range, parse_range

_SHA256 = re.compile(r"(?:sha256:)?([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class ChartVersion:
    """One version of a chart, as the index tells it. `digest` is 64 hex digits, or empty when the index has none."""

    version: str
    urls: tuple[str, ...]
    digest: str = ""


type Index = dict[str, tuple[ChartVersion, ...]]


def parse_index(data: bytes, where: Where) -> Index:
    """Read an index.yaml (or JSON). Entries that make no sense are left out, as Helm does; SourceError when it is no index at all."""
    try:
        body = yamlrocks.loads(data, option=yamlrocks.OPT_YAML_1_1)
    except (yamlrocks.YAMLRocksError, ValueError, RecursionError) as error:
        raise SourceError(
            f"the Helm repository's index cannot be read: {str(error).splitlines()[0][:200]}", where=where
        ) from None
    entries = body.get("entries") if isinstance(body, dict) else None
    if not isinstance(entries, dict):
        raise SourceError(
            "there is no Helm index at this address",
            where=where,
            advice="check the repository's URL: index.yaml must be below it",
        )
    return {str(name): _versions(listed) for name, listed in entries.items() if isinstance(listed, list)}


def _versions(listed: list[object]) -> tuple[ChartVersion, ...]:
    found: list[ChartVersion] = []
    for raw in listed:
        if not isinstance(raw, dict) or raw.get("removed") is True:
            continue
        urls = raw.get("urls")
        texts = tuple(url for url in urls if isinstance(url, str)) if isinstance(urls, list) else ()
        digest = _SHA256.fullmatch(str(raw.get("digest") or ""))
        if raw.get("version") is not None and texts:
            found.append(ChartVersion(str(raw["version"]), texts, digest[1] if digest else ""))
    return tuple(found)


def choose(index: Index, chart: str, wanted: str | None, where: Where) -> ChartVersion:
    """The version of a chart that fits best: the exact one, else the highest in the range; no version at all means the highest stable one.

    Raises SourceError when the chart is not there, or no version fits.
    """
    versions = index.get(chart)
    if not versions:
        raise SourceError(
            f"the Helm repository has no chart {chart[:200]!r}", where=where, advice="check the chart's name"
        )
    text = (wanted or "*").strip()
    by_name: dict[str, ChartVersion] = {}
    for version in versions:
        by_name.setdefault(version.version, version)
    if text in by_name:
        return by_name[text]
    best = best_version(by_name, parse_range(text)) if is_range(text) else None
    if best is None:
        some, more = ", ".join(list(by_name)[:3]), len(by_name) - 3
        advice = f"it has {some}" + (f" and {more} more" if more > 0 else "")
        raise SourceError(f"the chart {chart!r} has no version {text[:100]!r}", where=where, advice=advice)
    return by_name[best]


def chart_url(repository: str, url: str) -> str:
    """Where a chart is: an address in the index may be relative to the repository's. Raises SourceError for one on this machine, unless
    the repository is here too: who writes an index must not have taut call its neighbours."""
    found = joined(repository.rstrip("/") + "/", url)
    try:
        there, here = origin_of(found), origin_of(repository)
    except ValueError:
        return found  # whoever asks for it says what is wrong with it
    if is_loopback(there.host) and not is_loopback(here.host):
        raise SourceError("the index says that the chart is on this machine", where=Where(shown(repository)))
    return found
