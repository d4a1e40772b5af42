"""Rules of ecosystem kinds that the public fixtures do not hold, from the documented status fields of their CRDs."""

import pytest

from taut.health.assess import assess
from taut.health.catalog import CATALOG, rule_for
from taut.model.health import HealthStatus

HEALTHY, SUSPENDED, PROGRESSING = HealthStatus.HEALTHY, HealthStatus.SUSPENDED, HealthStatus.PROGRESSING
DEGRADED, UNKNOWN, MISSING = HealthStatus.DEGRADED, HealthStatus.UNKNOWN, HealthStatus.MISSING


def obj(api, kind, status=None, spec=None, **metadata):
    body = {"apiVersion": api, "kind": kind, "metadata": {"name": "x", **metadata}, "spec": spec or {}}
    return body if status is None else body | {"status": status}


def conds(*triples, **more):
    keys = ("type", "status", "reason", "message")
    return {"conditions": [dict(zip(keys, triple, strict=False)) for triple in triples], **more}


READY, NOT_READY = ("Ready", "True", "Ok", "fine"), ("Ready", "False", "Bad", "broken")
CERT, ISSUING = "cert-manager.io/v1", ("Issuing", "True", "Renewing", "renewing")
FLUX = "kustomize.toolkit.fluxcd.io/v1"
S3 = "s3.aws.upbound.io/v1beta1"

