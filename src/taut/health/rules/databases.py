"""Databases: MariaDB, PostgreSQL (CloudNativePG, Zalando, Crunchy), Percona, ClickHouse, MongoDB, Druid, Atlas, Elastic."""

from __future__ import annotations

from taut.health.observed import Observed
from taut.health.verdicts import (
    DEGRADED,
    HEALTHY,
    PROGRESSING,
    SUSPENDED,
    UNKNOWN,
    Rule,
    Rules,
    Word,
    by_word,
    degraded,
    healthy,
    progressing,
    suspended,
    unknown,
    words,
)
from taut.model.health import Health, HealthStatus

_NOTHING = "No status info available"
_BUG = "Ensure your ArgoCD is current and then check for/file a bug report: https://github.com/argoproj/argo-cd/issues"


def mariadb(obj: Observed) -> Health:
    """MariaDB: Ready; not ready yet is progress unless it failed."""
    ready = obj.condition("Ready")
    if ready is None:
        return progressing(_NOTHING)
    if ready.true:
        return healthy(ready.message)
    return degraded(ready.message) if ready.reason == "Failed" else progressing(ready.message)


def mariadb_object(obj: Observed) -> Health:
    """MariaDB's Database, User, Grant, Connection: Ready or not."""
    ready = obj.condition("Ready")
    if ready is None:
        return progressing(obj.conditions[-1].message if obj.conditions else _NOTHING)
    return healthy(ready.message) if ready.true else degraded(ready.message)


def mariadb_backup(obj: Observed) -> Health:
    """MariaDB's Backup and Restore: Complete, told with its reason."""
    done = obj.condition("Complete")
    if done is None:
        return progressing(_NOTHING)
    told = f"{done.reason} {done.message}"
    if done.true:
        return healthy(told)
    return degraded(told) if "Failed" in told else progressing(told)


def mariadb_sql_job(obj: Observed) -> Health:
    """MariaDB's SqlJob: its Job's outcome."""
    told = _NOTHING
    for condition in obj.conditions:
        told = f"{condition.reason} {condition.message}"
        if condition.true and condition.reason == "JobComplete":
            return healthy(told)
        if condition.true and condition.reason == "JobFailed":
            return degraded(told)
    return progressing(told)


_CNPG: dict[str, HealthStatus] = {
    "Cluster in healthy state": HEALTHY,
    **dict.fromkeys(
        (
            "Setting up primary",
            "Creating a new replica",
            "Upgrading cluster",
            "Waiting for the instances to become active",
            "Promoting to primary cluster",
        ),
        PROGRESSING,
    ),
    **dict.fromkeys(
        (
            "Switchover in progress",
            "Failing over",
            "Upgrading Postgres major version",
            "Cluster upgrade delayed",
            "Waiting for user action",
            "Primary instance is being restarted in-place",
            "Primary instance is being restarted without a switchover",
            "Cluster cannot execute instance online upgrade due to missing architecture binary",
            "Online upgrade in progress",
            "Applying configuration",
        ),
        DEGRADED,
    ),
    **dict.fromkeys(
        (
            "Unable to create required cluster objects",
            "Cluster cannot proceed to reconciliation due to an unknown plugin being required",
            "Cluster has incomplete or invalid image catalog",
            "Cluster is unrecoverable and needs manual intervention",
        ),
        SUSPENDED,
    ),
}


def cnpg_cluster(obj: Observed) -> Health:
    """CloudNativePG's Cluster: switched off by a person, hibernating, else its phase."""
    if "disabled" in {obj.annotation(f"cnpg.io/{key}") for key in ("reconciliation", "reconciliationLoop")}:
        return suspended("Cluster reconciliation is suspended")
    told = obj.text("status", "phaseReason")
    if not obj.has("status", "conditions"):
        return progressing(told)
    asleep = obj.condition("cnpg.io/hibernation")
    if asleep is not None:
        return suspended(asleep.message) if asleep.true else degraded(asleep.message)
    return Health(_CNPG.get(obj.text("status", "phase"), UNKNOWN), told)


def cnpg_object(obj: Observed) -> Health:
    """CloudNativePG's Database, Publication, Subscription: applied in this generation."""
    observed = obj.generation is None or obj.observed_generation == obj.generation
    told, applied = obj.text("status", "message"), obj.at("status", "applied")
    if applied is True and observed:
        return healthy(told)
    if applied is False and observed:
        return degraded(told or f"CloudNativePG failed to apply the {obj.kind}")
    return progressing(told or f"Waiting for CloudNativePG to reconcile {obj.kind}")


def zalando(obj: Observed) -> Health:
    """Zalando's postgresql: one word; every failure has its own."""
    word = obj.text("status", "PostgresClusterStatus")
    if not word:
        return progressing("Waiting for postgres cluster status...")
    if word == "Running":
        return healthy(word)
    return progressing(word) if word in {"Creating", "Updating"} else degraded(word)


