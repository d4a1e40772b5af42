"""Certificates and secrets: cert-manager, External Secrets, Sealed Secrets, 1Password, Vault, SOPS, IAM roles, Keycloak."""

from __future__ import annotations

from taut.health.observed import Condition, Observed
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
    in_order,
    progressing,
    ready,
)
from taut.model.health import Health


def external_secret(obj: Observed) -> Health:
    """External Secrets' ExternalSecret: Ready; with refresh on change only what was found after the last refresh counts."""
    condition = obj.condition("Ready")
    waiting = progressing("Waiting for ExternalSecret")
    if condition is None:
        return waiting
    since = condition.raw.get("lastTransitionTime")
    refreshed = obj.text("status", "refreshTime")
    old = isinstance(since, str) and since < refreshed
    if obj.text("spec", "refreshPolicy") == "OnChange" and old:
        return waiting
    if condition.true:
        return healthy(condition.message)
    return degraded(condition.message) if condition.false else waiting


def cluster_external_secret(obj: Observed) -> Health:
    """ClusterExternalSecret: Ready beats the failures of single namespaces."""
    good = obj.condition("Ready")
    if good is not None and good.true:
        return healthy(good.message)
    failed = next((c for c in obj.conditions if c.true and c.type in {"NotReady", "PartiallyReady"}), None)
    if failed is not None:
        return degraded(failed.message)
    if good is not None and good.false:
        return degraded(good.message)
    return progressing("Waiting for ClusterExternalSecret")


def certificate_request(obj: Observed) -> Health:
    """cert-manager's CertificateRequest: refused, issued, pending, failed."""
    refused = next((c for c in obj.conditions if c.true and c.type in {"Denied", "InvalidRequest"}), None)
    if refused is not None:
        return degraded(refused.message)
    condition = obj.condition("Ready")
    if condition is None:
        return progressing("Waiting for certificate request")
    if condition.true:
        return healthy(condition.message)
    return progressing(condition.message) if condition.reason == "Pending" else degraded(condition.message)


def acme(what: str, *, pending_reason: bool) -> Rule:
    """cert-manager's Order and Challenge: the ACME state."""

    def rule(obj: Observed) -> Health:
        state, reason = obj.text("status", "state"), obj.text("status", "reason")
        if not state:
            return progressing(f"Waiting for {what.lower()}")
        if state == "valid":
            return healthy(f"{what} is valid")
        plain = f"{what} is {state}"
        if state in {"invalid", "expired", "errored"}:
            return degraded(reason or plain)
        return progressing((reason if pending_reason else "") or plain)

    return rule


def vault_static_secret(obj: Observed) -> Health:
    """Vault Secrets Operator: a MAC is kept of what was synced; newer versions also write conditions."""
    if obj.text("status", "secretMAC"):
        return healthy("Secret was found")
    failed = next((c for c in obj.conditions if c.false), None)
    if failed is not None:
        return degraded(failed.words)
    return degraded(
        "Either the service account cannot authenticate with Vault or requested secret not found"
        " - view events for more information"
    )


def keycloak(obj: Observed) -> Health:
    """Keycloak's operator: conditions are judged from the oldest transition to the newest."""
    if not obj.has("status", "conditions"):
        return progressing(f"Waiting for {obj.kind} status conditions to exist")

    def since(condition: Condition) -> tuple[bool, str]:
        time = condition.raw.get("lastTransitionTime")
        return (not isinstance(time, str), time if isinstance(time, str) else "")

    for condition in sorted(obj.conditions, key=since):
        if condition.true and condition.type in {"Ready", "Done"}:
            return healthy()
        if condition.true and condition.type == "HasErrors":
            return degraded(f"Has Errors: {condition.message}")
    return progressing()


def iam_role(obj: Observed) -> Health:
    """iam-manager's Iamrole: the role that exists, or why it does not."""
    role, arn, number = (obj.text("status", field) or "<none>" for field in ("roleName", "roleARN", "roleID"))
    state = obj.text("status", "state")
    if state == "Ready":
        return healthy(f"Role '{role}' exists with ARN '{arn}' and ID '{number}'.")
    if state in {"Error", "RolesMaxLimitReached", "PolicyNotAllowed", "RoleNameNotAvailable"}:
        tries, said = obj.count("status", "retryCount"), obj.text("status", "errorDescription")
        retry = f"(retry {tries}) " if tries > 0 else ""
        error = f" Reconciliation error was: {said}" if obj.has("status", "errorDescription") else ""
        return degraded(
            f"Failed to reconcile the Iamrole {retry}for role '{role}' with ARN '{arn}' and ID '{number}'.{error}"
        )
    return progressing("Waiting for Iamrole to be reconciled")


_SOPS = by_conditions(
    When("Ready", "True", HEALTHY),
    When("Ready", "False", DEGRADED),
    When("Ready", "Unknown", PROGRESSING),
    waiting="Waiting for status",
    observed="Waiting for reconciliation (generation mismatch)",
)

RULES: Rules = {
    "cert-manager.io": {
        "Certificate": in_order(
            When("Issuing", "True", PROGRESSING),
            When("Ready", "False", DEGRADED),
            When("Ready", "True", HEALTHY),
            waiting="Waiting for certificate",
        ),
        "CertificateRequest": certificate_request,
        "Issuer": ready("Initializing issuer"),
        "ClusterIssuer": ready("Initializing ClusterIssuer"),
    },
    "certmanager.k8s.io": {"Certificate": ready("Waiting for certificate"), "Issuer": ready("Initializing issuer")},
    "acme.cert-manager.io": {
        "Order": acme("Order", pending_reason=False),
        "Challenge": acme("Challenge", pending_reason=True),
    },
    "trust.cert-manager.io": {"Bundle": ready("Waiting for Bundle to be synced", type="Synced")},
    "external-secrets.io": {
        "ExternalSecret": external_secret,
        "ClusterExternalSecret": cluster_external_secret,
        "SecretStore": ready("Waiting for SecretStore"),
        "ClusterSecretStore": ready("Waiting for ClusterSecretStore"),
        "PushSecret": ready("Waiting for PushSecret"),
        "ClusterPushSecret": ready("Waiting for ClusterPushSecret"),
    },
    "bitnami.com": {
        "SealedSecret": ready("Waiting for Sealed Secret to be decrypted", type="Synced", good=""),
    },
    "onepassword.com": {"OnePasswordItem": ready("Waiting for controller to report status")},
    "secrets.hashicorp.com": {"VaultStaticSecret": vault_static_secret},
    "addons.projectcapsule.dev": {"*": _SOPS},
    "k8s.keycloak.org": {"Keycloak": keycloak, "KeycloakRealmImport": keycloak},
    "iammanager.keikoproj.io": {"Iamrole": iam_role},
}
