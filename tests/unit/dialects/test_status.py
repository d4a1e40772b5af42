import json

from taut.dialects.status import status_body, status_document
from taut.model.health import HealthStatus
from taut.model.status import AppStatus, HeldFor, SyncStatus

STATUS = AppStatus(
    key="fleet/shop",
    root="fleet",
    namespace="",
    name="shop",
    project="default",
    cluster="local",
    target_namespace="shop",
    mode="automatic",
    sync=SyncStatus.OUT_OF_SYNC,
    health=HealthStatus.DEGRADED,
    held_for=(HeldFor(kind="delete-share", message="4 of 5 objects would be deleted"),),
    labels={"team": "shop"},
)


def test_scripts_find_every_field_they_rely_on():
    body = json.loads(json.dumps(status_body(STATUS)))
    assert {"name", "sync", "health", "operation", "heldFor", "revision", "message", "lastSync"} <= set(body)
    assert (body["sync"], body["health"], body["lastSync"]) == ("OutOfSync", "Degraded", "")
    assert body["heldFor"] == [{"kind": "delete-share", "message": "4 of 5 objects would be deleted"}]


def test_the_document_has_its_identity_in_metadata():
    document = status_document(STATUS)
    assert document["metadata"] == {"name": "shop", "labels": {"team": "shop"}}
    assert document["status"]["targetNamespace"] == "shop"
    assert "name" not in document["status"]
