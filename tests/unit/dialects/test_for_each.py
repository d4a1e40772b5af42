import textwrap

import pytest

from taut.dialects.for_each import (
    Expansion,
    Found,
    Needs,
    expand,
    generator_needs,
    match_branches,
    match_folders,
    without_duplicates,
)
from taut.dialects.native import ApplicationTemplate
from taut.dialects.taut import parse
from taut.documents.yaml import load_documents

FOLDERS = """
metadata:
  name: "{{ folder.name }}"
  annotations: {from: "{{folder.path}}"}
spec:
  forEach: {folders: "apps/*"}
  source: {git: "https://git.example.com/a", ref: main, path: "{{ folder.path }}/production"}
  target: {cluster: local, namespace: "ns-{{ folder.name }}"}
"""


def read(text: str) -> tuple[list[ApplicationTemplate], list[str]]:
    data = ("apiVersion: taut.dev/v1\nkind: Application\n" + textwrap.dedent(text).lstrip("\n")).encode()
    found = parse(load_documents(data), root="fleet", file="f.yaml", data=data)
    return list(found.applications), [str(p) for p in found.problems]


def template(text: str) -> ApplicationTemplate:
    templates, problems = read(text)
    assert not problems
    return templates[0]


def keys(expansion: Expansion) -> list[str]:
    return [app.key.name for app in expansion.applications]


def test_one_application_for_each_folder():
    found = expand(template(FOLDERS), Found(folders=["apps/b", "apps/a"]))
    assert found.complete
    assert not found.problems
    assert keys(found) == ["b", "a"]
    app = found.applications[0]
    assert (app.spec.all_sources[0].path, app.spec.target.namespace) == ("apps/b/production", "ns-b")
    assert app.annotations == {"from": "apps/b"}
    assert app.spec.for_each is None
    assert (app.origin_file, app.origin_line) == ("f.yaml", 1)


def test_a_thousand_applications_from_one_document():
    found = expand(template(FOLDERS), Found(folders=[f"apps/app-{n}" for n in range(1000)]))
    assert found.complete
    assert len(found.applications) == 1000


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (Found(folders=[]), "no folder matches"),
        (Found(), "no folder matches"),
        (Found(failed="the repository cannot be reached"), "could not be listed: the repository cannot be reached"),
        (None, "was not asked"),
        (Found(folders=[f"apps/{n}" for n in range(10_001)]), "more than 10000"),
    ],
)
def test_an_empty_or_failed_generator_deletes_nothing(found: Found | None, why: str):
    expansion = expand(template(FOLDERS), found)
    assert expansion.applications == ()
    assert not expansion.complete
    (problem,) = expansion.problems
    assert why in problem.what
    assert (problem.where.file, problem.where.line, problem.where.field) == ("f.yaml", 7, "spec.forEach")


def test_a_faulty_element_does_not_hide_the_others_and_is_not_complete():
    found = expand(template(FOLDERS), Found(folders=["apps/a", "apps/Not_A_Name", "apps/b"]))
    assert keys(found) == ["a", "b"]
    assert not found.complete
    (problem, *_) = found.problems
    assert problem.where.line == 4
    assert "Not_A_Name" in problem.what
    assert "folder.name Not_A_Name" in problem.where.object


def test_two_folders_of_the_same_name_are_both_refused():
    found = expand(template(FOLDERS), Found(folders=["apps/a", "apps/b", "other/a"]))
    assert keys(found) == ["b"]
    assert not found.complete
    assert "'a' is taken by this document twice" in found.problems[0].what


def test_branches_have_name_slug_and_commit():
    text = """
    metadata:
      name: "preview-{{ branch.slug }}"
      annotations: {commit: "{{ branch.commit }}"}
    spec:
      forEach: {branches: ["feature/*", "!feature/wip-*"]}
      source: {git: "https://git.example.com/a", ref: "{{ branch.name }}"}
    """
    source = template(text)
    needs = generator_needs(source)
    assert needs == Needs("branches", "https://git.example.com/a", None, ("feature/*", "!feature/wip-*"))
    branches = {"main": "1" * 40, "feature/New_Cart": "2" * 40, "feature/wip-x": "3" * 40}
    wanted = match_branches(branches, needs.include)
    found = expand(source, Found(branches={name: branches[name] for name in wanted}))
    assert keys(found) == ["preview-feature-new-cart"]
    assert found.applications[0].spec.all_sources[0].ref == "feature/New_Cart"
    assert found.applications[0].annotations == {"commit": "2" * 40}


def test_a_list_keeps_types_where_a_variable_stands_alone():
    text = """
    metadata: {name: "shop-{{ region }}"}
    spec:
      forEach:
        list:
          - {region: eu, replicas: 5, live: true, zones: [a, b], size: {cpu: 2}}
          - {region: us, replicas: 3, live: false, zones: [], size: {cpu: 1}}
      source:
        git: https://git.example.com/a
        path: "{{ element.region }}/{{ replicas }}-{{ live }}"
        helmOptions:
          values:
            replicas: "{{ replicas }}"
            text: "x{{replicas}}"
            live: "{{ element.live }}"
            zones: "{{ zones }}"
            cpu: "{{ size.cpu }}"
            all: "{{ element }}"
            template: "{{ .Values.kept }} {{ include \\"x\\" . }}"
    """
    found = expand(template(text))
    assert found.complete
    source = found.applications[0].spec.all_sources[0]
    assert source.path == "eu/5-true"
    assert source.helm_options
    element = {"region": "eu", "replicas": 5, "live": True, "zones": ["a", "b"], "size": {"cpu": 2}}
    assert source.helm_options.values == {
        "replicas": 5,
        "text": "x5",
        "live": True,
        "zones": ["a", "b"],
        "cpu": 2,
        "all": element,
        "template": '{{ .Values.kept }} {{ include "x" . }}',
    }


