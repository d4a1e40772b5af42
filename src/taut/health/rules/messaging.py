"""Brokers: Strimzi, Confluent, RabbitMQ, ZooKeeper."""

from __future__ import annotations

from taut.health.observed import Observed
from taut.health.verdicts import (
    DEGRADED,
    HEALTHY,
    PROGRESSING,
    Rule,
    Rules,
    When,
    by_conditions,
    degraded,
    healthy,
    progressing,
    unknown,
)
from taut.model.health import Health

SEES_DELETION = frozenset({"kafka.strimzi.io"})
"""Strimzi's operands are judged by their conditions until they are gone: the operator goes on reconciling them."""


def strimzi(name: str) -> Rule:
    """Strimzi writes a NotReady condition when something failed."""
    return by_conditions(
        When("NotReady", "True", DEGRADED),
        When("Ready", "True", HEALTHY, ""),
        waiting=f"Waiting for {name}",
    )


def confluent(obj: Observed) -> Health:
    """Confluent for Kubernetes: the phase of a component."""
    phase = obj.text("status", "phase")
    if phase == "RUNNING":
        return healthy(f"{obj.kind} running")
    if phase == "PROVISIONING":
        return progressing(f"{obj.kind} provisioning")
    return progressing(f"Waiting for {obj.kind}")


def confluent_connector(obj: Observed) -> Health:
    """Confluent's Connector: the application's condition, failed tasks, the connector's state."""
    app = obj.condition("platform.confluent.io/app-ready")
    if app is not None and app.false:
        return degraded(app.message)
    if obj.count("status", "failedTasksCount") > 0:
        return degraded("Connector has failed tasks")
    if obj.text("status", "connectorState") == "RUNNING":
        return healthy("Connector running")
    return progressing("Waiting for Connector")


def rabbitmq_topology(name: str) -> Rule:
    """RabbitMQ's topology operator: users, queues, bindings, …"""
    return by_conditions(
        When("Ready", "True", HEALTHY, f"RabbitMQ {name} ready", "SuccessfulCreateOrUpdate"),
        When("Ready", "False", DEGRADED, f"RabbitMQ {name} failed to be created or updated", "FailedCreateOrUpdate"),
        waiting=f"RabbitMQ {name} status is unknown",
        otherwise=unknown().status,
    )


def rabbitmq_cluster(obj: Observed) -> Health:
    """RabbitmqCluster: reconciled, its replicas ready, its service available."""
    if not obj.conditions:
        return progressing("Waiting for RabbitMQ Operator")
    reconciled = obj.condition("ReconcileSuccess")
    replicas, available = obj.condition("AllReplicasReady"), obj.condition("ClusterAvailable")
    if reconciled is not None and reconciled.false:
        return degraded(reconciled.message)
    if replicas is not None and replicas.true and available is not None and available.true:
        return healthy("RabbitMQ cluster ready")
    if replicas is None or available is None or "Unknown" in {replicas.status, available.status}:
        return progressing("Waiting for RabbitMQ cluster readiness (conditions unknown)")
    if available.false:
        return progressing("Waiting for RabbitMQ cluster formation")
    return progressing("Waiting for RabbitMQ instances ready")


def zookeeper(obj: Observed) -> Health:
    """Pravega's ZookeeperCluster: all nodes in the ensemble."""
    ready, wanted = obj.number("status", "readyReplicas"), obj.number("status", "replicas")
    if ready is not None and ready != 0 and ready == wanted:
        return healthy("All ZK Nodes have joined the ensemble")
    return progressing("Waiting for ZK Nodes to join the ensemble")


_TOPOLOGY = {
    "Binding": "binding",
    "Exchange": "exchange",
    "Permission": "permission",
    "TopicPermission": "topic permission",
    "Policy": "policy",
    "OperatorPolicy": "operator policy",
    "Queue": "queue",
    "SchemaReplication": "schema replication",
    "Federation": "federation",
    "Shovel": "shovel",
    "SuperStream": "super stream",
    "User": "user",
    "Vhost": "vhost",
}

RULES: Rules = {
    "kafka.strimzi.io": {
        "Kafka": strimzi("Kafka Cluster"),
        "KafkaBridge": strimzi("KafkaBridge"),
        "KafkaConnect": strimzi("Kafka Connect"),
        "KafkaConnector": strimzi("KafkaConnector"),
        "KafkaMirrorMaker2": strimzi("KafkaMirrorMaker2"),
        "KafkaRebalance": by_conditions(
            When("NotReady", "True", DEGRADED),
            When("Ready", "True", HEALTHY),
            When("Stopped", "True", HEALTHY),
            When("ProposalReady", "True", PROGRESSING),
            When("Rebalancing", "True", PROGRESSING),
            waiting="Waiting for KafkaRebalance",
        ),
        "KafkaTopic": strimzi("Kafka Topic"),
        "KafkaUser": strimzi("Kafka User"),
        "KafkaNodePool": by_conditions(When("NotReady", "True", DEGRADED), waiting="", otherwise=HEALTHY),
    },
    "platform.confluent.io": {
        "Connector": confluent_connector,
        **dict.fromkeys(
            (
                "Connect",
                "ControlCenter",
                "Kafka",
                "KsqlDB",
                "SchemaRegistry",
                "Zookeeper",
                "KRaftController",
                "KafkaRestProxy",
            ),
            confluent,
        ),
    },
    "rabbitmq.com": {
        "RabbitmqCluster": rabbitmq_cluster,
        **{kind: rabbitmq_topology(name) for kind, name in _TOPOLOGY.items()},
    },
    "zookeeper.pravega.io": {"ZookeeperCluster": zookeeper},
}