def crunchy(obj: Observed) -> Health:
    """Crunchy's PostgresCluster: every instance set has its replicas ready."""
    if not obj.has("status"):
        return progressing("Waiting for PostgresCluster status")
    if obj.stale:
        return progressing("Waiting for the spec update to be observed")
    for instances in obj.each("status", "instances"):
        ready, wanted = instances.count("readyReplicas"), instances.count("replicas")
        if ready < wanted:
            return progressing(f"{instances.text('name')}: {ready} of {wanted} instances are ready")
    return healthy()


def _ready_nodes(obj: Observed) -> str:
    return f"{obj.count('status', 'ready')}/{obj.count('status', 'size')} node(s) are ready"


def percona_xtradb(obj: Observed) -> Health:
    """Percona XtraDB Cluster: its state, with the nodes that are ready."""
    nodes, state = _ready_nodes(obj), obj.text("status", "state")
    if state == "ready":
        return healthy(nodes)
    if state == "initializing":
        return progressing(nodes)
    if state == "paused":
        return unknown("Cluster is paused")
    if state == "stopping":
        return degraded(f"Cluster is stopping ({nodes})")
    if state == "error":
        messages = obj.at("status", "message")
        said = (
            ", ".join(m for m in messages if isinstance(m, str))
            if isinstance(messages, list)
            else obj.text("status", "message")
        )
        return degraded(f"Cluster is on error: {said}")
    return unknown(f"Cluster status is unknown. {_BUG}")


def percona(obj: Observed) -> Health:
    """Percona's MongoDB, MySQL and PostgreSQL: their state, with the nodes that are ready."""
    if not obj.has("status"):
        return unknown("Cluster status is unknown")
    return Health(_PERCONA.get(obj.text("status", "state"), UNKNOWN), _ready_nodes(obj))


_PERCONA: dict[str, HealthStatus] = {
    "initializing": PROGRESSING,
    "ready": HEALTHY,
    "error": DEGRADED,
    "stopping": PROGRESSING,
    "paused": SUSPENDED,
}


def clickhouse(obj: Observed) -> Health:
    """Altinity's ClickHouseInstallation: Completed, in work, or another word."""
    word = obj.text("status", "status")
    if not word:
        return progressing("ClickHouse status not yet available")
    if word == "Completed":
        return healthy("ClickHouse installation completed successfully")
    if word == "InProgress":
        return progressing("ClickHouse installation in progress")
    return degraded(f"ClickHouse status: {word}")


def druid(obj: Observed) -> Health:
    """Apache Druid's operator: what it says of the first node that is not well."""
    if not obj.has("status"):
        return progressing("Waiting for Druid status")
    node = Observed(obj.at("status", "druidNodeStatus"))
    kind, good = node.text("druidNodeConditionType"), node.text("druidNodeConditionStatus")
    reason = node.text("reason")
    if kind == "DruidClusterReady" and good == "True":
        return healthy(reason or "Druid cluster is ready")
    if kind == "DruidNodeErrorState":
        return degraded(f"Pod {node.text('druidNode') or 'unknown'}: {reason or 'Pod is not ready'}")
    if good == "False":
        return degraded(reason or "Druid cluster is not ready")
    return progressing("Druid cluster is being provisioned")


def cassandra(obj: Observed) -> Health:
    """DataStax' CassandraDatacenter: the condition that changed last says where it stands."""
    dated = [c for c in obj.conditions if isinstance(c.raw.get("lastTransitionTime"), str)]
    if not dated:
        return unknown("No conditions found")
    last = max(dated, key=lambda c: str(c.raw["lastTransitionTime"]))
    if last.type == "Healthy":
        return healthy()
    told = f"Last transition type was {last.type}"
    return progressing(told) if last.true else degraded(told) if last.false else unknown(told)


def atlas(obj: Observed) -> Health:
    """Atlas' AtlasSchema and AtlasMigration: Ready, where the reason is what is told."""
    ready = obj.condition("Ready")
    if ready is None:
        return progressing("Waiting for Atlas Operator")
    if ready.true:
        return healthy(ready.reason)
    moving = {"Reconciling", "GettingDevDB"} & {ready.message, ready.reason}
    return progressing(ready.reason) if moving else degraded(ready.reason)


def elasticsearch(obj: Observed) -> Health:
    """ECK's Elasticsearch: nodes, phase, then the cluster's colour."""
    lost = unknown(f"Elasticsearch Cluster status is unknown. {_BUG}")
    available = obj.number("status", "availableNodes")
    if available is None:
        return lost
    wanted = sum(n.count("count") for n in obj.each("spec", "nodeSets"))
    if available < wanted:
        return progressing(f"The desired amount of availableNodes is {wanted} but the current amount is {available}")
    phase, colour = obj.text("status", "phase"), obj.text("status", "health")
    if available > wanted or not phase or not colour:
        return lost
    if phase in {"ApplyingChanges", "MigratingData"}:
        return progressing(f"Elasticsearch phase is {phase}")
    if phase == "Invalid":
        return degraded("Elasticsearch phase is Invalid")
    if phase != "Ready" or colour not in {"green", "yellow", "red"}:
        return lost
    said = f"Elasticsearch Cluster status is {colour.capitalize()}"
    if colour == "green":
        return healthy(said)
    said += ". Check the status of indices, replicas and shards"
    return progressing(said) if colour == "yellow" else degraded(said)


