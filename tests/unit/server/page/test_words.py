"""Headlines, addresses, environments, verbs: what the page says of an application."""

from __future__ import annotations

from typing import Any

import pytest

from support import shop
from support.memory_backend import WEB, status
from taut.model.health import HealthStatus
from taut.model.status import HeldFor, Problem, SyncStatus
from taut.server.access.principal import Action
from taut.server.page.addresses import commit_address, compare_address, ours, repository_address, short_commit, web_link
from taut.server.page.environments import environment_rank, families, family_name, gap, matrix, short_image
from taut.server.page.facts import facts_of
from taut.server.page.sentences import headline, list_words
from taut.server.page.verbs import VERBS, offered
from taut.server.views import ImageView

NOW = 1_790_000_000.0


@pytest.mark.parametrize(
    ("changes", "tone", "what", "then"),
    [
        ({"problems": (Problem("unknown field `replica`", "app.yaml:7", "did you mean `replicas`?", "render"),)}, "bad", "Unknown field `replica`.", "Did you mean `replicas`? taut renders again"),
        ({"problems": (Problem("the cluster is away", stage="target"), Problem("b"))}, "bad", "The cluster is away.", "1 more problem"),
        ({"operation": "Failed", "operation_message": "health was not reached"}, "bad", "Health was not reached.", "next commit"),
        ({"health": HealthStatus.DEGRADED, "health_message": "Deployment web: crashes"}, "bad", "Deployment web: crashes.", "What runs is what Git says"),
        ({"health": HealthStatus.DEGRADED, "health_message": "x", "operation": "Running"}, "bad", "X.", "waits for it"),
        ({"held_for": (HeldFor("deletes-data", "deletes data"),), "plan_hash": "abcdef0123"}, "held", "Deletes data.", "plan abcdef01 is approved"),
        ({"held_for": (HeldFor("policy", "no limit", approvable=False),)}, "held", "No limit.", "change it in Git"),
        ({"drift": 2, "message": "2 fields are healed in 3 s"}, "warn", "2 fields differ from Git, changed by hand.", "healed in 3 s"),
        ({"drift": 1, "contested": True}, "warn", "1 field differs from Git, changed by hand.", "waits longer"),
        ({"sync": SyncStatus.UNKNOWN, "message": "cluster edge is silent"}, "mute", "Cluster edge is silent.", "looks again"),
        ({"suspended": True, "message": "suspended by anna"}, "mute", "Suspended by anna.", "until it is resumed"),
    ],
)  # fmt: skip
def test_a_headline_says_what_why_and_what_next(changes: dict[str, Any], tone: str, what: str, then: str) -> None:
    found = headline(facts_of(status(WEB, **changes)))
    assert found is not None
    assert (found.tone, found.what.startswith(what)) == (tone, True)
    assert then in " ".join(found.why)
    assert "!" not in found.what


def test_nothing_wrong_has_no_headline() -> None:
    assert headline(facts_of(status(WEB))) is None
    assert headline(facts_of(status(WEB, operation="Running", sync=SyncStatus.OUT_OF_SYNC))) is None


COMMIT = "main@1a2b3c4d"


@pytest.mark.parametrize(
    ("source", "address"),
    [
        ("https://github.com/shop/deploy.git", "https://github.com/shop/deploy/commit/1a2b3c4d"),
        (
            "https://user:secret@gitlab.example.com/shop/deploy",
            "https://gitlab.example.com/shop/deploy/-/commit/1a2b3c4d",
        ),
        ("git@bitbucket.org:shop/deploy.git", "https://bitbucket.org/shop/deploy/commits/1a2b3c4d"),
        ("ssh://git@forge.example.com:2222/shop/deploy.git", "https://forge.example.com/shop/deploy/commit/1a2b3c4d"),
        ("http://127.0.0.1:3000/shop/deploy.git", "http://127.0.0.1:3000/shop/deploy/commit/1a2b3c4d"),
        ("file:///srv/git/deploy", ""),
        ("javascript:alert(1)", ""),
        ("oci://registry.example.com/shop", ""),
        ("", ""),
    ],
)
def test_a_commit_is_found_at_its_forge(source: str, address: str) -> None:
    assert commit_address(source, COMMIT) == address
    assert "secret" not in repository_address(source)
    assert compare_address(source, COMMIT, "main@deadbeef").startswith(address.rpartition("/commit")[0][:20])
    assert compare_address(source, COMMIT, COMMIT) == ""
    assert commit_address(source, "1.2.3") == ""


