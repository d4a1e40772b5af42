"""Kubernetes' own kinds, with the messages that Argo CD gives."""

import orjson
import pytest

from taut.health.assess import assess, needs_body
from taut.model.health import HealthStatus
from taut.model.refs import KindRef

HEALTHY, SUSPENDED, PROGRESSING = HealthStatus.HEALTHY, HealthStatus.SUSPENDED, HealthStatus.PROGRESSING
DEGRADED, UNKNOWN = HealthStatus.DEGRADED, HealthStatus.UNKNOWN


def obj(api, kind, *, spec=None, status=None, generation=1, **metadata):
    meta = {"name": "x", "generation": generation, **metadata}
    return {"apiVersion": api, "kind": kind, "metadata": meta, "spec": spec or {}, "status": status or {}}


def cond(type, status, reason="", message=""):
    return {"type": type, "status": status, "reason": reason, "message": message}


def deployment(wanted=3, *, paused=False, **status):
    status = {"observedGeneration": 1} | status
    return obj("apps/v1", "Deployment", spec={"replicas": wanted, "paused": paused}, status=status)


def stateful(replicas=2, strategy=None, **status):
    spec = {"replicas": replicas, "updateStrategy": strategy or {"type": "RollingUpdate"}}
    return obj("apps/v1", "StatefulSet", spec=spec, status={"observedGeneration": 1} | status)


def daemon(strategy="RollingUpdate", **status):
    spec = {"updateStrategy": {"type": strategy}}
    return obj("apps/v1", "DaemonSet", spec=spec, status={"observedGeneration": 1} | status)


def pod(phase, *, restart="Always", containers=(), conditions=(), **status):
    status |= {"phase": phase, "containerStatuses": list(containers), "conditions": list(conditions)}
    return obj("v1", "Pod", spec={"restartPolicy": restart}, status=status)


def waiting(reason, message=""):
    return {"name": "main", "state": {"waiting": {"reason": reason, "message": message}}}


def ended(code=0, **more):
    return {"name": "main", "state": {"terminated": {"exitCode": code, **more}}}


ROLLING = "Waiting for rollout to finish: "
DAEMON = 'Waiting for daemon set "x" rollout to finish: '
PARTITION = {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}
HPA_V1 = {
    "autoscaling.alpha.kubernetes.io/conditions": orjson.dumps(
        [cond("AbleToScale", "True", "SucceededRescale", "ok")]
    ).decode()
}

