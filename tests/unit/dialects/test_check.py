import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taut.dialects.check import check
from taut.dialects.config import Config
from taut.dialects.kinds import ApplicationDocument, Metadata
from taut.dialects.problems import field_name
from taut.model.application import ApplicationSpec, ForEach, Guards, Source, SyncPolicy
from taut.model.project import ProjectSpec


def faults(value: object, kind: type) -> list[tuple[str, str, str]]:
    found, findings = check(value, kind)
    assert (found is None) == bool(findings)
    return [(field_name(f.path), f.what, f.advice) for f in findings]


def test_every_unknown_field_is_found_with_the_nearest_name():
    value = {
        "sorce": {},
        "source": {"gti": "x", "paht": "."},
        "sync": {"prnue": True, "retry": {"limits": 1}},
        "zzz": 1,
    }
    found = faults(value, ApplicationSpec)
    assert [(path, advice) for path, _, advice in found if advice.startswith("did you mean")] == [
        ("sorce", "did you mean source?"),
        ("source.gti", "did you mean git?"),
        ("source.paht", "did you mean path?"),
        ("sync.prnue", "did you mean prune?"),
        ("sync.retry.limits", "did you mean limit?"),
    ]
    assert found[-1][0] == "zzz"
    assert "sync" in found[-1][2]


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (SyncPolicy, {"mode": "auto"}, ("mode", "'auto' is not allowed here", "did you mean automatic?")),
        (SyncPolicy, {"mode": "x"}, ("mode", "'x' is not allowed here", "use one of automatic, manual, report")),
        (
            SyncPolicy,
            {"timeout": "5x"},
            ("timeout", "'5x' is not allowed here", "write a duration such as 30s, 5m or 1h30m"),
        ),
        (
            SyncPolicy,
            {"propagation": "forground"},
            ("propagation", "'forground' is not allowed here", "did you mean foreground?"),
        ),
        (SyncPolicy, {"prune": "yes"}, ("prune", "text cannot stand here", "write true or false")),
        (Guards, {"maxDeleteShare": 3}, ("maxDeleteShare", "3 is out of range", "write a number from 0 to 1")),
        (Guards, {"maxDeleteCount": -1}, ("maxDeleteCount", "-1 is out of range", "write a number at least 0")),
        (Guards, {"maxDeleteCount": "3"}, ("maxDeleteCount", "text cannot stand here", "write an integer")),
        (Source, {"ref": 1.2}, ("ref", "a number (1.2) cannot stand here", "quote it")),
        (Source, {"path": 12}, ("path", "a number (12) cannot stand here", "quote it")),
        (
            Source,
            {"helmOptions": {"values": []}},
            ("helmOptions.values", "a list cannot stand here", "write a mapping"),
        ),
        (Source, {"helmOptions": []}, ("helmOptions", "a list cannot stand here", "write a mapping")),
        (ApplicationSpec, {"sources": {}}, ("sources", "a mapping cannot stand here", "write a list")),
        (ApplicationSpec, {"dependsOn": ["a", 1]}, ("dependsOn[1]", "a number (1) cannot stand here", "quote it")),
        (
            ApplicationSpec,
            {"info": {"a": True}},
            (
                "info.a",
                "true or false (True) cannot stand here",
                "quote it: YAML reads y, yes, on as true, and n, no, off as false",
            ),
        ),
        (ForEach, {"folders": {"exclude": []}}, ("folders", "the field 'include' is missing", "add include")),
        (ForEach, {"folders": 5}, ("folders", "a number (5) cannot stand here", "quote it")),
        (Metadata, {}, ("", "the field 'name' is missing", "add name")),
        (Metadata, {"name": ""}, ("name", "this is empty", "write at least 1 characters")),
        (Metadata, {"name": "a" * 300}, ("name", "this has 300 characters", "write at most 253")),
        (Metadata, None, ("", "null cannot stand here", "write a mapping")),
    ],
)
def test_a_fault_says_what_and_what_to_do(kind: type, value: object, expected: tuple[str, str, str]):
    assert faults(value, kind) == [expected]


@pytest.mark.parametrize("name", ["a", "a-b", "a.b-c.d", "0", "a" * 253])
def test_good_names(name: str):
    assert check({"name": name}, Metadata)[0]


@pytest.mark.parametrize("name", ["A", "a_b", "-a", "a-", "a..b", ".a", "a.", "a b", "a/b", "ä", "a\n"])
def test_bad_names(name: str):
    assert faults({"name": name}, Metadata)


WORDS = st.sampled_from(
    [
        "git",
        "helm",
        "oci",
        "path",
        "ref",
        "name",
        "sync",
        "mode",
        "prune",
        "retry",
        "limit",
        "target",
        "cluster",
        "forEach",
        "folders",
        "include",
        "list",
        "values",
        "metadata",
        "spec",
        "kind",
        "apiVersion",
        "automatic",
        "manual",
        "taut.dev/v1",
        "Application",
        "windows",
        "schedule",
        "duration",
        "guards",
        "maxDeleteShare",
        "destinations",
        "roots",
        "poll",
        "x",
    ]
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 300)
    | st.floats(-2, 2)
    | WORDS
    | st.sampled_from(["5m", "", "5x", "allow"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=5),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([ApplicationSpec, ProjectSpec, ApplicationDocument, Config, Source, SyncPolicy]), VALUES)
def test_msgspec_and_the_finder_of_all_faults_agree(kind: type, value: object):
    from taut.dialects.check import _check, _type_info  # the finder alone, without the judge before it

    try:
        msgspec.convert(value, kind)
        good = True
    except msgspec.ValidationError:
        good = False
    assert good == (not list(_check(value, _type_info(kind))))