def test_only_addresses_of_the_web_are_links() -> None:
    assert web_link("https://wiki.example.com/a?b=c")
    assert not any(web_link(t) for t in ("javascript:alert(1)", "//evil", "data:text/html,x", "https://a b", "wiki"))


def test_revisions_are_short() -> None:
    assert [short_commit(r) for r in ("main@1a2b3c4d5e", "a" * 40, "1.2.3", "")] == ["1a2b3c4", "aaaaaaa", "1.2.3", ""]


def test_the_pages_addresses_are_no_others() -> None:
    assert all(map(ours, ("/", "/held", "/app/prod/web:sync", "/static/x.js", "/live", "/environments/a/b")))
    assert not any(map(ours, ("/v1/applications", "/metrics", "/healthz", "/hooks/git", "/application")))


def test_the_same_application_is_found_in_all_environments() -> None:
    fleet = [facts_of(s) for s in shop.statuses(NOW).values()]
    found = {f.name: f for f in families(fleet)}
    assert [f.environment for f in found["checkout"].members] == ["dev", "staging", "production", "production"]
    assert found["checkout"].revisions > 1
    assert len(found["ledger"].members) == 1
    gaps = [gap(a, b).word for a, b in zip(found["checkout"].members, found["checkout"].members[1:], strict=False)]
    assert gaps == ["another revision", "same revision", "another revision"]


@pytest.mark.parametrize(
    ("name", "labels", "family"),
    [
        ("web-production", {"environment": "production"}, "web"),
        ("staging-web", {"env": "staging"}, "web"),
        ("web", {"app.kubernetes.io/name": "shop-web"}, "shop-web"),
        ("production", {"environment": "production"}, "production"),
        ("web-local", {}, "web"),
    ],
)
def test_a_name_without_its_environment(name: str, labels: dict[str, str], family: str) -> None:
    assert family_name(facts_of(status(WEB._replace(name=name), labels=labels))) == family


def test_environments_stand_in_the_order_of_a_promotion() -> None:
    names = ["production", "moon", "dev", "qa", "prod-eu", "local", "staging"]
    assert sorted(names, key=environment_rank) == ["dev", "local", "qa", "moon", "staging", "production", "prod-eu"]


def test_what_differs_between_environments() -> None:
    members = [
        facts_of(status(WEB._replace(root=r), cluster=r, desired_revision=f"main@{c}"))
        for r, c in (("dev", "aaaaaaa"), ("prod", "bbbbbbb"))
    ]
    [family] = families(members)
    images = {
        f.status.key: [ImageView(object="Deployment web", container="web", image=f"r/web:{n}")]
        for n, f in enumerate(family.members)
    }
    rows = {r.title: r for r in matrix(family, images)}
    assert rows["image web"].values == ["r/web:0", "r/web:1"]
    assert {r.title for r in rows.values() if r.differs} == {"Git says", "image web"}
    assert not rows["Mode"].differs
    assert short_image("r.example.com:5000/a/web:1@sha256:" + "ab" * 32) == "web@abababababab"


def test_verbs_are_offered_to_whom_and_when_they_make_sense() -> None:
    def names(allowed: set[Action], **changes: Any) -> list[str]:
        return [v.name for v in offered(status(WEB, **changes), allowed)]

    everything = set(Action)
    assert names(everything) == ["refresh", "restart", "suspend", "sync"]
    assert names(everything, suspended=True) == ["refresh", "restart", "resume", "sync"]
    assert names(everything, operation="Running")[-2:] == ["abort", "sync"]
    held = {"held_for": (HeldFor("x", "y"),), "plan_hash": "abc"}
    assert names(everything, **held)[-1] == "approve"
    assert "approve" not in names(everything, held_for=(HeldFor("x", "y", approvable=False),), plan_hash="abc")
    assert names({Action.GET}, **held) == []
    assert names({Action.GET, Action.APPROVE}, **held) == ["approve"]
    assert all(v.explain(status(WEB)) and v.command(status(WEB)).startswith("taut ") for v in VERBS.values())


def test_lists_of_words() -> None:
    assert [list_words(list("abcde"[:n])) for n in range(5)] == ["", "a", "a and b", "a, b and c", "a, b, c and 1 more"]
