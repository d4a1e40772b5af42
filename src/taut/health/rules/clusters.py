"""Clusters and machines as objects: Cluster API, Karpenter, KubeVirt, Karmada, Capsule, OpenShift, OLM."""

from __future__ import annotations

from taut.health.observed import Condition, Observed, conditions
from taut.health.verdicts import (
    DEGRADED,
    HEALTHY,
    PROGRESSING,
    SUSPENDED,
    Rules,
    When,
    by_conditions,
    degraded,
    healthy,
    in_order,
    match,
    progressing,
    ready,
    suspended,
    unknown,
)
from taut.model.health import Health


def capi_cluster(obj: Observed) -> Health:
    """Cluster API's Cluster: paused, its phase, then what the Ready condition objects to."""
    if obj.flag("spec", "paused"):
        return suspended("Cluster is paused")
    condition = obj.condition("Ready")
    if condition is not None and condition.false:
        return degraded(condition.message)
    phase = obj.text("status", "phase")
    if phase == "Provisioned":
        return healthy("Cluster is running")
    return degraded() if phase == "Failed" else progressing("Waiting for clusters")


def capi_machine(obj: Observed) -> Health:
    """Cluster API's Machine: its phase, told by the Ready condition until it runs."""
    phase = obj.text("status", "phase")
    if phase == "Running":
        return healthy("Machine is running")
    condition = obj.condition("Ready")
    said = condition.message if condition is not None and condition.false else "Condition is unknown"
    return degraded(said) if phase == "Failed" else progressing(said)


def capi_machine_deployment(obj: Observed) -> Health:
    """Cluster API's MachineDeployment: its phase, and all machines updated and ready."""
    if obj.flag("spec", "paused"):
        return suspended("MachineDeployment is paused")
    phase = obj.text("status", "phase")
    replicas = obj.number("status", "replicas")
    settled = replicas == obj.number("status", "updatedReplicas") == obj.number("status", "readyReplicas")
    if phase == "Running" and settled:
        return healthy("Machines are running under this deployment")
    if phase == "Failed":
        return degraded("MachineDeployment is failed")
    moving = {"ScalingUp": "Cluster is spawning machines", "ScalingDown": "Cluster is stopping machines"}
    return progressing(moving.get(phase, "Waiting for machines"))


def capi_machine_pool(obj: Observed) -> Health:
    """Cluster API's MachinePool: its phase, and every condition that does not hold."""
    phase = obj.text("status", "phase")
    said = f"MachinePool is {phase}" if phase else ""
    failing = [f"Not {c.type}" + (f" ({c.reason})" if c.reason else "") for c in obj.conditions if c.false]
    said += f": {', '.join(failing)}" if failing else ""
    if phase in {"Running", "Scaling"}:
        return healthy(said)
    return degraded(said) if phase in {"Failed", "Unknown"} else progressing(said)


def capi_health_check(obj: Observed) -> Health:
    """Cluster API's MachineHealthCheck: as many healthy machines as expected."""
    expected, current = obj.number("status", "expectedMachines"), obj.number("status", "currentHealthy")
    if expected is None and current is None:
        return progressing()
    return healthy() if expected == current else degraded()


def capi_aws_control_plane(obj: Observed) -> Health:
    """Cluster API's AWSManagedControlPlane: terminal failures, updates in place, then Ready."""
    if not obj.has("status", "conditions"):
        return progressing("Provisioning...")
    failure = obj.text("status", "failureMessage")
    if failure:
        return degraded(failure)
    if match(obj, When("EKSControlPlaneUpdating", "True", PROGRESSING)) is not None:
        return progressing("EKS control plane is updating")
    if match(obj, When("Ready", "True", HEALTHY)) is not None:
        return healthy("Control plane is ready")
    errors = [c.message for c in obj.conditions if c.false and c.raw.get("severity") == "Error"]
    if errors:
        return degraded("".join(f"{error} " for error in errors))
    unready = obj.at("status", "ready") is False
    return progressing(
        "Control plane is not ready (.status.ready is false)" if unready else "Control plane is not ready"
    )


