"""What is filled in before admission, compared with the answers of a real API server that is asked to write nothing (dry run)."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from taut.localplane.api import Api
from taut.policy.defaults import defaulted, undefaulted

pytestmark = pytest.mark.integration
POD = "containers: [{name: a, image: r.io/a}]"
TEMPLATE = f"selector: {{matchLabels: {{a: b}}}}, template: {{metadata: {{labels: {{a: b}}}}, spec: {{{POD}}}}}"
RICH = """
containers:
- name: a
  image: r.io/a:1
  ports: [{containerPort: 80}]
  env:
  - {name: N, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
  livenessProbe: {httpGet: {port: 80}}
  readinessProbe: {grpc: {port: 80}}
  startupProbe: {tcpSocket: {port: 80}, failureThreshold: 9}
  lifecycle: {preStop: {httpGet: {port: 80}}}
  resources: {limits: {cpu: 100m, memory: 1Gi}, requests: {cpu: 50m}}
- {name: b, image: 'r.io/b@sha256:1111111111111111111111111111111111111111111111111111111111111111'}
- {name: c, image: 'r.io:5000/c', imagePullPolicy: Never}
initContainers: [{name: i, image: 'r.io/i:latest'}]
volumes:
- {name: v}
- {name: s, secret: {secretName: x}}
- {name: m, configMap: {name: x}}
- {name: d, downwardAPI: {items: [{path: a, fieldRef: {fieldPath: metadata.name}}]}}
- {name: p, projected: {sources: [{serviceAccountToken: {path: t}}, {downwardAPI: {items: [{path: a, fieldRef: {fieldPath: metadata.name}}]}}]}}
- {name: h, hostPath: {path: /x}}
- {name: e, ephemeral: {volumeClaimTemplate: {spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}}}
"""
HOOK = "name: a.example.com, sideEffects: None, admissionReviewVersions: [v1], rules: [{apiGroups: [''], apiVersions: [v1], operations: [CREATE], resources: [pods]}]"
OBJECTS = {
    "pod": f"{{apiVersion: v1, kind: Pod, spec: {{{POD}}}}}",
    "rich-pod": {"apiVersion": "v1", "kind": "Pod", "spec": {**yaml.safe_load(RICH), "serviceAccountName": "default"}},
    "host-pod": "{apiVersion: v1, kind: Pod, spec: {hostNetwork: true, containers: [{name: a, image: a:1, ports: [{containerPort: 80}]}]}}",
    "account-pod": f"{{apiVersion: v1, kind: Pod, spec: {{serviceAccountName: default, restartPolicy: Never, {POD}}}}}",
    "deployment": f"{{apiVersion: apps/v1, kind: Deployment, spec: {{{TEMPLATE}}}}}",
    "recreate": f"{{apiVersion: apps/v1, kind: Deployment, spec: {{replicas: 3, strategy: {{type: Recreate}}, {TEMPLATE}}}}}",
    "surge": f"{{apiVersion: apps/v1, kind: Deployment, spec: {{strategy: {{rollingUpdate: {{maxSurge: 2}}}}, {TEMPLATE}}}}}",
    "rich-deployment": {"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": yaml.safe_load(RICH)}}},
    "account-deployment": f"{{apiVersion: apps/v1, kind: Deployment, spec: {{selector: {{matchLabels: {{a: b}}}}, template: {{metadata: {{labels: {{a: b}}}}, spec: {{serviceAccountName: x, {POD}}}}}}}}}",
    "stateful": f"{{apiVersion: apps/v1, kind: StatefulSet, spec: {{serviceName: x, {TEMPLATE}}}}}",
    "claims": f"{{apiVersion: apps/v1, kind: StatefulSet, spec: {{serviceName: x, volumeClaimTemplates: [{{metadata: {{name: d}}, spec: {{accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 1Gi}}}}}}}}], {TEMPLATE}}}}}",
    "on-delete": f"{{apiVersion: apps/v1, kind: StatefulSet, spec: {{serviceName: x, updateStrategy: {{type: OnDelete}}, {TEMPLATE}}}}}",
    "daemon": f"{{apiVersion: apps/v1, kind: DaemonSet, spec: {{{TEMPLATE}}}}}",
    "replicas": f"{{apiVersion: apps/v1, kind: ReplicaSet, spec: {{{TEMPLATE}}}}}",
    "job": f"{{apiVersion: batch/v1, kind: Job, spec: {{template: {{spec: {{restartPolicy: Never, {POD}}}}}}}}}",
    "parallel": f"{{apiVersion: batch/v1, kind: Job, spec: {{parallelism: 3, template: {{spec: {{restartPolicy: Never, {POD}}}}}}}}}",
    "failing": f"{{apiVersion: batch/v1, kind: Job, spec: {{podFailurePolicy: {{rules: [{{action: Ignore, onPodConditions: [{{type: X, status: 'True'}}]}}]}}, template: {{spec: {{restartPolicy: Never, {POD}}}}}}}}}",
    "cron": f"{{apiVersion: batch/v1, kind: CronJob, spec: {{schedule: '* * * * *', jobTemplate: {{spec: {{template: {{spec: {{restartPolicy: Never, {POD}}}}}}}}}}}}}",
    "forbid": f"{{apiVersion: batch/v1, kind: CronJob, spec: {{schedule: '* * * * *', suspend: true, concurrencyPolicy: Forbid, jobTemplate: {{spec: {{template: {{spec: {{restartPolicy: Never, {POD}}}}}}}}}}}}}",
    "service": "{apiVersion: v1, kind: Service, spec: {selector: {a: b}, ports: [{port: 80}]}}",
    "named-port": "{apiVersion: v1, kind: Service, spec: {ports: [{port: 80, targetPort: http, protocol: UDP}]}}",
    "node-port": "{apiVersion: v1, kind: Service, spec: {type: NodePort, ports: [{port: 80}]}}",
    "balancer": "{apiVersion: v1, kind: Service, spec: {type: LoadBalancer, ports: [{port: 80}]}}",
    "external": "{apiVersion: v1, kind: Service, spec: {type: ExternalName, externalName: a.example.com}}",
    "sticky": "{apiVersion: v1, kind: Service, spec: {sessionAffinity: ClientIP, ports: [{port: 80}]}}",
    "headless": "{apiVersion: v1, kind: Service, spec: {clusterIP: None, ports: [{port: 80}]}}",
    "claim": "{apiVersion: v1, kind: PersistentVolumeClaim, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}",
    "block": "{apiVersion: v1, kind: PersistentVolumeClaim, spec: {volumeMode: Block, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}",
    "volume": "{apiVersion: v1, kind: PersistentVolume, spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], hostPath: {path: /x}}}",
    "secret": "{apiVersion: v1, kind: Secret, data: {a: YQ==}}",
    "typed-secret": "{apiVersion: v1, kind: Secret, type: example.com/x}",
    "config": "{apiVersion: v1, kind: ConfigMap, data: {a: b}}",
    "namespace": "{apiVersion: v1, kind: Namespace}",
    "labelled-namespace": "{apiVersion: v1, kind: Namespace, metadata: {labels: {a: b}}}",
    "network": "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, spec: {podSelector: {}}}",
    "egress": "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, spec: {podSelector: {}, egress: [{ports: [{port: 80}]}]}}",
    "autoscaler": "{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, spec: {maxReplicas: 3, scaleTargetRef: {kind: Deployment, name: a, apiVersion: apps/v1}}}",
    "binding": "{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, roleRef: {kind: Role, name: x}, subjects: [{kind: User, name: a}, {kind: ServiceAccount, name: b, namespace: c}]}",
    "cluster-binding": "{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, roleRef: {kind: ClusterRole, name: view}, subjects: [{kind: Group, name: a}]}",
    "hook": f"{{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingWebhookConfiguration, webhooks: [{{{HOOK}, clientConfig: {{service: {{name: a, namespace: b}}}}}}]}}",
    "mutating-hook": f"{{apiVersion: admissionregistration.k8s.io/v1, kind: MutatingWebhookConfiguration, webhooks: [{{{HOOK}, failurePolicy: Ignore, clientConfig: {{url: 'https://a.example.com'}}}}]}}",
    "storage": "{apiVersion: storage.k8s.io/v1, kind: StorageClass, provisioner: x.example.com/y}",
    "priority": "{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, value: 5}",
    "ingress": "{apiVersion: networking.k8s.io/v1, kind: Ingress, spec: {defaultBackend: {service: {name: a, port: {number: 80}}}}}",
    "budget": "{apiVersion: policy/v1, kind: PodDisruptionBudget, spec: {minAvailable: 1, selector: {matchLabels: {a: b}}}}",
}  # fmt: skip
PLURALS = {"NetworkPolicy": "networkpolicies", "Ingress": "ingresses", "StorageClass": "storageclasses", "PriorityClass": "priorityclasses"}  # fmt: skip
CLUSTER = frozenset({"Namespace", "PersistentVolume", "ClusterRoleBinding", "ValidatingWebhookConfiguration", "MutatingWebhookConfiguration", "StorageClass", "PriorityClass"})  # fmt: skip
SERVER = {
    "Service": ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "healthCheckNodePort"),
    "Pod": ("tolerations", "volumes", "nodeName", "serviceAccountName", "serviceAccount"),
    "Job": ("selector",),
    "Namespace": ("finalizers",),
    "PersistentVolumeClaim": ("storageClassName",),
}
"""What depends on the cluster and its plugins, or is made up after admission."""


def _object(name: str) -> dict[str, Any]:
    given = OBJECTS[name]
    body = yaml.safe_load(given) if isinstance(given, str) else given
    return {**body, "metadata": {"name": name, **(body.get("metadata") or {})}}


def _comparable(body: dict[str, Any]) -> dict[str, Any]:
    metadata = {k: v for k, v in body["metadata"].items() if k in ("name", "labels")}
    if body["kind"] == "Job":
        metadata.pop("labels", None)
    found = {**body, "metadata": metadata}
    found.pop("status", None)
    spec = found.get("spec", {})
    if spec:
        found["spec"] = spec = {k: v for k, v in spec.items() if k not in SERVER.get(body["kind"], ())}
        for port in spec.get("ports") or () if body["kind"] == "Service" else ():
            port.pop("nodePort", None)
        if body["kind"] == "Job":
            spec["template"] = {**spec["template"], "metadata": {}}
        if body["kind"] == "Pod":
            for container in (*spec["containers"], *spec.get("initContainers", ())):
                container.pop("volumeMounts", None)
    return {k: v for k, v in found.items() if v != {}}


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    if isinstance(value, dict) and value:
        return {k: v for key, inner in value.items() for k, v in _flat(inner, f"{path}.{key}").items()}
    if isinstance(value, list) and value:
        return {k: v for n, inner in enumerate(value) for k, v in _flat(inner, f"{path}[{n}]").items()}
    return {path: value}


@pytest.mark.parametrize("name", OBJECTS)
def test_it_is_what_the_api_server_fills_in(name: str, plane_api: Api, namespace: str) -> None:
    body = _object(name)
    version, kind = body["apiVersion"], body["kind"]
    plural = PLURALS.get(kind, kind.lower() + "s")
    base = f"/apis/{version}" if "/" in version else f"/api/{version}"
    place = "" if kind in CLUSTER else f"/namespaces/{namespace}"
    if kind not in CLUSTER:
        plane_api.request("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}})  # fmt: skip
    status, answer = plane_api.request("POST", f"{base}{place}/{plural}?dryRun=All", body)
    assert status == 201, answer
    found, wanted = _flat(_comparable(defaulted(body))), _flat(_comparable(json.loads(answer)))
    assert {k: (found.get(k), wanted.get(k)) for k in found | wanted if found.get(k) != wanted.get(k)} == {}
    assert defaulted(defaulted(body)) == defaulted(body)


def test_what_a_mutation_made_has_no_default_that_git_does_not_say() -> None:
    given = _object("rich-deployment")
    seen = defaulted(given)
    made = defaulted(given)
    made["metadata"]["labels"] = {"team": "shop"}
    made["spec"]["replicas"] = 3
    made["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]["memory"] = "1Gi"
    made["spec"]["template"]["spec"]["containers"].append({"name": "side", "image": "r.io/side:1"})
    del made["spec"]["template"]["spec"]["initContainers"]
    found = undefaulted(given, seen, made)
    wanted = _object("rich-deployment")
    wanted["metadata"]["labels"] = {"team": "shop"}
    wanted["spec"]["replicas"] = 3
    pod = {k: v for k, v in wanted["spec"]["template"]["spec"].items() if k != "initContainers"}
    first = {**pod["containers"][0]}
    assert found["spec"]["replicas"] == 3
    assert "strategy" not in found["spec"]
    assert "initContainers" not in found["spec"]["template"]["spec"]
    assert found["spec"]["template"]["spec"]["containers"][1] == pod["containers"][1]
    assert found["spec"]["template"]["spec"]["containers"][3] == {"name": "side", "image": "r.io/side:1"}
    assert first["name"] == "a"
    assert undefaulted(given, seen, seen) is given
