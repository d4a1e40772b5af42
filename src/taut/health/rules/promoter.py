"""GitOps Promoter: one shape of readiness in many words, then what the environments' commit statuses say.

These kinds say themselves what keeps a deletion waiting, finalizer by finalizer (https://gitops-promoter.readthedocs.io/en/latest/debugging/finalizers/).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

from taut.health.observed import Observed
from taut.health.verdicts import Rule, Rules, degraded, healthy, progressing
from taut.model.health import Health

SEES_DELETION = frozenset({"promoter.argoproj.io"})
"""These rules are asked before the general word for objects that are being deleted."""

_FINALIZERS = {
    "changetransferpolicy.promoter.argoproj.io/finalizer": (
        "Waiting to clear related PullRequest finalizers and finish cleanup before this policy is removed.",
        "The 'changetransferpolicy.promoter.argoproj.io/pullrequest-finalizer' finalizer may not be cleaned up"
        " from PullRequests owned by this ChangeTransferPolicy.",
    ),
    "scmprovider.promoter.argoproj.io/finalizer": (
        "Waiting until no GitRepository in this namespace still references this provider.",
        "GitRepository objects can reference a provider that no longer exists.",
    ),
    "clusterscmprovider.promoter.argoproj.io/finalizer": (
        "Waiting until no GitRepository still references this cluster-wide SCM provider.",
        "GitRepository objects can reference a provider that no longer exists.",
    ),
    "gitrepository.promoter.argoproj.io/finalizer": (
        "Waiting until no non-deleting PullRequests still reference this repository.",
        "repository metadata may be removed while promotions still depend on it.",
    ),
}


@dataclass(frozen=True)
class Wording:
    """How one kind speaks of itself."""

    starting: str
    """Initializing …"""
    deleting: str
    """… is being deleted"""
    observing: str
    """Waiting for … spec update to be observed"""
    failed: str
    """…: message, for a reconciliation error"""
    not_ready: str
    """… (reason): message, for every other reason"""
    unclear: str
    """… (reason): message, for Unknown"""
    missing: str
    """No Ready condition."""
    lists_finalizers: bool = False


def _deleting(obj: Observed, wording: Wording) -> Health:
    known = [f for f in obj.finalizers if f in _FINALIZERS] if wording.lists_finalizers else []
    base = wording.deleting + ("." if wording.lists_finalizers else "")
    reasons = [f"{f}: {_FINALIZERS[f][0]} Risk if removed manually: {_FINALIZERS[f][1]}" for f in known]
    return progressing(" ".join([base, *reasons]))


def _reconciled(wording: Wording, then: Rule) -> Rule:
    """A rule: deleted, started, Ready for this generation; `then` judges what is reconciled."""

    def rule(obj: Observed) -> Health:
        if obj.deleting:
            return _deleting(obj, wording)
        if not obj.has("status"):
            return progressing(f"Initializing {wording.starting}")
        ready = obj.condition("Ready", "Reconciled")
        if ready is None:
            return progressing(wording.missing)
        if ready.observed_generation is not None and obj.generation not in {None, ready.observed_generation}:
            return progressing(f"Waiting for {wording.observing} spec update to be observed")
        reason = ready.reason or "Unknown"
        if ready.false:
            said = ready.message or "Unknown error"
            plain = reason == "ReconciliationError"
            return degraded(f"{wording.failed}: {said}" if plain else f"{wording.not_ready} ({reason}): {said}")
        if ready.status == "Unknown" and wording.unclear:
            return progressing(f"{wording.unclear} ({reason}): {ready.message or 'Unknown'}")
        return then(obj)

    return rule


def _sentence(name: str, title: str) -> Wording:
    """The wording of the kinds that only report: `Commit status …`."""
    failed = f"{title} reconciliation failed"
    return Wording(name, f"{title} is being deleted", name, failed, failed, "", f"{title} is not ready yet")


def _kind(
    kind: str, name: str, failed: str, not_ready: str, unclear: str, *, lists_finalizers: bool = False
) -> Wording:
    """The wording of the kinds that are named by their kind."""
    deleting, missing = f"{kind} is being deleted", f"{kind} Ready condition is missing"
    return Wording(name, deleting, kind, failed, not_ready, unclear, missing, lists_finalizers)


def _short(sha: str) -> str:
    return sha[:7]


@dataclass(frozen=True)
class _Tally:
    counts: Counter[str]
    pending: list[str]
    failed: list[str]

    def sentence(self) -> str:
        """`1 pending, 0 successful, 1 failed. Pending commit statuses: …. Failed commit statuses: …. `."""
        count = self.counts
        text = f"{count['pending']} pending, {count['success']} successful, {count['failure']} failed. "
        if self.pending:
            text += f"Pending commit statuses: {', '.join(self.pending)}. "
        if self.failed:
            text += f"Failed commit statuses: {', '.join(self.failed)}. "
        return text


def _tally(statuses: list[Observed]) -> _Tally:
    keys: Callable[[str], list[str]] = lambda phase: [s.text("key") for s in statuses if s.text("phase") == phase]  # noqa: E731
    return _Tally(Counter(s.text("phase") for s in statuses), keys("pending"), keys("failure"))


def _change_transfer(obj: Observed) -> Health:
    active, proposed = obj.text("status", "active", "dry", "sha"), obj.text("status", "proposed", "dry", "sha")
    if not active:
        return progressing("The active commit DRY SHA is missing or empty.")
    if not proposed:
        return progressing("The proposed commit DRY SHA is missing or empty.")
    if active != proposed:
        tally = _tally(obj.each("status", "proposed", "commitStatuses"))
        return progressing(f"Promotion in progress from '{_short(active)}' to '{_short(proposed)}': {tally.sentence()}")
    tally = _tally(obj.each("status", "active", "commitStatuses"))
    if tally.pending or tally.failed:
        said = "Environment is up-to-date, but there are non-successful active commit statuses: "
        return healthy(said + tally.sentence())
    return healthy(f"Environment is up-to-date on commit {_short(active)}.")


def _promotion_strategy(obj: Observed) -> Health:
    environments = obj.each("status", "environments")
    if not environments:
        return degraded("Promotion strategy has no environments configured")
    for env in environments:
        for side in ("active", "proposed"):
            if not env.text(side, "dry", "sha"):
                branch = env.text("branch")
                return progressing(f"The {side} commit DRY SHA is missing or empty in environment '{branch}'.")
    proposed = environments[0].text("proposed", "dry", "sha")
    if any(env.text("proposed", "dry", "sha") != proposed for env in environments):
        return progressing(
            "Not all environments have the same proposed commit SHA. This likely means the hydrator has not run for"
            " all environments yet."
        )
    for env in environments:
        active = env.text("active", "dry", "sha")
        if active != proposed:
            tally = _tally(env.each("proposed", "commitStatuses"))
            return progressing(
                f"Promotion in progress for environment '{env.text('branch')}' from '{_short(active)}' to"
                f" '{_short(proposed)}': {tally.sentence()}"
            )
    return _promoted(environments, proposed)


def _promoted(environments: list[Observed], sha: str) -> Health:
    unsuccessful: list[str] = []
    for env in environments:
        tally = _tally(env.each("active", "commitStatuses"))
        if tally.pending or tally.failed:
            counts = f"{len(tally.failed)} failed, {len(tally.pending)} pending"
            unsuccessful.append(f"{env.text('branch')} ({counts})")
    if unsuccessful:
        said = "Environments are up-to-date, but some environments have non-successful commit statuses: "
        return healthy(f"{said}{', '.join(unsuccessful)}.")
    return healthy(f"All environments are up-to-date on commit '{_short(sha)}'.")


def _argocd_commit_status(obj: Observed) -> Health:
    selected = obj.at("status", "applicationsSelected")
    count = len(selected) if isinstance(selected, list) else 0
    if not count:
        return degraded("Argo CD commit status has no applications configured")
    return healthy(f"Argo CD commit status is healthy and is tracking {count} applications")


def _pull_request(obj: Observed) -> Health:
    number, state = obj.text("status", "id"), obj.text("status", "state")
    return healthy(f"Pull request is {state} as PR {number}" if number and state else "Pull request is healthy")


def _commit_status(obj: Observed) -> Health:
    sha, phase = obj.text("status", "sha"), obj.text("status", "phase")
    if not sha or not phase:
        return healthy("Commit status is healthy")
    return healthy(f"Commit status for commit {_short(sha)} reports {phase}")


def _gate(name: str, reconciled: str, passed: str) -> Rule:
    """The kinds that check each environment: failures first, then what is pending."""

    def rule(obj: Observed) -> Health:
        environments = obj.each("status", "environments")
        if not environments:
            return healthy(reconciled)
        branches: dict[str, list[str]] = {"failure": [], "success": [], "pending": []}
        for env in environments:
            branches.get(env.text("phase"), branches["pending"]).append(env.text("branch") or "?")
        if branches["failure"]:
            return degraded(f"{name} failed for branch(es): {', '.join(branches['failure'])}")
        if branches["pending"]:
            return progressing(f"{name} pending for branch(es): {', '.join(branches['pending'])}")
        return healthy(f"{passed} {len(branches['success'])} environment(s)")

    return rule


def _is(text: str) -> Rule:
    return lambda _: healthy(text)


def _gate_wording(kind: str, name: str, title: str) -> Wording:
    return _kind(kind, name, f"{title} failed", f"{title} not ready", f"{title} status unknown")


def _provider_wording(kind: str, name: str, title: str) -> Wording:
    failed, not_ready, unclear = f"{title} validation failed", f"{title} not ready", f"{title} readiness unknown"
    return _kind(kind, name, failed, not_ready, unclear, lists_finalizers=True)


_TRANSFER = _sentence("change transfer policy", "Change transfer policy")

RULES: Rules = {
    "promoter.argoproj.io": {
        "ChangeTransferPolicy": _reconciled(
            replace(_TRANSFER, lists_finalizers=True),
            _change_transfer,
        ),
        "PromotionStrategy": _reconciled(_sentence("promotion strategy", "Promotion strategy"), _promotion_strategy),
        "CommitStatus": _reconciled(_sentence("commit status", "Commit status"), _commit_status),
        "PullRequest": _reconciled(_sentence("pull request", "Pull request"), _pull_request),
        "ArgoCDCommitStatus": _reconciled(
            _sentence("Argo CD commit status", "Argo CD commit status"), _argocd_commit_status
        ),
        "GitCommitStatus": _reconciled(
            _gate_wording("GitCommitStatus", "git commit validation", "Git commit validation"),
            _gate("Git commit validation", "Git commit validation reconciled", "Git commit validation passed for"),
        ),
        "WebRequestCommitStatus": _reconciled(
            _gate_wording("WebRequestCommitStatus", "web request commit validation", "Web request commit validation"),
            _gate(
                "Web request validation",
                "Web request commit validation reconciled",
                "Web request validation passed for",
            ),
        ),
        "TimedCommitStatus": _reconciled(
            _gate_wording("TimedCommitStatus", "timed commit gate", "Timed commit gate"),
            _gate("Timed commit gate", "Timed commit gate reconciled", "Timed commit gate satisfied for"),
        ),
        "ScmProvider": _reconciled(
            _provider_wording("ScmProvider", "SCM provider", "SCM provider"), _is("SCM provider is ready")
        ),
        "ClusterScmProvider": _reconciled(
            _provider_wording("ClusterScmProvider", "cluster SCM provider", "Cluster SCM provider"),
            _is("Cluster SCM provider is ready"),
        ),
        "GitRepository": _reconciled(
            _provider_wording("GitRepository", "Git repository", "Git repository"), _is("Git repository is ready")
        ),
    }
}
