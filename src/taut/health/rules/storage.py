"""Storage: volume snapshots, Rook, Longhorn, MinIO, NetApp's Astra and Trident, Velero."""

from __future__ import annotations

from taut.health.observed import Observed
from taut.health.verdicts import (
    DEGRADED,
    HEALTHY,
    PROGRESSING,
    Rule,
    Rules,
    Word,
    by_word,
    degraded,
    healthy,
    progressing,
    suspended,
    words,
)
from taut.model.health import Health

_NO_STATUS = Word(PROGRESSING, "No status available")


def snapshot(obj: Observed) -> Health:
    """VolumeSnapshot and its content: the error, or ready to use."""
    if obj.has("status", "error"):
        return degraded(obj.text("status", "error", "message"))
    return healthy("Ready to use") if obj.flag("status", "readyToUse") else progressing("Waiting for status")


def ceph_cluster(obj: Observed) -> Health:
    """Rook's CephCluster: Ceph's own health with its details, then the operator's state."""
    if not obj.has("status"):
        return progressing("Waiting for status to be reported")
    verdict, told = PROGRESSING, list[str]()
    health = obj.text("status", "ceph", "health")
    if health:
        details = obj.mapping("status", "ceph", "details")
        said = [Observed(details[key]).text("message") for key in sorted(details)]
        listed = "; ".join(text for text in said if text)
        told.append(f"Ceph health is {health}" + (f" ({listed})" if listed else ""))
        verdict = {"HEALTH_OK": HEALTHY, "HEALTH_WARN": DEGRADED, "HEALTH_ERR": DEGRADED}.get(health, verdict)
    state = obj.text("status", "state")
    if state and verdict is HEALTHY:
        told.append(f"Ceph cluster state is {state}")
        verdict = {"Created": HEALTHY, "Connected": HEALTHY, "Error": DEGRADED}.get(state, PROGRESSING)
    told.append(obj.text("status", "message"))
    return Health(verdict, " - ".join(text for text in told if text))


def ceph_object_store(obj: Observed) -> Health:
    """Rook's CephObjectStore: its phase, with the endpoint where it has one."""
    phase, endpoint = obj.text("status", "phase"), obj.text("status", "info", "endpoint")
    if not phase:
        return progressing("Waiting for status to be reported")
    said = f"Ceph object store phase is {phase}" + (f" - endpoint: {endpoint}" if endpoint else "")
    if phase in {"Ready", "Connected"}:
        return healthy(said)
    return degraded(said) if phase in {"Failure", "DeletionIsBlocked"} else progressing(said)


def longhorn_volume(obj: Observed) -> Health:
    """Longhorn's Volume: faulted, attached, detached."""
    state, robustness = obj.text("status", "state"), obj.text("status", "robustness")
    if robustness == "faulted":
        return degraded("Volume is faulted")
    if state == "attached" and robustness == "healthy":
        return healthy("Volume is attached and healthy")
    if state == "attached" and robustness == "degraded":
        return progressing("Volume is degraded (rebuilding replicas)")
    if state == "detached":
        return healthy("Volume is detached")
    return progressing(f"Volume is {state}" if state else "Waiting for volume")


def minio_tenant(obj: Observed) -> Health:
    """MinIO's Tenant: a sentence as state; those that a person must act on are known."""
    state = obj.text("status", "currentState")
    if not state:
        return progressing("No status info available")
    if state == "Initialized":
        return healthy(state)
    return degraded(state) if state in _MINIO_BAD else progressing(state)


_MINIO_BAD = frozenset(
    {
        "Statefulset not controlled by operator",
        "Another MinIO Tenant already exists in the namespace",
        "Tenant credentials are not set properly",
        "Different versions across MinIO Pools",
        "Pool Decommissioning Not Allowed",
    }
)


def astra_application(obj: Observed) -> Health:
    """Astra's Application: Ready, with its protection."""
    ready = obj.condition("Ready")
    if ready is None:
        return progressing("No status available")
    if ready.true:
        return healthy(f"Astra Application Ready, protectionState: {obj.text('status', 'protectionState')}")
    return degraded(f"Astra Application Degraded, message: {ready.message}")


