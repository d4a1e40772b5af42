"""How each component of the control plane is called. Pure: settings in, command lines and file contents out."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CONTROLLER_MANAGER = "kube-controller-manager"
SCHEDULER = "kube-scheduler"
KWOK = "kwok"
ADMIN = "admin"

USERS = {
    ADMIN: "localplane:admin",
    CONTROLLER_MANAGER: "system:kube-controller-manager",
    SCHEDULER: "system:kube-scheduler",
    KWOK: "localplane:kwok",
}
"""Who signs in with a token of their own; all are administrators of this cluster, and the audit log tells them apart."""

SERVICE_ADDRESSES = "10.0.0.0/16"
SERVER_NAMES = (
    "127.0.0.1",
    "localhost",
    "10.0.0.1",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)

# The etcd socket is a file of the private folder, relative to the components' working folder: no port, no password, and a
# path of any length.
_ETCD = "unix://etcd.sock"
# Where the API server says it is reached; endpoints may not be loopback addresses, so one kept for documentation.
_ADVERTISED = "192.0.2.1"
# The controller manager and the scheduler throttle themselves to 20 and 50 requests a second by default.
_UNTHROTTLED = (
    "--kube-api-qps=2000",
    "--kube-api-burst=4000",
    "--leader-elect=false",
    "--secure-port=0",
    "--profiling=false",
)
_BUSY_CONTROLLERS = (
    "deployment",
    "replicaset",
    "statefulset",
    "daemonset",
    "job",
    "endpoint",
    "service-endpoint",
    "namespace",
)


@dataclass(frozen=True, slots=True)
class Settings:
    """What one control plane is to be. Written as JSON for the supervisor."""

    name: str
    binaries: str
    """The folder of the programs."""
    audit: bool = False
    keep: bool = False
    """Whether the data outlive the processes."""
    port: int = 0
    """The port that is tried first; 0 takes any."""
    apiserver_args: tuple[str, ...] = ()

    def to_json(self) -> str:
        """The form that `from_json` reads."""
        return json.dumps({field: getattr(self, field) for field in self.__dataclass_fields__}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Settings:
        """Read what `to_json` wrote."""
        data: dict[str, Any] = json.loads(text)
        data["apiserver_args"] = tuple(data["apiserver_args"])
        return cls(**data)


def etcd() -> list[str]:
    """The data are as safe as the machine's memory: after kill -9 they are whole, after a power cut perhaps not."""
    return [
        "etcd",
        "--data-dir=etcd",
        f"--listen-client-urls={_ETCD}",
        f"--advertise-client-urls={_ETCD}",
        "--listen-peer-urls=unix://peer.sock",
        "--initial-advertise-peer-urls=unix://peer.sock",
        "--initial-cluster=default=unix://peer.sock",
        "--unsafe-no-fsync",
        "--log-level=warn",
        "--quota-backend-bytes=4294967296",
    ]


def apiserver(settings: Settings) -> list[str]:
    """The API server; its socket comes from the supervisor."""
    audit = (
        ["--audit-log-path=audit.log", "--audit-log-maxsize=4000", "--audit-policy-file=audit-policy.json"]
        if settings.audit
        else []
    )
    return [
        "kube-apiserver",
        f"--etcd-servers={_ETCD}",
        "--bind-address=127.0.0.1",
        f"--advertise-address={_ADVERTISED}",
        "--endpoint-reconciler-type=none",
        "--tls-cert-file=server.crt",
        "--tls-private-key-file=server.key",
        "--client-ca-file=ca.crt",
        "--token-auth-file=tokens.csv",
        "--authorization-mode=RBAC",
        "--service-account-key-file=sa.pub",
        "--service-account-signing-key-file=sa.key",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-cluster-ip-range={SERVICE_ADDRESSES}",
        # Pods here run nothing that could use a token, and without this plugin they need not wait for their service account.
        "--disable-admission-plugins=ServiceAccount",
        "--enable-priority-and-fairness=false",
        "--max-requests-inflight=2000",
        "--max-mutating-requests-inflight=1000",
        "--profiling=false",
        *audit,
        *settings.apiserver_args,
    ]


def controller_manager() -> list[str]:
    """Every controller that works without a cloud, with more workers than usual."""
    return [
        CONTROLLER_MANAGER,
        f"--kubeconfig={CONTROLLER_MANAGER}.kubeconfig",
        *_UNTHROTTLED,
        "--service-account-private-key-file=sa.key",
        "--root-ca-file=ca.crt",
        "--use-service-account-credentials=false",
        "--controllers=*,-nodeipam,-attachdetach",
        *(f"--concurrent-{controller}-syncs=20" for controller in _BUSY_CONTROLLERS),
    ]


def scheduler() -> list[str]:
    """The scheduler."""
    return [SCHEDULER, f"--kubeconfig={SCHEDULER}.kubeconfig", *_UNTHROTTLED]


def kwok(settings: Settings) -> list[str]:
    """The fake kubelet of all nodes."""
    return [
        f"--kubeconfig={KWOK}.kubeconfig",
        f"--config={settings.binaries}/stages.yaml",
        "--manage-all-nodes=true",
        "--node-lease-duration-seconds=40",
        "--v=WARN",
    ]


def audit_policy() -> str:
    """One line for each finished request, without bodies."""
    return json.dumps(
        {
            "apiVersion": "audit.k8s.io/v1",
            "kind": "Policy",
            "omitStages": ["RequestReceived"],
            "rules": [{"level": "Metadata"}],
        }
    )


def token_file(tokens: Mapping[str, str]) -> str:
    """The API server's static tokens: token, user, uid, groups."""
    return "".join(f'{token},{USERS[who]},{who},"system:masters"\n' for who, token in tokens.items())


def read_token_file(text: str) -> dict[str, str]:
    """Who has which token, by the text that `token_file` made."""
    lines = [line.split(",") for line in text.splitlines()]
    return {line[2]: line[0] for line in lines if len(line) > 2}


def kubeconfig(*, name: str, server: str, ca: bytes, token: str) -> str:
    """A kubeconfig (JSON, which is YAML too) that verifies the server by `ca` (PEM)."""
    cluster = {"server": server, "certificate-authority-data": base64.b64encode(ca).decode()}
    config: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": {"token": token}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }
    return json.dumps(config, indent=1) + "\n"


def defaults() -> list[tuple[str, dict[str, Any]]]:
    """What every cluster has from the start, with the path each is applied at: one large node and a default class of volumes."""
    size = {"cpu": "6400", "memory": "2560Gi", "pods": "100000", "ephemeral-storage": "10Ti"}
    labels = {
        "kubernetes.io/hostname": "node-1",
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "type": "kwok",
    }
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-1", "labels": labels}}
    storage = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": "standard", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": "localplane.taut.dev/volumes",
        "reclaimPolicy": "Delete",
        "allowVolumeExpansion": True,
        "volumeBindingMode": "Immediate",
    }
    return [
        ("/api/v1/nodes/node-1", node),
        ("/api/v1/nodes/node-1/status", node | {"status": {"allocatable": size, "capacity": size}}),
        ("/apis/storage.k8s.io/v1/storageclasses/standard", storage),
    ]
