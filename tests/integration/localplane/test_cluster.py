"""What a cluster of the control plane does: workloads live, fail on demand, get volumes and addresses."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from support.waiting import until
from taut.localplane import built
from taut.localplane.api import Api

pytestmark = pytest.mark.integration

FATE = "localplane.taut.dev/pod"


class Workbench:
    """Applies objects to one namespace and waits for what becomes of them."""

    def __init__(self, api: Api, namespace: str) -> None:
        self.api = api
        self.namespace = namespace

    def path(self, resource: str, name: str = "") -> str:
        group, _, plural = resource.rpartition("/")
        prefix = f"/apis/{group}" if group else "/api/v1"
        return f"{prefix}/namespaces/{self.namespace}/{plural}" + (f"/{name}" if name else "")

    def apply(self, resource: str, kind: str, name: str, **body: Any) -> None:
        version = resource.rpartition("/")[0] or "v1"
        self.api.apply(
            self.path(resource, name), {"apiVersion": version, "kind": kind, "metadata": {"name": name}, **body}
        )

    def get(self, resource: str, name: str) -> dict[str, Any]:
        return self.api.get(self.path(resource, name)) or {}

    def status(self, resource: str, name: str) -> dict[str, Any]:
        return self.get(resource, name).get("status", {})

    def pods(self, label: str) -> list[dict[str, Any]]:
        found = self.api.get(f"{self.path('pods')}?labelSelector=app%3D{label}") or {}
        return found["items"]

    def deployment(self, name: str, replicas: int = 1, annotations: dict[str, str] | None = None, **pod: Any) -> None:
        template = {
            "metadata": {"labels": {"app": name}, "annotations": annotations or {}},
            "spec": {"containers": [{"name": "main", "image": "example.test/app:1"}], **pod},
        }
        spec = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template}
        self.apply("apps/v1/deployments", "Deployment", name, spec=spec)

    def job(self, name: str, annotations: dict[str, str] | None = None) -> None:
        pod = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "example.test/job:1"}]}
        template = {"metadata": {"labels": {"app": name}, "annotations": annotations or {}}, "spec": pod}
        self.apply("batch/v1/jobs", "Job", name, spec={"backoffLimit": 0, "template": template})

    def waiting_reason(self, label: str) -> str:
        states = [s["state"] for p in self.pods(label) for s in p["status"].get("containerStatuses", [])]
        return next((s["waiting"]["reason"] for s in states if "waiting" in s), "")


@pytest.fixture
def bench(plane_api: Api, namespace: str) -> Workbench:
    return Workbench(plane_api, namespace)


def test_a_deployment_becomes_ready(bench: Workbench) -> None:
    bench.deployment("web", replicas=3)
    until(lambda: bench.status("apps/v1/deployments", "web").get("readyReplicas") == 3, "three replicas are ready")
    assert {p["status"]["phase"] for p in bench.pods("web")} == {"Running"}


@pytest.mark.parametrize(
    ("fate", "reason"),
    [("crash", "CrashLoopBackOff"), ("fail", "CrashLoopBackOff"), ("image-pull", "ImagePullBackOff")],
)
def test_pods_of_a_deployment_break_on_demand(bench: Workbench, fate: str, reason: str) -> None:
    bench.deployment("broken", annotations={FATE: fate})
    until(lambda: bench.waiting_reason("broken") == reason, f"the container waits for {reason}")
    assert not bench.status("apps/v1/deployments", "broken").get("readyReplicas")
    # Nobody replaces the Pod again and again.
    assert len(bench.pods("broken")) == 1


def test_pods_that_are_never_ready_run(bench: Workbench) -> None:
    bench.deployment("slow", annotations={FATE: "never-ready"})

    def running() -> bool:
        return any(p["status"]["phase"] == "Running" for p in bench.pods("slow"))

    until(running, "the Pod runs")
    conditions = {c["type"]: c["status"] for c in bench.pods("slow")[0]["status"]["conditions"]}
    assert conditions["Ready"] == "False"
    # What is ready elsewhere, with the same controllers, shows that this one had its time.
    bench.deployment("quick")
    until(lambda: bench.status("apps/v1/deployments", "quick").get("readyReplicas") == 1, "the other is ready")
    assert not bench.status("apps/v1/deployments", "slow").get("readyReplicas")


def test_readiness_can_come_late(bench: Workbench) -> None:
    bench.deployment("late", annotations={"localplane.taut.dev/ready-after": "700ms"})
    until(lambda: bench.status("apps/v1/deployments", "late").get("unavailableReplicas") == 1, "it is not ready first")
    until(lambda: bench.status("apps/v1/deployments", "late").get("readyReplicas") == 1, "it is ready then")


def test_a_running_pod_can_be_broken_and_mended(bench: Workbench) -> None:
    bench.deployment("fickle")
    until(lambda: bench.status("apps/v1/deployments", "fickle").get("readyReplicas") == 1, "it is ready")
    pod = bench.path("pods", bench.pods("fickle")[0]["metadata"]["name"])

    def annotate(fate: str | None) -> None:
        body = {"metadata": {"annotations": {FATE: fate}}}
        status, _ = bench.api.request("PATCH", pod, body, content="application/merge-patch+json")
        assert status == 200

    annotate("crash")
    until(lambda: not bench.status("apps/v1/deployments", "fickle").get("readyReplicas"), "it is not ready")
    annotate(None)
    until(lambda: bench.status("apps/v1/deployments", "fickle").get("readyReplicas") == 1, "it is ready again")


@pytest.mark.parametrize(("annotations", "field"), [({}, "succeeded"), ({FATE: "fail"}, "failed")])
def test_jobs_end(bench: Workbench, annotations: dict[str, str], field: str) -> None:
    bench.job("once", annotations)
    until(lambda: bench.status("batch/v1/jobs", "once").get(field) == 1, f"the Job has {field}")
    wanted = "Complete" if field == "succeeded" else "Failed"
    until(lambda: wanted in {c["type"] for c in bench.status("batch/v1/jobs", "once").get("conditions", [])}, wanted)


def test_a_job_can_hang(bench: Workbench) -> None:
    bench.job("hangs", {FATE: "never-ready"})
    until(lambda: bench.status("batch/v1/jobs", "hangs").get("active") == 1, "the Job runs")
    bench.job("ends")
    until(lambda: bench.status("batch/v1/jobs", "ends").get("succeeded") == 1, "the other ends")
    assert bench.status("batch/v1/jobs", "hangs").get("active") == 1


def test_claims_are_bound_and_their_volumes_go_with_them(bench: Workbench) -> None:
    size = {"resources": {"requests": {"storage": "1Gi"}}, "accessModes": ["ReadWriteOnce"]}
    bench.apply("persistentvolumeclaims", "PersistentVolumeClaim", "data", spec=size)
    until(lambda: bench.status("persistentvolumeclaims", "data").get("phase") == "Bound", "the claim is bound")
    claim = bench.get("persistentvolumeclaims", "data")
    volume = f"/api/v1/persistentvolumes/{claim['spec']['volumeName']}"
    assert claim["spec"]["storageClassName"] == "standard"
    assert (bench.api.get(volume) or {})["status"]["phase"] == "Bound"
    mount = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
    bench.deployment("uses", volumes=mount)
    until(lambda: bench.status("apps/v1/deployments", "uses").get("readyReplicas") == 1, "a Pod that uses it is ready")
    for path in (bench.path("apps/v1/deployments", "uses"), bench.path("persistentvolumeclaims", "data")):
        bench.api.request("DELETE", path)
    until(lambda: bench.api.get(volume) is None, "the volume is gone")


def test_load_balancers_and_ingresses_get_addresses(bench: Workbench) -> None:
    ports = [{"port": 80}]
    bench.apply("services", "Service", "public", spec={"type": "LoadBalancer", "ports": ports})
    backend = {"service": {"name": "public", "port": {"number": 80}}}
    bench.apply("networking.k8s.io/v1/ingresses", "Ingress", "site", spec={"defaultBackend": backend})
    for resource, name in (("services", "public"), ("networking.k8s.io/v1/ingresses", "site")):
        until(
            lambda r=resource, n=name: bench.status(r, n).get("loadBalancer", {}).get("ingress"),
            f"{name} has an address",
        )


def test_a_namespace_goes_with_what_is_in_it(bench: Workbench) -> None:
    bench.deployment("web", replicas=2)
    until(lambda: bench.status("apps/v1/deployments", "web").get("readyReplicas") == 2, "it is ready")
    bench.api.request("DELETE", f"/api/v1/namespaces/{bench.namespace}")
    until(lambda: bench.api.get(f"/api/v1/namespaces/{bench.namespace}") is None, "the namespace is gone")


def test_service_accounts_have_tokens_and_rights_by_rbac(bench: Workbench) -> None:
    until(lambda: bench.get("serviceaccounts", "default"), "the default service account exists")
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    status, answer = bench.api.request("POST", f"{bench.path('serviceaccounts', 'default')}/token", request)
    assert status == 201
    account = Api(bench.api.port, bench.api.ca, json.loads(answer)["status"]["token"])
    assert account.request("GET", bench.path("configmaps"))[0] == 403
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}]
    bench.apply("rbac.authorization.k8s.io/v1/roles", "Role", "reader", rules=rules)
    subject = {"kind": "ServiceAccount", "name": "default", "namespace": bench.namespace}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"}
    bench.apply("rbac.authorization.k8s.io/v1/rolebindings", "RoleBinding", "reader", subjects=[subject], roleRef=role)
    until(lambda: account.request("GET", bench.path("configmaps"))[0] == 200, "it may list ConfigMaps now")


def policy(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


@pytest.mark.parametrize("flavour", ["Mutating", "Validating"])
def test_admission_policies_are_followed(bench: Workbench, flavour: str) -> None:
    name = f"{flavour.lower()}-{bench.namespace}"
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}
    spec: dict[str, Any] = {"matchConstraints": {"resourceRules": [rule]}, "failurePolicy": "Fail"}
    if flavour == "Mutating":
        expression = 'Object{metadata: Object.metadata{labels: {"seen": "yes"}}}'
        mutation = {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}
        spec |= {"mutations": [mutation], "reinvocationPolicy": "Never"}
    else:
        spec |= {
            "validations": [
                {"expression": "has(object.data) && 'allowed' in object.data", "message": "say that it is allowed"}
            ]
        }
    only_here = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": bench.namespace}}}
    binding: dict[str, Any] = {"policyName": name, "matchResources": only_here}
    binding |= {"validationActions": ["Deny"]} if flavour == "Validating" else {}
    group, plural = "/apis/admissionregistration.k8s.io/v1", f"{flavour.lower()}admissionpolic"
    bench.api.apply(f"{group}/{plural}ies/{name}", policy(f"{flavour}AdmissionPolicy", name, spec))
    bench.api.apply(f"{group}/{plural}ybindings/{name}", policy(f"{flavour}AdmissionPolicyBinding", name, binding))
    tries = iter(range(10_000))

    def in_force() -> bool:
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"try-{next(tries)}"}}
        status, answer = bench.api.request("POST", bench.path("configmaps"), body)
        if flavour == "Validating":
            return status == 422 and b"say that it is allowed" in answer
        return json.loads(answer)["metadata"].get("labels") == {"seen": "yes"}

    until(in_force, f"the {flavour} policy is in force")


@pytest.mark.usefixtures("plane")
def test_kustomize_is_built_with_it(tmp_path: Path) -> None:
    (tmp_path / "kustomization.yaml").write_text("namePrefix: a-\nresources: [cm.yaml]\n")
    (tmp_path / "cm.yaml").write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n")
    binaries = built()
    assert binaries is not None
    version = subprocess.run([binaries.kustomize, "version"], capture_output=True, text=True, check=True)
    assert version.stdout.startswith("v5.")
    done = subprocess.run([binaries.kustomize, "build", tmp_path], capture_output=True, text=True, check=True)
    assert "name: a-b" in done.stdout