def beat(obj: Observed) -> Health:
    """ECK's Beat and Agent: its colour, with the instances while it deploys."""
    name = f"Elastic {obj.kind}"
    colour = obj.text("status", "health")
    if not colour and not obj.has("status", "expectedNodes"):
        return unknown(f"{name} status is unknown. {_BUG}")
    if colour == "red":
        return degraded(f"{name} status is Red")
    if colour == "green":
        return healthy(f"{name} status is Green")
    available, expected = obj.number("status", "availableNodes"), obj.number("status", "expectedNodes")
    if colour == "yellow" and available is not None and expected is not None:
        return progressing(f"{name} status is deploying, there is {available} instance(s) on {expected} expected")
    if colour in {"", "yellow"}:
        return progressing(f"{name} phase is progressing")
    return unknown(f"{name} status is unknown. {_BUG}")


def stack_member(obj: Observed) -> Health:
    """ECK's Logstash, Kibana, …: its colour."""
    colour = obj.text("status", "health")
    verdict = {"green": healthy, "yellow": progressing, "red": degraded}.get(colour)
    return verdict(f"{obj.kind} status is {colour.capitalize()}") if verdict else progressing(f"Waiting for {obj.kind}")


def _phases(good: tuple[str, ...], bad: tuple[str, ...], field: str = "phase", said: str = "message") -> Rule:
    return by_word(
        ("status", field),
        words(Word(HEALTHY, "{said}"), *good) | words(Word(DEGRADED, "{said}"), *bad),
        absent=Word(PROGRESSING, "Waiting for {kind}"),
        other=Word(PROGRESSING, "{said}"),
        said=("status", said),
    )


def cnpg_backup(obj: Observed) -> Health:
    """CloudNativePG's Backup: its phase."""
    phase = obj.text("status", "phase")
    if not phase:
        return progressing("Waiting for backup to be processed")
    if phase == "completed":
        return healthy("Backup completed")
    if phase in {"failed", "walArchivingFailing", "invalid backup definition"}:
        return degraded(obj.text("status", "error") or phase)
    return progressing(phase)


_MARIADB: dict[str, Rule] = {
    "MariaDB": mariadb,
    "MaxScale": mariadb,
    "Backup": mariadb_backup,
    "PhysicalBackup": mariadb_backup,
    "Restore": mariadb_backup,
    "SqlJob": mariadb_sql_job,
    **dict.fromkeys(("Database", "User", "Grant", "Connection", "ExternalMariaDB"), mariadb_object),
}

RULES: Rules = {
    "k8s.mariadb.com": _MARIADB,
    "mariadb.mmontes.io": _MARIADB,
    "postgresql.cnpg.io": {
        "Cluster": cnpg_cluster,
        "Database": cnpg_object,
        "Publication": cnpg_object,
        "Subscription": cnpg_object,
        "Backup": cnpg_backup,
    },
    "acid.zalan.do": {"postgresql": zalando},
    "postgres-operator.crunchydata.com": {"PostgresCluster": crunchy},
    "pxc.percona.com": {"PerconaXtraDBCluster": percona_xtradb},
    "psmdb.percona.com": {"PerconaServerMongoDB": percona},
    "ps.percona.com": {"PerconaServerMySQL": percona},
    "pgv2.percona.com": {"PerconaPGCluster": percona},
    "clickhouse.altinity.com": {"ClickHouseInstallation": clickhouse},
    "clickhouse-keeper.altinity.com": {"ClickHouseKeeperInstallation": clickhouse},
    "cassandra.datastax.com": {"CassandraDatacenter": cassandra},
    "druid.apache.org": {"Druid": druid},
    "db.atlasgo.io": {"AtlasSchema": atlas, "AtlasMigration": atlas},
    "mongodbcommunity.mongodb.com": {"MongoDBCommunity": _phases(("Running",), ("Failed",))},
    "mongodb.com": {"*": _phases(("Running", "Updated"), ("Failed", "Unsupported"))},
    "milvus.io": {"Milvus": _phases(("Healthy",), ("Unhealthy",), field="status")},
    "elasticsearch.k8s.elastic.co": {"Elasticsearch": elasticsearch},
    "beat.k8s.elastic.co": {"Beat": beat},
    "agent.k8s.elastic.co": {"Agent": beat},
    **{
        f"{group}.k8s.elastic.co": {"*": stack_member}
        for group in ("logstash", "kibana", "apm", "enterprisesearch", "maps")
    },
}