@pytest.mark.parametrize(
    ("change", "field", "what"),
    [
        (
            ('{{ folder.name }}"\n  ann', '{{ folder.nmae }}"\n  ann'),
            "metadata.name",
            "no variable 'folder.nmae' (did you mean folder.name?)",
        ),
        (("{{ folder.path }}/p", "{{ path }}/p"), "spec.source.path", "no variable 'path'"),
        (('"{{ folder.name }}"\n', '"same"\n'), "metadata.name", "every element would get the same name"),
        (("target:", "tarrget:"), "spec.tarrget", "did you mean target?"),
        (
            ("https://git.example.com/a", "https://git.example.com/{{ folder.name }}"),
            "spec.forEach",
            "in which repository to look",
        ),
        (("source: {git:", "source: {oci: 'oci://a/b', x:"), "spec.forEach", "in which repository to look"),
        (
            ('{folders: "apps/*"}', "{list: [{folder.name: a, folder.path: b}, {folder.name: c}]}"),
            "metadata.annotations.from",
            "no variable 'folder.path'",
        ),
    ],
)
def test_what_is_wrong_in_a_template_is_told_before_it_is_expanded(change: tuple[str, str], field: str, what: str):
    templates, problems = read(FOLDERS.replace(*change))
    assert not templates
    assert any(field in problem and what in problem for problem in problems), problems


def test_a_variable_that_is_no_text_cannot_be_part_of_one():
    text = FOLDERS.replace('{folders: "apps/*"}', "{list: [{folder: {name: a, path: p}}]}").replace(
        "ns-{{ folder.name }}", "ns-{{ folder }}"
    )
    _, problems = read(text)
    assert any("'folder' is no text" in problem for problem in problems), problems


@pytest.mark.parametrize(
    ("spec", "needs"),
    [
        (
            "forEach: {folders: a/*}, source: {git: 'https://x/y', ref: main, credentials: c}",
            Needs("folders", "https://x/y", "main", ("a/*",), (), "c"),
        ),
        ("forEach: {folders: [a, b]}, source: {git: 'https://x/y'}", Needs("folders", "https://x/y", None, ("a", "b"))),
        (
            "forEach: {folders: {include: [a], exclude: [b]}, ref: v1}, source: {git: 'https://x/y', ref: main}",
            Needs("folders", "https://x/y", "v1", ("a",), ("b",)),
        ),
        (
            "forEach: {folders: a, git: 'https://z/z'}, source: {git: 'https://x/y', ref: main}",
            Needs("folders", "https://z/z", None, ("a",)),
        ),
        ("forEach: {list: [{folder: {name: a}}]}, source: {git: 'https://x/y'}", None),
        ("source: {git: 'https://x/y'}", None),
    ],
)
def test_what_a_generator_needs(spec: str, needs: Needs | None):
    name = '"{{ folder.name }}"' if "forEach" in spec else "a"
    assert generator_needs(template(f"metadata: {{name: {name}}}\nspec: {{{spec}}}\n")) == needs


@pytest.mark.parametrize(
    ("include", "exclude", "found"),
    [
        (["apps/*"], [], ["apps/a", "apps/b"]),
        (["/apps/*/"], [], ["apps/a", "apps/b"]),
        (["apps/**"], [], ["apps/a", "apps/a/x", "apps/b"]),
        (["apps/**"], ["apps/a"], ["apps/b"]),
        (["apps/**"], ["apps/a/**"], ["apps/a", "apps/b"]),
        (["**"], ["apps"], ["other", "other/a"]),
        (["*/a"], [], ["apps/a", "other/a"]),
        (["{apps,other}/a"], ["other/*"], ["apps/a"]),
        (["nothing"], [], []),
    ],
)
def test_folders_match(include: list[str], exclude: list[str], found: list[str]):
    paths = ["apps", "apps/b", "apps/a", "apps/a/x", "other", "other/a", "", "."]
    assert match_folders(paths, include, exclude) == found


def test_documents_without_for_each_expand_to_themselves():
    found = expand(template("metadata: {name: a}\nspec: {source: {git: 'https://x/y'}, info: {x: '{{ y }}'}}\n"))
    assert found.complete
    assert found.applications[0].spec.info == {"x": "{{ y }}"}


def test_names_that_two_documents_claim_belong_to_neither():
    first = expand(template("metadata: {name: a}\nspec: {source: {git: 'https://x/y'}}\n")).applications
    second = expand(template("# below\nmetadata: {name: a}\nspec: {source: {git: 'https://x/z'}}\n")).applications
    other = expand(
        template("metadata: {name: a, namespace: team}\nspec: {source: {git: 'https://x/y'}}\n")
    ).applications
    unique, problems = without_duplicates([*first, *second, *other])
    assert [app.key.namespace for app in unique] == ["team"]
    assert all("'a' is taken" in problem.what for problem in problems)


@pytest.mark.parametrize(
    "text",
    [
        "spec: {forEach: {list: [" + "{a: 1}," * 10_001 + "]}}",
        "spec: {forEach: {list: [" + "{a: 1}," * 9_000 + "]}, source: {git: '" + "x" * 10_000 + "'}}",
        "spec: {forEach: {list: [{a: " + "x" * 100_000 + "}]}, source: {git: '" + "{{ a }}" * 1_000 + "'}}",
    ],
)
def test_a_document_that_would_explode_is_refused_before_it_does(text: str):
    templates, problems = read("metadata: {name: 'x-{{ a }}'}\n" + text + "\n")
    assert not templates
    assert len(problems) == 1
    assert "more than" in problems[0]
