"""How to reach a cluster and as whom: kubeconfig files, or the service account of the Pod that taut runs in."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from taut.clients.kubernetes.credentials import Credentials, Fixed, TokenFile
from taut.clients.kubernetes.kubeconfig import Kubeconfig, Named, bytes_of, load, merge
from taut.clients.kubernetes.proxy import proxy_from_environment
from taut.clients.kubernetes.signin import credentials_of
from taut.clients.kubernetes.tls import Tls
from taut.model.errors import BadInput, Where

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True, slots=True)
class Impersonation:
    """Whom the API server shall take a request for. `extra` maps a key to its values."""

    user: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def service_account(namespace: str, name: str) -> Impersonation:
    """Impersonate a service account, with the groups that the API server itself gives it."""
    return Impersonation(
        f"system:serviceaccount:{namespace}:{name}",
        ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"),
    )


@dataclass(frozen=True)
class ClusterConfig:
    """One cluster, ready to be talked to. `server` has no slash at its end; `namespace` is the context's."""

    server: str
    tls: Tls
    credentials: Credentials
    impersonate: Impersonation | None = None
    proxy: str = ""
    namespace: str = "default"
    context: str = ""
    compress: bool = True
    """Whether answers may come compressed (disable-compression)."""
    guarded: bool = False
    """Whether a document of a repository names the server: then it may not lead to clouds' metadata, nor to this machine by another name."""


def load_config(
    kubeconfig: str | Path | None = None,
    context: str | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    service_account_folder: Path = SERVICE_ACCOUNT,
) -> ClusterConfig:
    """Find and read the configuration of a cluster.

    In this order: the file that is named; the files of KUBECONFIG, or `~/.kube/config`, merged as kubectl does; the service account
    of the Pod. Raises BadInput when there is none of them, or when what is there cannot be meant.
    """
    env = os.environ if environ is None else environ
    if kubeconfig is not None:
        return from_kubeconfig(load(Path(kubeconfig).expanduser()), context, environ=env)
    names = [n for n in env.get("KUBECONFIG", "").split(os.pathsep) if n]
    files = [Path(n).expanduser() for n in names] or [Path(env.get("HOME") or "~").expanduser() / ".kube" / "config"]
    found = [load(f) for f in files if f.exists()]
    if found:
        return from_kubeconfig(merge(found), context, environ=env)
    if env.get("KUBERNETES_SERVICE_HOST") and context is None:
        return in_cluster(environ=env, folder=service_account_folder)
    raise BadInput(
        "there is no configuration for a cluster",
        where=Where(file=os.pathsep.join(str(f) for f in files)),
        advice="name a kubeconfig, set KUBECONFIG, or run taut inside the cluster",
    )


def in_cluster(*, environ: Mapping[str, str], folder: Path = SERVICE_ACCOUNT) -> ClusterConfig:
    """The configuration of a Pod: its service account's token, read again each minute, and the cluster's CA."""
    host, port = environ.get("KUBERNETES_SERVICE_HOST", ""), environ.get("KUBERNETES_SERVICE_PORT", "443")
    try:
        ca = (folder / "ca.crt").read_bytes()
    except OSError as e:
        raise BadInput(
            f"the service account cannot be read: {e.strerror}",
            where=Where(file=str(folder / "ca.crt")),
            advice="let the Pod mount its service account token (automountServiceAccountToken)",
        ) from e
    namespace = folder / "namespace"
    return ClusterConfig(
        server=f"https://{f'[{host}]' if ':' in host else host}:{port}",
        tls=Tls(ca),
        credentials=TokenFile(folder / "token"),
        namespace=namespace.read_text().strip() if namespace.exists() else "default",
        context="in-cluster",
    )


def from_kubeconfig(config: Kubeconfig, context: str | None, *, environ: Mapping[str, str]) -> ClusterConfig:
    """Read one context (default: the current one) of a kubeconfig. Raises BadInput, which names file and field."""
    name = context or config.current_context
    if not name:
        raise BadInput(
            "the kubeconfig has no current context",
            where=Where(file=config.files),
            advice=f"choose one: {', '.join(sorted(config.contexts)) or 'it has none'}",
        )
    chosen = _named(config, config.contexts, name, "context")
    cluster = _named(config, config.clusters, str(chosen.value.get("cluster") or ""), "cluster")
    user_name = str(chosen.value.get("user") or "")
    user = _named(config, config.users, user_name, "user") if user_name else Named(user_name, {}, chosen.file)
    server = _server(cluster)
    tls = _tls(cluster, server)
    return ClusterConfig(
        server=server,
        tls=tls,
        credentials=credentials_of(user, cluster=_cluster_info(cluster, server, tls)) if user.value else Fixed(),
        impersonate=_impersonation(user),
        proxy=_proxy(cluster, server, environ),
        namespace=str(chosen.value.get("namespace") or "default"),
        context=name,
        compress=not cluster.value.get("disable-compression"),
    )