WORKLOADS = [
    (deployment(updatedReplicas=3, replicas=3, availableReplicas=3), HEALTHY, ""),
    (deployment(paused=True), SUSPENDED, "Deployment is paused"),
    (
        deployment(observedGeneration=0),
        PROGRESSING,
        ROLLING + "observed deployment generation less than desired generation",
    ),
    (
        deployment(conditions=[cond("Progressing", "False", "ProgressDeadlineExceeded")]),
        DEGRADED,
        'Deployment "x" exceeded its progress deadline',
    ),
    (deployment(updatedReplicas=1), PROGRESSING, ROLLING + "1 out of 3 new replicas have been updated..."),
    (deployment(updatedReplicas=3, replicas=4), PROGRESSING, ROLLING + "1 old replicas are pending termination..."),
    (
        deployment(updatedReplicas=3, replicas=3, availableReplicas=2),
        PROGRESSING,
        ROLLING + "2 of 3 updated replicas are available...",
    ),
    (deployment(0), HEALTHY, ""),
    (stateful(observedGeneration=0), PROGRESSING, "Waiting for statefulset spec update to be observed..."),
    (stateful(readyReplicas=1), PROGRESSING, "Waiting for 1 pods to be ready..."),
    (
        stateful(readyReplicas=2, updatedReplicas=1, currentRevision="a", updateRevision="b"),
        PROGRESSING,
        "waiting for statefulset rolling update to complete 1 pods at revision b...",
    ),
    (
        stateful(readyReplicas=2, currentReplicas=2, currentRevision="a", updateRevision="a"),
        HEALTHY,
        "statefulset rolling update complete 2 pods at revision a...",
    ),
    (
        stateful(2, PARTITION, readyReplicas=2, updatedReplicas=0),
        PROGRESSING,
        "Waiting for partitioned roll out to finish: 0 out of 1 new pods have been updated...",
    ),
    (
        stateful(2, PARTITION, readyReplicas=2, updatedReplicas=1),
        HEALTHY,
        "partitioned roll out complete: 1 new pods have been updated...",
    ),
    (stateful(2, {"type": "OnDelete"}, readyReplicas=2), HEALTHY, "statefulset has 2 ready pods"),
    (
        daemon(desiredNumberScheduled=2, updatedNumberScheduled=1),
        PROGRESSING,
        DAEMON + "1 out of 2 new pods have been updated...",
    ),
    (
        daemon(desiredNumberScheduled=2, updatedNumberScheduled=2, numberAvailable=1),
        PROGRESSING,
        DAEMON + "1 of 2 updated pods are available...",
    ),
    (daemon(desiredNumberScheduled=2, updatedNumberScheduled=2, numberAvailable=2), HEALTHY, ""),
    (daemon("OnDelete", desiredNumberScheduled=2), HEALTHY, "daemon set 0 out of 2 new pods have been updated"),
    (
        obj("apps/v1", "ReplicaSet", spec={"replicas": 2}, status={"observedGeneration": 1, "availableReplicas": 1}),
        PROGRESSING,
        ROLLING + "1 out of 2 new replicas are available...",
    ),
    (
        obj(
            "apps/v1",
            "ReplicaSet",
            status={"observedGeneration": 1, "conditions": [cond("ReplicaFailure", "True", "Q", "quota")]},
        ),
        DEGRADED,
        "quota",
    ),
    (obj("batch/v1", "Job"), PROGRESSING, ""),
    (obj("batch/v1", "Job", status={"conditions": [cond("Complete", "True", "", "done")]}), HEALTHY, "done"),
    (obj("batch/v1", "Job", status={"conditions": [cond("Failed", "True", "", "backoff")]}), DEGRADED, "backoff"),
    (obj("batch/v1", "Job", status={"conditions": [cond("Suspended", "True", "", "held")]}), SUSPENDED, "held"),
    (obj("batch/v1", "Job", status={"conditions": [cond("Suspended", "False")]}), PROGRESSING, ""),
    (obj("batch/v1", "CronJob", spec={"suspend": True}), SUSPENDED, "CronJob is Suspended"),
    (obj("batch/v1", "CronJob"), HEALTHY, "CronJob has not been scheduled yet"),
    (
        obj("batch/v1", "CronJob", status={"lastScheduleTime": "2026-01-02", "lastSuccessfulTime": "2026-01-01"}),
        DEGRADED,
        "CronJob has not completed its last execution successfully",
    ),
    (
        obj("batch/v1", "CronJob", status={"lastScheduleTime": "2026-01-01", "lastSuccessfulTime": "2026-01-02"}),
        HEALTHY,
        "CronJob has completed its last execution successfully",
    ),
    (obj("autoscaling/v2", "HorizontalPodAutoscaler"), PROGRESSING, "Waiting to Autoscale"),
    (
        obj(
            "autoscaling/v2",
            "HorizontalPodAutoscaler",
            status={"conditions": [cond("ScalingActive", "False", "FailedGetResourceMetric", "no metrics")]},
        ),
        DEGRADED,
        "no metrics",
    ),
    (obj("autoscaling/v1", "HorizontalPodAutoscaler", annotations=HPA_V1), HEALTHY, "ok"),
    (
        obj("autoscaling/v1", "HorizontalPodAutoscaler", annotations=dict.fromkeys(HPA_V1, "{")),
        PROGRESSING,
        "Waiting to Autoscale",
    ),
]

