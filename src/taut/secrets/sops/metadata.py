"""The `sops` part of a file: who can read it, and how it was made."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from taut.secrets.sops.errors import SopsError

KINDS = ("age", "pgp", "kms", "gcp_kms", "azure_kv", "hc_vault", "hckms")
_STEP = re.compile(r"__(list|map)_")


@dataclass(frozen=True, slots=True)
class Recipient:
    """One who can read the file: the kind, and its fields as the file has them (`enc` is the wrapped key)."""

    kind: str
    fields: Mapping[str, Any]

    @property
    def name(self) -> str:
        """For people: a public key, a fingerprint, an ARN, an address."""
        f = self.fields
        match self.kind:
            case "age":
                return f"age {f.get('recipient')}"
            case "pgp":
                return f"PGP {f.get('fp')}"
            case "kms":
                return f"AWS KMS {f.get('arn')}"
            case "gcp_kms":
                return f"GCP KMS {f.get('resource_id')}"
            case "azure_kv":
                return f"Azure Key Vault {f.get('vault_url')}/keys/{f.get('name')}/{f.get('version')}"
            case "hc_vault":
                return f"Vault {f.get('vault_address')}/{f.get('engine_path')}/{f.get('key_name')}"
            case _:
                return self.kind


@dataclass(frozen=True, slots=True)
class Metadata:
    """`groups` are key groups; of more than one, `threshold` of them are needed."""

    fields: Mapping[str, Any]
    groups: tuple[tuple[Recipient, ...], ...]
    threshold: int

    @property
    def mac(self) -> str:
        """The encrypted MAC."""
        return str(self.fields.get("mac") or "")

    @property
    def modified(self) -> str:
        """When the file was changed last: the additional data of the MAC."""
        return str(self.fields.get("lastmodified") or "")

    @property
    def recipients(self) -> list[Recipient]:
        """All of them."""
        return [r for group in self.groups for r in group]


def parse(value: Any) -> Metadata:
    """The metadata of a file. Raises SopsError when it is missing or says nothing of who can read the file."""
    if not isinstance(value, dict):
        raise SopsError(
            "the file has no sops metadata: it is not encrypted, or was cut off",
            advice="encrypt it with `taut secrets encrypt`",
        )
    if not value.get("mac") or not value.get("lastmodified"):
        raise SopsError(
            "the sops metadata has no MAC or no date: the file was cut off", advice="restore the file from Git"
        )
    listed = value.get("key_groups")
    groups = [_group(g) for g in listed] if isinstance(listed, list) and listed else [_group(value)]
    groups = [g for g in groups if g]
    if not groups:
        raise SopsError("the sops metadata names nobody who could read the file", advice="restore the file from Git")
    threshold = _number(value.get("shamir_threshold")) or len(groups)
    if threshold > len(groups):
        raise SopsError(
            f"the file wants {threshold} key groups and has {len(groups)}", advice="restore the file from Git"
        )
    return Metadata(value, tuple(groups), threshold)


def _group(value: Any) -> tuple[Recipient, ...]:
    if not isinstance(value, dict):
        return ()
    return tuple(
        Recipient(kind, entry)
        for kind in KINDS
        if isinstance(listed := value.get(kind), list)
        for entry in listed
        if isinstance(entry, dict)
    )


def _number(value: Any) -> int:
    return int(value) if isinstance(value, int) or (isinstance(value, str) and value.isdigit()) else 0


def unflattened(pairs: Mapping[str, str]) -> dict[str, Any]:
    """The metadata of formats without nesting: `age__list_0__map_enc`. What cannot be read stays out."""
    root: dict[str, Any] = {}
    for key, value in pairs.items():
        parts = _STEP.split(key)
        steps: list[str | int] = [parts[0]]
        for kind, name in zip(parts[1::2], parts[2::2], strict=False):
            if kind == "list" and not name.isdigit():
                break
            steps.append(int(name) if kind == "list" else name)
        else:
            _put(root, steps, value.replace("\\n", "\n"))
    return _lists(root)


def _put(root: dict[Any, Any], steps: list[str | int], value: str) -> None:
    for step in steps[:-1]:
        root = root.setdefault(step, {})
    root[steps[-1]] = value


def _lists(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if value and all(isinstance(k, int) for k in value):
        return [_lists(value[k]) for k in sorted(value)]
    return {str(k): _lists(v) for k, v in value.items()}


def flattened(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """The metadata for formats without nesting."""
    for key, inner in value.items():
        yield from _flat(inner, prefix + key)


def _flat(value: Any, key: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _flat(inner, f"{key}__map_{name}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _flat(inner, f"{key}__list_{index}")
    elif value is not None and value is not False:
        yield key, str(value).replace("\n", "\\n") if not isinstance(value, bool) else "true"