def astra_schedule(obj: Observed) -> Health:
    """Astra's Schedule: when it last ran."""
    last = obj.text("status", "lastScheduleTime")
    return healthy(f"Protection policy lastScheduleTime: {last}" if last else "Protection policy not yet executed")


def astra_hook(obj: Observed) -> Health:
    """Astra's ExecHook: switched on or off."""
    enabled = obj.at("spec", "enabled")
    if enabled is True:
        return healthy(f"{obj.kind} enabled")
    return suspended(f"{obj.kind} disabled") if enabled is False else progressing("No status available")


def trident(installing: str) -> Rule:
    """Trident: the last operation, or the installation, with its message."""

    def rule(obj: Observed) -> Health:
        word = obj.text("status", "lastOperationStatus") or obj.text("status", "status")
        said = obj.text("status", "message")
        if word in {"Failed", "Error"}:
            return degraded(said)
        return healthy(said) if word in {"Success", "Installed"} else progressing(installing)

    return rule


def velero(what: str) -> Rule:
    """Velero's Backup and Restore: the phase; everything that failed in part has failed."""
    name = what.lower()
    bad = (
        "FailedValidation",
        "Failed",
        "PartiallyFailed",
        "WaitingForPluginOperationsPartiallyFailed",
        "FinalizingPartiallyFailed",
    )
    return by_word(
        ("status", "phase"),
        words(Word(DEGRADED, "{said}"), *bad) | {"Completed": Word(HEALTHY, f"{what} completed")},
        absent=Word(PROGRESSING, f"Waiting for {name} to be processed"),
        other=Word(PROGRESSING),
        said=("status", "failureReason"),
    )


_ASTRA_RUN = by_word(
    ("status", "state"),
    {"Completed": Word(HEALTHY, "{kind} Completed"), "Running": Word(PROGRESSING, "{kind} Running")},
    absent=_NO_STATUS,
    other=Word(DEGRADED),
)

RULES: Rules = {
    "snapshot.storage.k8s.io": {"VolumeSnapshot": snapshot, "VolumeSnapshotContent": snapshot},
    "ceph.rook.io": {"CephCluster": ceph_cluster, "CephObjectStore": ceph_object_store},
    "longhorn.io": {"Volume": longhorn_volume},
    "minio.min.io": {"Tenant": minio_tenant},
    "astra.netapp.io": {
        "Application": astra_application,
        "AppVault": by_word(
            ("status", "state"),
            {
                "available": Word(HEALTHY, "{kind} Available"),
                "failed": Word(DEGRADED, "{kind} Failed"),
                "error": Word(DEGRADED, "{kind} Failed"),
            },
            absent=_NO_STATUS,
            other=Word(DEGRADED, "{kind} Failed"),
        ),
        "Schedule": astra_schedule,
        "ExecHook": astra_hook,
        "*": _ASTRA_RUN,
    },
    "trident.netapp.io": {
        "TridentBackendConfig": trident("Waiting for backend creation"),
        "TridentOrchestrator": trident("Waiting for trident installation"),
    },
    "velero.io": {
        "Backup": velero("Backup"),
        "Restore": velero("Restore"),
        "Schedule": by_word(
            ("status", "phase"),
            {
                "Enabled": Word(HEALTHY, "Schedule is enabled"),
                "FailedValidation": Word(DEGRADED, "Schedule failed validation"),
            },
            absent=Word(PROGRESSING, "Waiting for schedule to be processed"),
            other=Word(PROGRESSING),
        ),
        "BackupStorageLocation": by_word(
            ("status", "phase"),
            {"Available": Word(HEALTHY), "Unavailable": Word(DEGRADED, "{said}")},
            absent=Word(PROGRESSING, "Waiting for {kind}"),
            other=Word(PROGRESSING),
            said=("status", "message"),
        ),
    },
}