PODS = [
    (pod("Pending"), PROGRESSING, ""),
    (pod("Pending", containers=[waiting("ImagePullBackOff", "no image")]), DEGRADED, "no image"),
    (pod("Running", containers=[waiting("CrashLoopBackOff")]), DEGRADED, "CrashLoopBackOff"),
    (pod("Running", containers=[waiting("ContainerCreating")]), PROGRESSING, ""),
    (pod("Pending", initContainerStatuses=[waiting("ErrImagePull", "no image")]), DEGRADED, "no image"),
    (pod("Running", conditions=[cond("Ready", "True")]), HEALTHY, ""),
    (pod("Running", conditions=[cond("Ready", "False")]), PROGRESSING, ""),
    (pod("Running", containers=[{"name": "main", "lastState": {"terminated": {"exitCode": 1}}}]), DEGRADED, ""),
    (pod("Running", restart="Never"), PROGRESSING, ""),
    (pod("Succeeded", restart="Never"), HEALTHY, ""),
    (pod("Failed", restart="Never", message="evicted"), DEGRADED, "evicted"),
    (pod("Failed", restart="Never", containers=[ended(3)]), DEGRADED, 'container "main" failed with exit code 3'),
    (pod("Failed", restart="Never", containers=[ended(137, reason="OOMKilled")]), DEGRADED, "OOMKilled"),
    (pod("Failed", restart="Never", containers=[ended(1, message="no config")]), DEGRADED, "no config"),
]