def capi_control_plane(obj: Observed) -> Health:
    """Cluster API's KubeadmControlPlane: etcd, machines, components, then the replica counts."""
    if not obj.has("status"):
        return progressing("Waiting for KubeadmControlPlane status")
    old = {c.type: c for c in obj.conditions}
    new = {c.type: c for c in conditions(obj.at("status", "v1beta2", "conditions"))}

    def unmet(found: dict[str, Condition], name: str) -> bool:
        return name in found and not found[name].true

    if unmet(old, "EtcdClusterHealthy"):
        return degraded("Etcd cluster is unhealthy")
    if unmet(new, "MachinesReady"):
        return progressing("Machines not ready")
    if unmet(new, "MachinesUpToDate"):
        return progressing("Updating machines")
    if unmet(old, "ControlPlaneComponentsHealthy"):
        return progressing("Control plane components unhealthy")
    if "RollingOut" in new and new["RollingOut"].true:
        return progressing("Rolling out")
    replicas, updated = obj.count("status", "replicas"), obj.count("status", "updatedReplicas")
    available = obj.count("status", "readyReplicas")
    if updated < replicas:
        return progressing(f"Updating: {updated}/{replicas} updated, {available} ready")
    return (
        healthy("Control plane is healthy") if available == replicas else progressing(f"{available}/{replicas} ready")
    )


_CLAIM_STEPS = (
    ("Initialized", "Node initialized, waiting for Ready"),
    ("Registered", "Node registered, waiting for initialization"),
    ("Launched", "Node launched, waiting for registration"),
)


def node_claim(obj: Observed) -> Health:
    """Karpenter's NodeClaim: disrupted, ready, failed, or the step it has reached."""
    found = match(obj, When("Disrupting", "True", SUSPENDED)) or match(
        obj, When("Ready", "True", HEALTHY), When("Ready", "False", DEGRADED)
    )
    if found is not None:
        return found
    reached = {c.type for c in obj.conditions if c.true}
    return progressing(
        next((said for step, said in _CLAIM_STEPS if step in reached), "Waiting for NodeClaim to be launched")
    )


def virtual_machine(obj: Observed) -> Health:
    """KubeVirt's VirtualMachine: paused, running, starting, stopped; told as KubeVirt prints it."""
    paused, condition = obj.condition("Paused"), obj.condition("Ready")
    if paused is not None and paused.true:
        return suspended("Paused")
    printed = obj.text("status", "printableStatus")
    if condition is None:
        return progressing(printed or "No status available")
    if condition.true:
        return healthy(printed or "Running")
    created = obj.flag("status", "created")
    return progressing(printed or "Starting") if created else suspended(printed or "Stopped")


def virtual_machine_instance(obj: Observed) -> Health:
    """KubeVirt's VirtualMachineInstance: its phase until it runs, then Ready and Paused."""
    phase = obj.text("status", "phase")
    early = {"Failed": degraded, "Succeeded": suspended, "Unknown": unknown}
    if phase in early:
        return early[phase](phase)
    if phase in {"Pending", "Scheduling", "Scheduled"}:
        return progressing(phase)
    paused, condition = obj.condition("Paused"), obj.condition("Ready")
    if paused is not None and paused.true:
        return suspended(paused.message)
    if condition is None:
        return progressing(phase or "No status available")
    return healthy("Running") if condition.true else degraded(condition.message)


def data_volume(obj: Observed) -> Health:
    """KubeVirt's DataVolume: its phase; a Running condition that reports an error is a failure whatever the phase."""
    phase = obj.text("status", "phase")
    if not phase:
        return progressing("No status available")
    running = obj.condition("Running")
    if running is not None and running.false and running.reason == "Error":
        return degraded(running.message)
    if phase == "Succeeded":
        return healthy(phase)
    return degraded(phase) if phase in {"Failed", "Unknown"} else progressing(phase)


def karmada_binding(obj: Observed) -> Health:
    """Karmada's ResourceBinding: applied to the clusters, and healthy (or not judged) in each."""
    applied, scheduled = obj.condition("FullyApplied"), obj.condition("Scheduled")
    parts = obj.each("status", "aggregatedStatus")
    settled = applied is not None and applied.true and (scheduled is None or scheduled.true)
    if not settled or not parts:
        return progressing("Current resource status is insufficient")
    if any(not part.flag("applied") or part.text("health") == "Unhealthy" for part in parts):
        return degraded("Current resource status is unhealthy")
    return healthy()


def deployment_config(obj: Observed) -> Health:
    """OpenShift's DeploymentConfig: Available and Progressing together."""
    waiting = progressing("replication controller is waiting for pods to run")
    replicas = obj.number("status", "replicas")
    if replicas is None or not obj.has("status", "conditions"):
        return waiting
    rolled_out = ("Progressing", "NewReplicationControllerAvailable")
    good = sum(1 for c in obj.conditions if c.true and (c.type == "Available" or (c.type, c.reason) == rolled_out))
    if good == 2 or replicas == 0:
        return healthy("replication controller successfully rolled out")
    return waiting if good == 1 else degraded("Deployment config is degraded")


