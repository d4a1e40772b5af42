"""`.sops.yaml`: who is to read which files (SOPS, creation rules)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from taut.documents.yaml import load_one
from taut.model.errors import Where
from taut.secrets.sops.errors import SopsError
from taut.secrets.sops.expressions import found
from taut.secrets.sops.metadata import Metadata, Recipient
from taut.secrets.sops.wrap import Wanted

NAME = ".sops.yaml"
_SELECTIONS = ("unencrypted_suffix", "encrypted_suffix", "unencrypted_regex", "encrypted_regex")


@dataclass(frozen=True, slots=True)
class Rule:
    """How a file is encrypted. `selection` has at most one entry; empty: all but keys that end with `_unencrypted`."""

    groups: tuple[Wanted, ...] = ()
    threshold: int = 0
    selection: Mapping[str, str] = field(default_factory=dict[str, str])
    mac_only_encrypted: bool = False


def rule_for(file: Path) -> Rule | None:
    """The first rule of the nearest `.sops.yaml` that fits a file: in its folder or above, up to the repository's. None when there is no such
    document. Raises SopsError when it has no rule for the file, or cannot be read.
    """
    here = file.resolve().parent
    for folder in (here, *here.parents):
        path = folder / NAME
        if path.is_file():
            return _rule(path, file.resolve().relative_to(folder).as_posix())
        if (folder / ".git").exists():
            return None
    return None


def _rule(path: Path, name: str) -> Rule:
    document = load_one(path.read_bytes(), file=str(path))
    listed = document.get("creation_rules") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise SopsError("there are no creation_rules", where=Where(file=str(path)))
    for index, entry in enumerate(listed):
        if not isinstance(entry, dict):
            raise SopsError("a rule has to be a mapping", where=Where(file=str(path), field=f"creation_rules[{index}]"))
        try:
            fits = found(str(entry.get("path_regex") or ""), name)
        except SopsError as error:
            raise SopsError(error.what, where=Where(file=str(path), field=f"creation_rules[{index}]")) from None
        if fits:
            return rule_of(entry)
    raise SopsError(
        f"no rule fits the file {name}", where=Where(file=str(path)), advice="add a rule with a path_regex for it"
    )


def rule_of(entry: Mapping[str, Any]) -> Rule:
    """A creation rule as it is written."""
    groups = entry.get("key_groups")
    wanted = tuple(_wanted(g) for g in groups) if isinstance(groups, list) and groups else (_wanted(entry),)
    _refuse_comments(entry)
    selection = {k: str(entry[k]) for k in _SELECTIONS if entry.get(k)}
    if len(selection) > 1:
        raise SopsError(f"only one of {', '.join(sorted(selection))} can hold for a file")
    threshold = entry.get("shamir_threshold") or 0
    if not isinstance(threshold, int):
        raise SopsError("shamir_threshold has to be a number")
    return Rule(wanted, threshold, selection, bool(entry.get("mac_only_encrypted")))


def _refuse_comments(fields: Mapping[str, Any]) -> None:
    for name in ("encrypted_comment_regex", "unencrypted_comment_regex"):
        if fields.get(name):
            raise SopsError(
                f"{name} is read, and not written: which values are encrypted would be another choice than the file's",
                advice="use the sops program to write this file",
            )


def _wanted(entry: Mapping[str, Any]) -> Wanted:
    vault = entry.get("hc_vault_transit_uri") or entry.get("hc_vault") or ()
    kms = entry.get("kms") or ()
    arns = [k.get("arn") if isinstance(k, dict) else k for k in kms] if isinstance(kms, list) else kms
    gcp = [k.get("resource_id") if isinstance(k, dict) else k for k in _listed(entry.get("gcp_kms"))]
    azure = entry.get("azure_keyvault") or [
        f"{k.get('vaultUrl') or k.get('vault_url')}/keys/{k.get('key') or k.get('name')}/{k.get('version')}"
        if isinstance(k, dict)
        else k
        for k in _listed(entry.get("azure_kv"))
    ]
    return Wanted(
        _names(entry.get("age")), _names(entry.get("pgp")), _names(arns), _names(vault), _names(gcp), _names(azure)
    )


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else value.split(",") if isinstance(value, str) else []


def _names(value: Any) -> tuple[str, ...]:
    """A list, or a text with commas."""
    listed = value.split(",") if isinstance(value, str) else value if isinstance(value, list | tuple) else ()
    return tuple(str(v).strip() for v in listed if v and str(v).strip())


_KNOWN = frozenset({"age", "pgp", "kms", "hc_vault", "gcp_kms", "azure_kv"})


def rule_of_metadata(metadata: Metadata) -> Rule:
    """A rule that encrypts for the recipients that a file has. Raises SopsError where the key cannot be wrapped for one of them."""
    for recipient in metadata.recipients:
        if recipient.kind not in _KNOWN:
            raise SopsError(
                f"the key cannot be wrapped for {recipient.name}", advice="use the sops program for this file"
            )
    _refuse_comments(metadata.fields)
    selection = {k: str(metadata.fields[k]) for k in _SELECTIONS if metadata.fields.get(k)}
    only = str(metadata.fields.get("mac_only_encrypted") or "").lower() == "true"
    return Rule(tuple(_wanted_of(g) for g in metadata.groups), metadata.threshold, selection, only)


def _wanted_of(group: Sequence[Recipient]) -> Wanted:
    def of(kind: str) -> list[Recipient]:
        return [r for r in group if r.kind == kind]

    kms = [str(r.fields["arn"]) + (f"+{r.fields['role']}" if r.fields.get("role") else "") for r in of("kms")]
    context = next((dict(r.fields["context"]) for r in of("kms") if r.fields.get("context")), {})
    vault = [
        f"{r.fields['vault_address']}/v1/{r.fields['engine_path']}/keys/{r.fields['key_name']}" for r in of("hc_vault")
    ]
    return Wanted(
        tuple(str(r.fields["recipient"]) for r in of("age")),
        tuple(str(r.fields["fp"]) for r in of("pgp")),
        tuple(kms),
        tuple(vault),
        tuple(str(r.fields["resource_id"]) for r in of("gcp_kms")),
        tuple(f"{r.fields['vault_url']}/keys/{r.fields['name']}/{r.fields['version']}" for r in of("azure_kv")),
        tuple((str(k), str(v)) for k, v in sorted(context.items())),
    )


def changed(rule: Rule, more: Wanted, less: frozenset[str]) -> Rule:
    """A rule with further recipients in its first group, and without those in `less`. Raises SopsError for one that is not there."""
    every = {name for g in rule.groups for name in (*g.age, *g.pgp, *g.kms, *g.vault, *g.gcp, *g.azure)}
    if unknown := less - every:
        raise SopsError(f"{min(unknown)} is no recipient of the file")

    def kept(*names: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(n for n in names if n not in less))

    nobody = Wanted()
    groups = [_joined(g, more if i == 0 else nobody, kept) for i, g in enumerate(rule.groups)]
    return Rule(tuple(g for g in groups if not g.empty), rule.threshold, rule.selection, rule.mac_only_encrypted)


def _joined(group: Wanted, more: Wanted, kept: Callable[..., tuple[str, ...]]) -> Wanted:
    return Wanted(
        kept(*group.age, *more.age),
        kept(*group.pgp, *more.pgp),
        kept(*group.kms, *more.kms),
        kept(*group.vault, *more.vault),
        kept(*group.gcp, *more.gcp),
        kept(*group.azure, *more.azure),
        group.context,
    )
