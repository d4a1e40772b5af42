"""What the API server fills in before admission: Kubernetes' own policies see objects with it. Pure.

The rules are those of the Kubernetes sources (pkg/apis/*/v1/defaults.go), and of the admission plugins that are always on for Pods;
`tests/integration/policy/test_defaults.py` compares them with a real API server. Custom kinds, and what depends on the cluster (addresses, classes), are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from taut.model.manifests import Body

type _Map = dict[str, Any]


def defaulted(body: Body) -> Body:
    """An object as the API server would show it to admission; the same object where nothing is filled in. The given one is not changed."""
    fill = _KINDS.get((_group(body), str(body.get("kind"))))
    if fill is None:
        return body
    copy = _copied(body)
    fill(copy)
    return copy


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _copied(v) for k, v in value.items()}
    return [_copied(v) for v in value] if isinstance(value, list) else value


def _group(body: Body) -> str:
    return str(body.get("apiVersion") or "").rpartition("/")[0]


def _map(owner: _Map, *path: str) -> _Map:
    """The mapping at a path, made where there is none; what is of another shape is let be, and the answer is a mapping of nobody."""
    for step in path:
        if owner.get(step) is None:
            owner[step] = {}
        inner = owner[step]
        if not isinstance(inner, dict):
            return {}
        owner = inner
    return owner


def _maps(owner: _Map, key: str) -> Iterator[_Map]:
    value = owner.get(key)
    yield from (item for item in value if isinstance(item, dict)) if isinstance(value, list) else ()


def _there(owner: _Map, key: str) -> Iterator[_Map]:
    value = owner.get(key)
    if isinstance(value, dict):
        yield value


def _set(owner: _Map, **values: Any) -> None:
    for key, value in values.items():
        if owner.get(key) is None or owner.get(key) == "":
            owner[key] = value


# Pods


def _pod_spec(spec: _Map) -> None:
    _set(
        spec, dnsPolicy="ClusterFirst", restartPolicy="Always", terminationGracePeriodSeconds=30,
        schedulerName="default-scheduler", securityContext={},
    )  # fmt: skip
    if spec.get("serviceAccountName"):
        _set(spec, serviceAccount=spec["serviceAccountName"])
    elif spec.get("serviceAccount"):
        _set(spec, serviceAccountName=spec["serviceAccount"])
    for key in ("initContainers", "containers", "ephemeralContainers"):
        for container in _maps(spec, key):
            _container(container, host_network=spec.get("hostNetwork") is True)
    for volume in _maps(spec, "volumes"):
        _volume(volume)


def _container(container: _Map, *, host_network: bool) -> None:
    image = str(container.get("image") or "")
    _set(
        container, terminationMessagePath="/dev/termination-log", terminationMessagePolicy="File", resources={},
        imagePullPolicy="Always" if _is_latest(image) else "IfNotPresent",
    )  # fmt: skip
    for port in _maps(container, "ports"):
        _set(port, protocol="TCP")
        if host_network and port.get("containerPort") is not None:
            _set(port, hostPort=port["containerPort"])
    for variable in _maps(container, "env"):
        for source in _there(variable, "valueFrom"):
            _field_refs(source)
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        for probe in _there(container, name):
            _set(probe, timeoutSeconds=1, periodSeconds=10, successThreshold=1, failureThreshold=3)
            _handler(probe)
    for lifecycle in _there(container, "lifecycle"):
        for name in ("postStart", "preStop"):
            for hook in _there(lifecycle, name):
                _handler(hook)


def _is_latest(image: str) -> bool:
    """Without a tag an image is `latest`; a digest is none."""
    if "@" in image:
        return False
    tag = image.rpartition("/")[2].partition(":")[2]
    return tag in ("", "latest")


def _handler(owner: _Map) -> None:
    for get in _there(owner, "httpGet"):
        _set(get, path="/", scheme="HTTP")
    for grpc in _there(owner, "grpc"):
        if grpc.get("service") is None:
            grpc["service"] = ""


def _field_refs(owner: _Map) -> None:
    for reference in _there(owner, "fieldRef"):
        _set(reference, apiVersion="v1")


def _volume(volume: _Map) -> None:
    if not any(isinstance(v, dict) for k, v in volume.items() if k != "name"):
        volume.setdefault("emptyDir", {})
    for kind in ("secret", "configMap", "downwardAPI", "projected"):
        for source in _there(volume, kind):
            _set(source, defaultMode=420)
            for item in _maps(source, "items"):
                _field_refs(item)
    for path in _there(volume, "hostPath"):
        if path.get("type") is None:
            path["type"] = ""
    for projected in _there(volume, "projected"):
        for source in _maps(projected, "sources"):
            _projection(source)
    for ephemeral in _there(volume, "ephemeral"):
        for template in _there(ephemeral, "volumeClaimTemplate"):
            _set(template, metadata={})
            _set(_map(template, "spec"), volumeMode="Filesystem")


def _projection(source: _Map) -> None:
    for token in _there(source, "serviceAccountToken"):
        _set(token, expirationSeconds=3600)
    for downward in _there(source, "downwardAPI"):
        for item in _maps(downward, "items"):
            _field_refs(item)


def _pod(body: _Map) -> None:
    spec = _map(body, "spec")
    _pod_spec(spec)
    _set(spec, enableServiceLinks=True, serviceAccountName="default", serviceAccount="default", priority=0)
    _set(spec, preemptionPolicy="PreemptLowerPriority")
    for key in ("initContainers", "containers"):
        for container in _maps(spec, key):
            resources = _map(container, "resources")
            for limits in _there(resources, "limits"):
                requests = _map(resources, "requests")
                for name, value in limits.items():
                    requests.setdefault(name, value)


def _template(owner: _Map, key: str = "template") -> None:
    for template in _there(owner, key):
        _set(template, metadata={})
        _pod_spec(_map(template, "spec"))


# Workloads


def _deployment(body: _Map) -> None:
    spec = _map(body, "spec")
    _set(spec, replicas=1, revisionHistoryLimit=10, progressDeadlineSeconds=600)
    strategy = _map(spec, "strategy")
    _set(strategy, type="RollingUpdate")
    if strategy.get("type") == "RollingUpdate":
        _set(_map(strategy, "rollingUpdate"), maxUnavailable="25%", maxSurge="25%")
    _template(spec)


def _stateful_set(body: _Map) -> None:
    spec = _map(body, "spec")
    _set(spec, replicas=1, revisionHistoryLimit=10, podManagementPolicy="OrderedReady")
    _set(_map(spec, "persistentVolumeClaimRetentionPolicy"), whenDeleted="Retain", whenScaled="Retain")
    strategy = _map(spec, "updateStrategy")
    _set(strategy, type="RollingUpdate")
    if strategy.get("type") == "RollingUpdate":
        _set(_map(strategy, "rollingUpdate"), partition=0, maxUnavailable=1)
    for claim in _maps(spec, "volumeClaimTemplates"):
        _set(claim, apiVersion="v1", kind="PersistentVolumeClaim")
        _claim(claim)
        _set(_map(claim, "status"), phase="Pending")
    _template(spec)


def _daemon_set(body: _Map) -> None:
    spec = _map(body, "spec")
    _set(spec, revisionHistoryLimit=10)
    strategy = _map(spec, "updateStrategy")
    _set(strategy, type="RollingUpdate")
    if strategy.get("type") == "RollingUpdate":
        _set(_map(strategy, "rollingUpdate"), maxUnavailable=1, maxSurge=0)
    _template(spec)


def _replica_set(body: _Map) -> None:
    spec = _map(body, "spec")
    _set(spec, replicas=1)
    _template(spec)


def _job(body: _Map) -> None:
    spec = _map(body, "spec")
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = 1
    _set(spec, parallelism=1, backoffLimit=6, completionMode="NonIndexed", suspend=False)
    _set(spec, manualSelector=False, podReplacementPolicy=_replacement(spec))
    _template(spec)


def _replacement(spec: _Map) -> str:
    return "Failed" if spec.get("podFailurePolicy") is not None else "TerminatingOrFailed"


def _cron_job(body: _Map) -> None:
    spec = _map(body, "spec")
    _set(spec, concurrencyPolicy="Allow", suspend=False, successfulJobsHistoryLimit=3, failedJobsHistoryLimit=1)
    template = _map(spec, "jobTemplate")
    _set(template, metadata={})
    _template(_map(template, "spec"))


# Networks, storage, rights, and the rest


def _service(body: _Map) -> None:
    spec = _map(body, "spec")
    _set(spec, type="ClusterIP", sessionAffinity="None")
    kind = spec.get("type")
    if spec.get("sessionAffinity") == "ClientIP":
        _set(_map(spec, "sessionAffinityConfig", "clientIP"), timeoutSeconds=10800)
    for port in _maps(spec, "ports"):
        _set(port, protocol="TCP")
        if kind != "ExternalName" and port.get("port") is not None and port.get("targetPort") in (None, 0, ""):
            port["targetPort"] = port["port"]
    if kind in ("NodePort", "LoadBalancer"):
        _set(spec, externalTrafficPolicy="Cluster")
    if kind == "LoadBalancer":
        _set(spec, allocateLoadBalancerNodePorts=True)
    if kind in ("ClusterIP", "NodePort", "LoadBalancer"):
        _set(spec, internalTrafficPolicy="Cluster")


def _network_policy(body: _Map) -> None:
    spec = _map(body, "spec")
    for direction in ("ingress", "egress"):
        for rule in _maps(spec, direction):
            for port in _maps(rule, "ports"):
                _set(port, protocol="TCP")
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", *(["Egress"] if spec.get("egress") else [])]


def _claim(body: _Map) -> None:
    _set(_map(body, "spec"), volumeMode="Filesystem")


def _volume_object(body: _Map) -> None:
    spec = _map(body, "spec")
    _set(spec, persistentVolumeReclaimPolicy="Retain", volumeMode="Filesystem")
    for path in _there(spec, "hostPath"):
        if path.get("type") is None:
            path["type"] = ""


def _autoscaler(body: _Map) -> None:
    spec = _map(body, "spec")
    _set(spec, minReplicas=1)
    if not spec.get("metrics"):
        target = {"type": "Utilization", "averageUtilization": 80}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]


def _binding(body: _Map) -> None:
    group = "rbac.authorization.k8s.io"
    for reference in _there(body, "roleRef"):
        _set(reference, apiGroup=group)
    for subject in _maps(body, "subjects"):
        if subject.get("kind") in ("User", "Group"):
            _set(subject, apiGroup=group)


def _webhooks(body: _Map) -> None:
    for hook in _maps(body, "webhooks"):
        _set(hook, failurePolicy="Fail", matchPolicy="Equivalent", timeoutSeconds=10)
        _set(hook, namespaceSelector={}, objectSelector={})
        if body.get("kind") == "MutatingWebhookConfiguration":
            _set(hook, reinvocationPolicy="Never")
        for rule in _maps(hook, "rules"):
            _set(rule, scope="*")
        for client in _there(hook, "clientConfig"):
            for service in _there(client, "service"):
                _set(service, port=443)


def _namespace(body: _Map) -> None:
    metadata = _map(body, "metadata")
    if metadata.get("name"):
        _map(metadata, "labels")["kubernetes.io/metadata.name"] = metadata["name"]


def _secret(body: _Map) -> None:
    """`stringData` stays where it is: in base64 its values would be others than those that are masked in what policies say."""
    _set(body, type="Opaque")


def _storage_class(body: _Map) -> None:
    _set(body, reclaimPolicy="Delete", volumeBindingMode="Immediate")


def _priority_class(body: _Map) -> None:
    _set(body, preemptionPolicy="PreemptLowerPriority")


_RBAC, _HOOKS = "rbac.authorization.k8s.io", "admissionregistration.k8s.io"
_KINDS: dict[tuple[str, str], Callable[[_Map], None]] = {
    ("", "Pod"): _pod,
    ("", "PodTemplate"): _template,
    ("", "Service"): _service,
    ("", "PersistentVolumeClaim"): _claim,
    ("", "PersistentVolume"): _volume_object,
    ("", "Namespace"): _namespace,
    ("", "Secret"): _secret,
    ("apps", "Deployment"): _deployment,
    ("apps", "StatefulSet"): _stateful_set,
    ("apps", "DaemonSet"): _daemon_set,
    ("apps", "ReplicaSet"): _replica_set,
    ("batch", "Job"): _job,
    ("batch", "CronJob"): _cron_job,
    ("networking.k8s.io", "NetworkPolicy"): _network_policy,
    ("autoscaling", "HorizontalPodAutoscaler"): _autoscaler,
    (_RBAC, "RoleBinding"): _binding,
    (_RBAC, "ClusterRoleBinding"): _binding,
    (_HOOKS, "ValidatingWebhookConfiguration"): _webhooks,
    (_HOOKS, "MutatingWebhookConfiguration"): _webhooks,
    ("storage.k8s.io", "StorageClass"): _storage_class,
    ("scheduling.k8s.io", "PriorityClass"): _priority_class,
}


def undefaulted(given: Any, seen: Any, made: Any) -> Any:
    """What somebody made of an object that they saw with its defaults, as a change of the object as it was given: what was only filled in goes again."""
    if made == seen:
        return given
    if isinstance(made, dict) and isinstance(seen, dict):
        known = given if isinstance(given, dict) else {}
        found = {k: undefaulted(known[k], seen.get(k), v) for k, v in made.items() if k in known}
        for key, value in made.items():
            if key not in known and value != seen.get(key):
                found[key] = undefaulted(None, seen.get(key), value)
        return found
    if isinstance(made, list) and isinstance(seen, list) and isinstance(given, list) and len(seen) == len(given):
        if len(made) == len(seen):
            return [undefaulted(g, s, m) for g, s, m in zip(given, seen, made, strict=True)]
        return [next((g for g, s in zip(given, seen, strict=True) if s == m), m) for m in made]
    return made