ROWS = [
    (obj(CERT, "Certificate"), PROGRESSING, "Waiting for certificate"),
    (obj(CERT, "Certificate", conds(READY, ISSUING)), PROGRESSING, "renewing"),
    (obj(CERT, "Certificate", conds(NOT_READY)), DEGRADED, "broken"),
    (obj(CERT, "Certificate", conds(READY)), HEALTHY, "fine"),
    (obj("acme.cert-manager.io/v1", "Order", {"state": "errored"}), DEGRADED, "Order is errored"),
    (obj("external-secrets.io/v1", "ExternalSecret", conds(NOT_READY)), DEGRADED, "broken"),
    (obj("external-secrets.io/v1", "ExternalSecret"), PROGRESSING, "Waiting for ExternalSecret"),
    (obj("onepassword.com/v1", "OnePasswordItem"), PROGRESSING, "Waiting for controller to report status"),
    (obj(FLUX, "Kustomization", spec={"suspend": True}), SUSPENDED, "Kustomization is suspended"),
    (obj(FLUX, "Kustomization"), PROGRESSING, "Status unknown"),
    (
        obj(FLUX, "Kustomization", conds(("Ready", "True", "ReconciliationSucceeded"))),
        HEALTHY,
        "ReconciliationSucceeded",
    ),
    (
        obj(FLUX, "Kustomization", conds(("Ready", "Unknown", "Progressing"), ("Reconciling", "True", "Progressing"))),
        PROGRESSING,
        "Progressing",
    ),
    (obj(FLUX, "Kustomization", conds(("Ready", "False", "BuildFailed"))), DEGRADED, "BuildFailed"),
    (
        obj("source.toolkit.fluxcd.io/v1", "HelmRepository", {}, {"type": "oci"}),
        HEALTHY,
        "Helm repositories of type 'oci' do not contain any information in the status.",
    ),
    (
        obj(
            "helm.toolkit.fluxcd.io/v2",
            "HelmRelease",
            conds(("Ready", "True", "TestSucceeded"), ("Released", "True"), ("TestSuccess", "True")),
        ),
        HEALTHY,
        "TestSucceeded",
    ),
    (obj("argoproj.io/v1alpha1", "AnalysisRun", {"phase": "Inconclusive"}), UNKNOWN, "Analysis run was inconclusive"),
    (obj("argoproj.io/v1alpha1", "AnalysisRun", {"phase": "Failed", "message": "m"}), DEGRADED, "m"),
    (obj("argoproj.io/v1alpha1", "Workflow", {"phase": "Running", "message": "1/2"}), PROGRESSING, "1/2"),
    (
        obj("argoproj.io/v1alpha1", "Application", {"health": {"status": "Missing", "message": "gone"}}),
        MISSING,
        "gone",
    ),
    (obj("argoproj.io/v1alpha1", "ApplicationSet"), PROGRESSING, "Waiting for the status to be reported"),
    (
        obj(
            "argoproj.io/v1alpha1",
            "ApplicationSet",
            conds(("ResourcesUpToDate", "True", "", "ok"), ("ErrorOccurred", "True", "", "template")),
        ),
        DEGRADED,
        "template",
    ),
    (obj("argoproj.io/v1alpha1", "CronWorkflow"), HEALTHY, "CronWorkflow is healthy."),
    (obj(S3, "Bucket", {}), PROGRESSING, "Provisioning ..."),
    (obj(S3, "Bucket", conds(("Synced", "True"), READY)), HEALTHY, "Resource is up-to-date."),
    (obj(S3, "Bucket", conds(READY, ("Synced", "False", "X", "denied"))), DEGRADED, "denied"),
    (obj(S3, "Bucket", conds(("Synced", "False", "ReconcilePaused"), READY)), SUSPENDED, "ReconcilePaused"),
    (obj("aws.upbound.io/v1beta1", "ProviderConfig", {"users": 2}), HEALTHY, "Resource is in use."),
    (
        obj("pkg.crossplane.io/v1", "Provider", conds(("Installed", "True", "Active"), ("Healthy", "False", "Bad"))),
        DEGRADED,
        "Active Bad",
    ),
    (
        obj("sql.cnrm.cloud.google.com/v1", "SQLInstance", conds(("Ready", "False", "UpdateFailed", "quota"))),
        DEGRADED,
        "quota",
    ),
    (
        obj("sql.cnrm.cloud.google.com/v1", "SQLInstance", conds(("Ready", "False", "DependencyNotReady", "vpc"))),
        SUSPENDED,
        "vpc",
    ),
    (obj("cluster.x-k8s.io/v1beta1", "Cluster", spec={"paused": True}), SUSPENDED, "Cluster is paused"),
    (obj("cluster.x-k8s.io/v1beta1", "Cluster", {"phase": "Provisioned"}), HEALTHY, "Cluster is running"),
    (
        obj("cluster.x-k8s.io/v1beta1", "MachinePool", conds(("Ready", "False", "Wait"), phase="ScalingUp")),
        PROGRESSING,
        "MachinePool is ScalingUp: Not Ready (Wait)",
    ),
    (obj("kafka.strimzi.io/v1", "KafkaUser"), PROGRESSING, "Waiting for Kafka User"),
    (obj("rabbitmq.com/v1beta1", "User", {}), UNKNOWN, "RabbitMQ user status is unknown"),
    (
        obj("acid.zalan.do/v1", "postgresql", {"PostgresClusterStatus": "SyncFailed"}),
        DEGRADED,
        "SyncFailed",
    ),
    (
        obj("psmdb.percona.com/v1", "PerconaServerMongoDB", {"state": "ready", "ready": 3, "size": 3}),
        HEALTHY,
        "3/3 node(s) are ready",
    ),
    (
        obj(
            "elasticsearch.k8s.elastic.co/v1",
            "Elasticsearch",
            {"availableNodes": 2, "phase": "Ready", "health": "green"},
            {"nodeSets": [{"count": 1}, {"count": 1}]},
        ),
        HEALTHY,
        "Elasticsearch Cluster status is Green",
    ),
    (
        obj("kubevirt.io/v1", "VirtualMachine", conds(("Ready", "False"), printableStatus="Stopped")),
        SUSPENDED,
        "Stopped",
    ),
    (
        obj("ceph.rook.io/v1", "CephCluster", {"ceph": {"health": "HEALTH_OK"}, "state": "Created", "message": "ok"}),
        HEALTHY,
        "Ceph health is HEALTH_OK - Ceph cluster state is Created - ok",
    ),
    (obj("velero.io/v1", "Backup", {"phase": "PartiallyFailed"}), DEGRADED, "PartiallyFailed"),
    (obj("longhorn.io/v1beta2", "Volume", {"robustness": "faulted"}), DEGRADED, "Volume is faulted"),
    (
        obj("operators.coreos.com/v1alpha1", "Subscription", conds(("InstallPlanPending", "True"))),
        PROGRESSING,
        "An install plan for a subscription is pending installation",
    ),
    (
        obj("operators.coreos.com/v1alpha1", "Subscription", conds(("CatalogSourcesUnhealthy", "False"))),
        HEALTHY,
        "1: CatalogSourcesUnhealthy | False\n",
    ),
    (
        obj("monitoring.coreos.com/v1", "Prometheus", conds(("Available", "True"))),
        HEALTHY,
        "All instances are available",
    ),
    (
        obj("opentelemetry.io/v1beta1", "OpenTelemetryCollector", {"scale": {"statusReplicas": "1/3"}}),
        PROGRESSING,
        "Replicas are starting up",
    ),
    (obj("jaegertracing.io/v1", "Jaeger"), PROGRESSING, "Waiting for Jaeger"),
    (
        obj(
            "gateway.networking.k8s.io/v1",
            "Gateway",
            conds(("Accepted", "True"), ("Programmed", "False", "Pending", "no address")),
        ),
        PROGRESSING,
        "no address",
    ),
    (obj("gateway.networking.k8s.io/v1", "GRPCRoute", {"parents": []}), PROGRESSING, "Waiting for GRPCRoute status"),
    (
        obj(
            "sparkoperator.k8s.io/v1beta2",
            "SparkApplication",
            {"applicationState": {"state": "FAILED", "errorMessage": "e"}},
        ),
        DEGRADED,
        "e",
    ),
    (obj("apps.kruise.io/v1alpha1", "BroadcastJob", {"phase": "failed", "failed": 1}), DEGRADED, "BroadcastJob failed"),
    (obj("flagger.app/v1beta1", "Canary"), UNKNOWN, "No status"),
    (
        obj(
            "flagger.app/v1beta1",
            "Canary",
            conds(("Promoted", "Unknown", "", "going"), phase="Progressing", canaryWeight=10),
        ),
        PROGRESSING,
        "Progressing --- Canary Weight: 10 % --- going",
    ),
    (
        obj("apps.openshift.io/v1", "DeploymentConfig", conds(("Available", "True"), replicas=1)),
        PROGRESSING,
        "replication controller is waiting for pods to run",
    ),
    (obj("cdi.kubevirt.io/v1beta1", "DataVolume", {"phase": "Failed"}), DEGRADED, "Failed"),
    (
        obj("controlplane.cluster.x-k8s.io/v1beta1", "KubeadmControlPlane", {"replicas": 3, "updatedReplicas": 1}),
        PROGRESSING,
        "Updating: 1/3 updated, 0 ready",
    ),
    (
        obj("controlplane.cluster.x-k8s.io/v1beta2", "AWSManagedControlPlane", conds(READY, failureMessage="denied")),
        DEGRADED,
        "denied",
    ),
    (obj("eventing.knative.dev/v1", "Broker", conds(("Ready", "Unknown", "Wait"))), PROGRESSING, "Wait"),
    (
        obj("serving.kserve.io/v1alpha1", "LLMInferenceService", conds(NOT_READY, ("RouterReady", "False", "NoRoute"))),
        DEGRADED,
        "RouterReady: False | NoRoute",
    ),
    (obj("cassandra.datastax.com/v1beta1", "CassandraDatacenter"), UNKNOWN, "No conditions found"),
    (obj("s3.aws.crossplane.io/v1beta1", "Bucket", {}), PROGRESSING, "Waiting for Bucket to be created"),
    (obj("tekton.dev/v1", "PipelineRun", conds(("Succeeded", "Unknown", "Running", "1 of 2"))), PROGRESSING, "1 of 2"),
]


@pytest.mark.parametrize(
    ("body", "status", "message"), ROWS, ids=[f"{n}-{row[0]['kind']}" for n, row in enumerate(ROWS)]
)
def test_table(body, status, message):
    found = assess(body)
    assert (found.status, found.message) == (status, message)


def test_the_most_exact_rule_wins():
    assert rule_for("iam.aws.crossplane.io", "Role") is CATALOG["iam.aws.crossplane.io"]["Role"]
    assert rule_for("iam.aws.crossplane.io", "User") is CATALOG["*.crossplane.io"]["*"]
    assert rule_for("crossplane.io", "Role") is None
    assert rule_for("example.com", "Role") is None


def test_messages_of_an_object_are_no_templates():
    said = "{message} {0} {kind.__class__}"
    assert assess(obj(CERT, "Certificate", conds(("Ready", "False", "Bad", said)))).message == said
