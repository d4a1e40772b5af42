"""A thin, raw client of the Kubernetes API: signing in, requests, discovery, watches."""

from taut.clients.kubernetes.client import KubernetesClient
from taut.clients.kubernetes.config import ClusterConfig, Impersonation, load_config, service_account
from taut.clients.kubernetes.discovery import Discovery

__all__ = ["ClusterConfig", "Discovery", "Impersonation", "KubernetesClient", "load_config", "service_account"]