def _named(config: Kubeconfig, entries: Mapping[str, Named], name: str, what: str) -> Named:
    found = entries.get(name)
    if found is None:
        raise BadInput(
            f"the kubeconfig has no {what} {name!r}",
            where=Where(file=config.files),
            advice=f"it has {', '.join(sorted(entries)) or 'none'}",
        )
    return found


def _server(cluster: Named) -> str:
    server = str(cluster.value.get("server") or "").rstrip("/")
    if urlsplit(server).scheme not in ("https", "http") or not urlsplit(server).hostname:
        raise BadInput(
            f"the server {server!r} of cluster {cluster.name!r} is no URL",
            where=Where(file=str(cluster.file), field="clusters.cluster.server"),
            advice="write it like https://host:6443",
        )
    return server


def _tls(cluster: Named, server: str) -> Tls:
    ca = bytes_of(cluster, "certificate-authority")
    insecure = bool(cluster.value.get("insecure-skip-tls-verify"))
    if insecure and ca:
        raise BadInput(
            "the cluster has a certificate authority and is to be trusted without",
            where=Where(file=str(cluster.file), field="clusters.cluster.insecure-skip-tls-verify"),
            advice="take out one of the two",
        )
    if not server.startswith("https:"):
        return Tls()
    return Tls(ca, str(cluster.value.get("tls-server-name") or ""), insecure)


def _cluster_info(cluster: Named, server: str, tls: Tls) -> dict[str, Any]:
    """What an exec plugin is told with provideClusterInfo."""
    info: dict[str, Any] = {"server": server}
    if tls.server_name:
        info["tls-server-name"] = tls.server_name
    if tls.insecure:
        info["insecure-skip-tls-verify"] = True
    if tls.ca:
        info["certificate-authority-data"] = base64.b64encode(tls.ca).decode()
    if cluster.value.get("proxy-url"):
        info["proxy-url"] = str(cluster.value["proxy-url"])
    for extension in cluster.value.get("extensions") or ():
        if extension.get("name") == "client.authentication.k8s.io/exec":
            info["config"] = extension.get("extension")
    return info


def _proxy(cluster: Named, server: str, environ: Mapping[str, str]) -> str:
    proxy = str(cluster.value.get("proxy-url") or "") or proxy_from_environment(server, environ)
    if proxy and urlsplit(proxy).scheme not in ("http", "https", "socks5"):
        raise BadInput(
            "the proxy is reached by http, https or socks5",
            where=Where(file=str(cluster.file), field="clusters.cluster.proxy-url"),
            advice="write it like http://host:3128",
        )
    if proxy.startswith("socks5:") and cluster.value.get("tls-server-name"):
        raise BadInput(
            "tls-server-name does not work through a socks5 proxy",
            where=Where(file=str(cluster.file), field="clusters.cluster.tls-server-name"),
            advice="use an http proxy, or a server name that its certificate has",
        )
    return proxy


def _impersonation(user: Named) -> Impersonation | None:
    value = user.value
    name = str(value.get("as") or "")
    groups = tuple(str(g) for g in value.get("as-groups") or ())
    uid, extra = str(value.get("as-uid") or ""), value.get("as-user-extra") or {}
    if not name:
        if groups or uid or extra:
            raise BadInput(
                "groups are impersonated only together with a user",
                where=Where(file=str(user.file), field="users.user.as"),
                advice="write the user's name as `as`",
            )
        return None
    return Impersonation(name, groups, uid, {str(k): tuple(str(v) for v in vs) for k, vs in extra.items()})


def with_impersonation(config: ClusterConfig, who: Impersonation | None) -> ClusterConfig:
    """The same cluster as somebody else."""
    return replace(config, impersonate=who)