def cluster_operator(obj: Observed) -> Health:
    """OpenShift's ClusterOperator, ClusterVersion and pools: Degraded, Progressing, Available."""
    found = (
        match(obj, When("Degraded", "True", DEGRADED), When("Failing", "True", DEGRADED))
        or match(obj, When("Progressing", "True", PROGRESSING), When("Updating", "True", PROGRESSING))
        or match(obj, When("Available", "True", HEALTHY), When("Updated", "True", HEALTHY))
    )
    return found or progressing(f"Waiting for {obj.kind}")


def subscription(obj: Observed) -> Health:
    """OLM's Subscription: nothing unhealthy, no install plan pending; all conditions are listed."""
    pending = progressing("An install plan for a subscription is pending installation")
    if not obj.has("status", "conditions"):
        return pending
    told = "".join(f"{n}: {c.type} | {c.status}\n" for n, c in enumerate(obj.conditions, start=1))
    bad = {"CatalogSourcesUnhealthy", "InstallPlanFailed", "ResolutionFailed"}
    for condition in obj.conditions:
        missing = condition.type == "InstallPlanMissing" and condition.reason != "ReferencedInstallPlanNotFound"
        if missing or (condition.type in bad and condition.true):
            return degraded(told)
    waits = any(c.type == "InstallPlanPending" and c.true for c in obj.conditions)
    return pending if waits else healthy(told)


def olm(obj: Observed) -> Health:
    """OLM's ClusterServiceVersion and InstallPlan: the phase, with its message."""
    phase = obj.text("status", "phase")
    said = obj.text("status", "message") or phase
    if phase in {"Succeeded", "Complete"}:
        return healthy(said)
    if phase == "RequiresApproval":
        return suspended(said)
    return degraded(said) if phase == "Failed" else progressing(said or f"Waiting for {obj.kind}")


def catalog_source(obj: Observed) -> Health:
    """OLM's CatalogSource: the state of the last connection."""
    state = obj.text("status", "connectionState", "lastObservedState")
    if state == "READY":
        return healthy(state)
    return degraded(state) if state == "TRANSIENT_FAILURE" else progressing(state or "Waiting for CatalogSource")


_CAPSULE = by_conditions(
    When("Ready", "False", DEGRADED),
    When("Ready", "True", HEALTHY),
    waiting="Waiting for status",
    observed="Waiting for reconciliation (generation mismatch)",
)


def capsule(obj: Observed) -> Health:
    """Capsule: cordoned by a person, else Ready in this generation."""
    if not obj.has("status", "conditions"):
        return progressing("Waiting for status")
    cordoned = match(obj, When("Cordoned", "True", SUSPENDED))
    if cordoned is not None and not obj.stale:
        return cordoned
    if obj.condition("Ready") is None and not obj.stale:
        return progressing("Waiting for Ready condition")
    return _CAPSULE(obj)


RULES: Rules = {
    "cluster.x-k8s.io": {
        "Cluster": capi_cluster,
        "Machine": capi_machine,
        "MachineDeployment": capi_machine_deployment,
        "MachinePool": capi_machine_pool,
        "MachineHealthCheck": capi_health_check,
    },
    "addons.cluster.x-k8s.io": {
        "ClusterResourceSet": ready(
            "Initializing cluster resource set", type="ResourcesApplied", good="cluster resource set is applied"
        )
    },
    "controlplane.cluster.x-k8s.io": {
        "AWSManagedControlPlane": capi_aws_control_plane,
        "KubeadmControlPlane": capi_control_plane,
    },
    "karpenter.sh": {
        "NodeClaim": node_claim,
        "NodePool": in_order(
            When("Ready", "False", DEGRADED),
            When("Ready", "True", HEALTHY),
            When("NodeClassReady", "False", DEGRADED),
            waiting="Waiting for NodePool to be ready",
        ),
    },
    "karpenter.k8s.aws": {"EC2NodeClass": ready("Waiting for EC2NodeClass to be ready")},
    "karpenter.azure.com": {"AKSNodeClass": ready("Waiting for AKSNodeClass to be ready")},
    "kubevirt.io": {"VirtualMachine": virtual_machine, "VirtualMachineInstance": virtual_machine_instance},
    "cdi.kubevirt.io": {"DataVolume": data_volume},
    "work.karmada.io": {"ResourceBinding": karmada_binding, "ClusterResourceBinding": karmada_binding},
    "apps.openshift.io": {"DeploymentConfig": deployment_config},
    "config.openshift.io": {"ClusterOperator": cluster_operator, "ClusterVersion": cluster_operator},
    "machineconfiguration.openshift.io": {"MachineConfigPool": cluster_operator},
    "operators.coreos.com": {
        "Subscription": subscription,
        "ClusterServiceVersion": olm,
        "InstallPlan": olm,
        "CatalogSource": catalog_source,
    },
    "capsule.clastix.io": {"*": capsule},
}
