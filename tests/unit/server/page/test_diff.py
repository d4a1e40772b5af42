"""Differences as lines: what is shown, what is folded, what is hidden."""

from __future__ import annotations

from typing import Any

import pytest

from taut.model.plan import Action, Change, FieldChange
from taut.model.refs import ObjectRef
from taut.server.page.diff import ObjectDiff, change_sentence, noise_of, object_diff, plan_counts, split_path
from taut.server.views import ChangeView, FieldView

REF = ObjectRef("local", "apps", "Deployment", "shop", "web")


def change(*fields: FieldChange, action: Action = Action.UPDATE) -> ChangeView:
    return ChangeView.of(Change(REF, action, fields=fields))


def text(diff: ObjectDiff) -> list[str]:
    return [
        f"{line.kind} " + "".join(f"[{p.text}]" if p.marked else p.text for p in line.pieces) for line in diff.lines
    ]


@pytest.mark.parametrize(
    ("field", "lines"),
    [
        (FieldChange("spec.replicas", 3, 5), ["ctx spec", "del   replicas: [3]", "add   replicas: [5]"]),
        (FieldChange("kind", "a", "ab"), ["del kind: a", "add kind: a[b]"]),
        (FieldChange("data[a.b/c]", None, "x", before_set=False), ["ctx data", "add   a.b/c: x"]),
        (FieldChange("spec.args[0]", "a", None, after_set=False), ["ctx spec.args", "del   - a"]),
        (FieldChange("metadata.finalizers[x/y]", None, "x/y", before_set=False), ["ctx metadata.finalizers", "add   - x/y"]),
        (
            FieldChange("spec.ports[port=80,protocol=TCP]", None, {"port": 80, "protocol": "TCP"}, before_set=False),
            ["ctx spec.ports", "add   - port: 80", "add     protocol: TCP"],
        ),
        (FieldChange("data.flag", "yes", "no"), ["ctx data", 'del   flag: "[yes]"', 'add   flag: "[no]"']),
    ],
)  # fmt: skip
def test_a_field_in_its_place(field: FieldChange, lines: list[str]) -> None:
    assert text(object_diff(change(field))) == lines


def test_neighbours_share_their_place() -> None:
    diff = object_diff(change(FieldChange("spec.a", 1, 2), FieldChange("spec.b", 1, 2), FieldChange("data.c", 1, 2)))
    assert [line for line in text(diff) if line.startswith("ctx")] == ["ctx spec", "ctx data"]
    assert (diff.added, diff.removed) == (3, 3)


def test_long_texts_show_only_what_differs_and_a_little_around() -> None:
    before = "\n".join(f"line {n}" for n in range(100))
    diff = object_diff(change(FieldChange("data.text", before, before.replace("line 50", "line fifty"))))
    lines = text(diff)
    assert "del     line [50]" in lines
    assert "add     line [fifty]" in lines
    assert sum(line.startswith("ctx") for line in lines) == 7
    assert [line for line in lines if line.startswith("gap")] == [
        "gap … 48 lines as before",
        "gap … 46 lines as before",
    ]


def test_a_secret_is_never_in_it() -> None:
    field = FieldChange("data.password", "hunter2", "hunter3", secret=True)
    diff = object_diff(change(field))
    assert text(diff) == ["ctx data", "del   password: ••••••", "add   password: •••••• differs"]
    assert "hunter" not in change_sentence(change(field))


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("status.replicas", "of status"),
        ("metadata.generation", "written by the cluster"),
        ("metadata.labels[helm.sh/chart]", "labels and checksums of charts"),
        ("spec.template.metadata.annotations[checksum/config]", "labels and checksums of charts"),
        ("metadata.annotations[kubectl.kubernetes.io/last-applied-configuration]", "bookkeeping of other tools"),
        ("spec.replicas", ""),
        ("metadata.labels.tier", ""),
        ("spec.statusPage", ""),
    ],
)
def test_noise_is_known(path: str, why: str) -> None:
    assert noise_of(FieldView(path=path, before=1, after=2)) == why


def test_noise_is_folded_and_counted_and_never_dropped() -> None:
    diff = object_diff(
        change(FieldChange("spec.a", 1, 2), FieldChange("status.b", 1, 2), FieldChange("spec.c", 3, 3, owner="kubectl"))
    )
    assert diff.folded == "2 fields folded: 1 of status, 1 taken over without a change"
    assert [f for fold in diff.folds for f in fold.fields] == ["status.b", "spec.c"]
    assert object_diff(change(FieldChange("spec.a", 1, 2))).folded == ""


def test_side_by_side_has_the_same_lines() -> None:
    diff = object_diff(
        change(
            FieldChange("spec.a", 1, None, after_set=False),
            FieldChange("spec.b", [1, 2], [2, 3, 4]),
            FieldChange("z", 1, 2),
        )
    )
    left = [a for a, _ in diff.pairs if a is not None and a.kind != "add"]
    right = [b for _, b in diff.pairs if b is not None and b.kind != "del"]
    assert left == [line for line in diff.lines if line.kind != "add"]
    assert right == [line for line in diff.lines if line.kind != "del"]
    assert all(a is None or b is None or (a is b) == (a.kind not in ("add", "del")) for a, b in diff.pairs)


def test_what_repositories_write_cannot_reorder_what_is_read() -> None:
    diff = object_diff(change(FieldChange("data.a\u202e", "x\u202ey\x1b[2J", "z")))
    assert "\u202e" not in "".join(text(diff))
    assert "\x1b" not in "".join(text(diff))


def test_a_huge_difference_ends() -> None:
    diff = object_diff(change(FieldChange("data.a", "", "\n".join(map(str, range(5000))))))
    assert len(diff.lines) == 601
    assert diff.lines[-1].kind == "gap"


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("spec.containers[name=web].image", (("spec", "containers", "[name=web]"), "image")),
        ("data[a.b]", (("data",), "[a.b]")),
        ("kind", ((), "kind")),
        ("", ((), "")),
    ],
)
def test_paths_are_divided(path: str, parts: Any) -> None:
    assert split_path(path) == parts


def test_a_plan_is_counted_by_what_is_lost_first() -> None:
    made = [change(action=Action.CREATE), change(action=Action.DELETE), change(action=Action.DELETE)]
    assert plan_counts(made) == [("bad", "2 deletions"), ("soft", "1 creation")]
    assert change_sentence(change(FieldChange("spec.replicas", 3, 5))) == "replicas 3 → 5"
    assert change_sentence(change(FieldChange("spec.a", 3, 5), FieldChange("spec.b", 3, 5))) == "2 fields"