OTHERS = [
    (obj("v1", "PersistentVolumeClaim", status={"phase": "Bound"}), HEALTHY, ""),
    (obj("v1", "PersistentVolumeClaim", status={"phase": "Pending"}), PROGRESSING, ""),
    (obj("v1", "PersistentVolumeClaim", status={"phase": "Lost"}), DEGRADED, ""),
    (obj("v1", "PersistentVolumeClaim", status={"phase": "Strange"}), UNKNOWN, ""),
    (obj("v1", "PersistentVolume", status={"phase": "Available"}), HEALTHY, ""),
    (obj("v1", "PersistentVolume", status={"phase": "Failed", "message": "no recycler"}), DEGRADED, "no recycler"),
    (obj("v1", "Service", spec={"type": "ClusterIP"}), HEALTHY, ""),
    (obj("v1", "Service", spec={"type": "LoadBalancer"}), PROGRESSING, ""),
    (
        obj("v1", "Service", spec={"type": "LoadBalancer"}, status={"loadBalancer": {"ingress": [{"ip": "10.0.0.1"}]}}),
        HEALTHY,
        "",
    ),
    (obj("networking.k8s.io/v1", "Ingress"), PROGRESSING, ""),
    (
        obj("networking.k8s.io/v1", "Ingress", status={"loadBalancer": {"ingress": [{"hostname": "h"}]}}),
        HEALTHY,
        "",
    ),
    (obj("v1", "Node", status={"conditions": [cond("Ready", "True")]}), HEALTHY, ""),
    (
        obj("v1", "Node", status={"conditions": [cond("Ready", "Unknown", "NodeStatusUnknown", "lost")]}),
        DEGRADED,
        "lost",
    ),
    (
        obj("v1", "Node", spec={"unschedulable": True}, status={"conditions": [cond("Ready", "True")]}),
        SUSPENDED,
        "Node is cordoned",
    ),
    (obj("v1", "Namespace", status={"phase": "Active"}), HEALTHY, ""),
    (
        obj(
            "v1",
            "Namespace",
            status={"phase": "Terminating", "conditions": [cond("NamespaceContentRemaining", "True", "", "2 left")]},
        ),
        PROGRESSING,
        "2 left",
    ),
    (obj("apiregistration.k8s.io/v1", "APIService"), PROGRESSING, "Waiting to be processed"),
    (
        obj(
            "apiregistration.k8s.io/v1",
            "APIService",
            status={"conditions": [cond("Available", "True", "Passed", "ok")]},
        ),
        HEALTHY,
        "Passed: ok",
    ),
    (
        obj("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
        PROGRESSING,
        "Status conditions not found",
    ),
    (
        obj(
            "apiextensions.k8s.io/v1",
            "CustomResourceDefinition",
            status={"conditions": [cond("NamesAccepted", "True"), cond("Established", "True")]},
        ),
        HEALTHY,
        "CRD is healthy",
    ),
    (
        obj(
            "apiextensions.k8s.io/v1",
            "CustomResourceDefinition",
            status={"conditions": [cond("NamesAccepted", "False", "C", "taken")]},
        ),
        DEGRADED,
        "CRD names have not been accepted: taken",
    ),
    (
        obj("apiextensions.k8s.io/v1", "CustomResourceDefinition", deletionTimestamp="2026"),
        PROGRESSING,
        "CRD is terminating",
    ),
    (
        obj("storage.k8s.io/v1", "VolumeAttachment", status={"attachError": {"message": "busy"}}),
        DEGRADED,
        "busy",
    ),
    (obj("storage.k8s.io/v1", "VolumeAttachment", status={"attached": True}), HEALTHY, ""),
    (
        obj(
            "certificates.k8s.io/v1",
            "CertificateSigningRequest",
            status={"conditions": [cond("Denied", "True", "D", "no")]},
        ),
        DEGRADED,
        "no",
    ),
    (obj("certificates.k8s.io/v1", "CertificateSigningRequest"), PROGRESSING, "Waiting for approval"),
    (obj("resource.k8s.io/v1", "ResourceClaim", status={"allocation": {}}), HEALTHY, "Allocated"),
    (
        obj(
            "admissionregistration.k8s.io/v1",
            "ValidatingAdmissionPolicy",
            status={"typeChecking": {"expressionWarnings": [{"fieldRef": "spec.x", "warning": "no such key"}]}},
        ),
        DEGRADED,
        "spec.x: no such key",
    ),
    (
        obj(
            "flowcontrol.apiserver.k8s.io/v1",
            "FlowSchema",
            status={"conditions": [cond("Dangling", "True", "", "gone")]},
        ),
        DEGRADED,
        "gone",
    ),
    (
        obj(
            "storagemigration.k8s.io/v1beta1",
            "StorageVersionMigration",
            status={"conditions": [cond("Failed", "True", "", "f")]},
        ),
        DEGRADED,
        "f",
    ),
    (obj("v1", "ConfigMap"), HEALTHY, ""),
    (obj("v1", "ResourceQuota", status={"used": {"pods": "3"}}), HEALTHY, ""),
    (obj("storage.k8s.io/v1", "StorageClass"), HEALTHY, ""),
    (obj("rbac.authorization.k8s.io/v1", "ClusterRole"), HEALTHY, ""),
]
ROWS = [*WORKLOADS, *PODS, *OTHERS]


@pytest.mark.parametrize(
    ("body", "status", "message"), ROWS, ids=[f"{n}-{row[0]['kind']}" for n, row in enumerate(ROWS)]
)
def test_table(body, status, message):
    found = assess(body)
    assert (found.status, found.message) == (status, message)


@pytest.mark.parametrize("body", [deployment(), pod("Running"), obj("v1", "ConfigMap"), obj("a.b/v1", "Widget")])
def test_what_is_being_deleted_is_progressing(body):
    body["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    found = assess(body)
    assert (found.status, found.message) == (PROGRESSING, "Pending deletion")


@pytest.mark.parametrize(
    ("kind", "needed"),
    [
        (KindRef("", "ConfigMap"), False),
        (KindRef("", "Secret"), False),
        (KindRef("rbac.authorization.k8s.io", "Role"), False),
        (KindRef("storage.k8s.io", "StorageClass"), False),
        (KindRef("", "Pod"), True),
        (KindRef("", "Service"), True),
        (KindRef("apps", "Deployment"), True),
        (KindRef("storage.k8s.io", "VolumeAttachment"), True),
        (KindRef("example.com", "Secret"), True),
        (KindRef("example.com", "Widget"), True),
    ],
)
def test_needs_body(kind, needed):
    assert needs_body(kind) is needed


def test_a_kind_without_a_body_is_healthy_whatever_its_body_says():
    for group, kind in [("", "ConfigMap"), ("scheduling.k8s.io", "PriorityClass"), ("node.k8s.io", "RuntimeClass")]:
        assert not needs_body(KindRef(group, kind))
        assert assess({"apiVersion": f"{group}/v1", "kind": kind}).status is HEALTHY
