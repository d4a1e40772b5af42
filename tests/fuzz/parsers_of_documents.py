"""Parsers of what a repository holds: YAML, kustomizations, charts, Jsonnet, taut's own documents."""

from __future__ import annotations

import contextlib
import posixpath
import re
from collections.abc import Iterator

from fuzz.memory_tree import MemoryTree
from fuzz.registry import parser, scratch, text_of
from taut.clients.kubernetes import kubeconfig
from taut.dialects.config import read_config
from taut.dialects.for_each import Found, expand, generator_needs
from taut.dialects.globs import GlobError, match_name, match_path
from taut.dialects.native import Place, application_body, project_body, read_application, read_project
from taut.dialects.taut import parse
from taut.documents.exact import compose, construct
from taut.documents.limits import Limits as DocumentLimits
from taut.documents.quick import UnsureError, needs_exact, read
from taut.documents.yaml import Locator, dump, load_documents, load_one
from taut.model.application import HelmOptions, JsonnetOptions, KustomizeOptions, PlainOptions
from taut.model.errors import TautError
from taut.render.closure import Closure
from taut.render.envsubst import SubstitutionError
from taut.render.envsubst import expand as substituted
from taut.render.globs import compile_glob
from taut.render.inputs_helm import chart_folder, resolve_chart, values_layers
from taut.render.inputs_jsonnet import resolve_jsonnet
from taut.render.inputs_kustomize import resolve as resolve_kustomization
from taut.render.plain import render_plain
from taut.render.reach import Reach

_BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")
"""What YAML takes for the end of a line."""

YAML = (
    "a¦b: ¦: ¦- ¦? ¦\n¦\n  ¦\n---\n¦...\n¦&x ¦*x¦<<: *x¦!!str ¦!!int ¦!!binary ¦!!python/name:os.system ¦{¦}¦[¦]¦,¦'¦\"¦|\n¦>-\n  ¦#¦0x1F¦0644¦1_000¦1e3¦1e999¦12:30¦.inf¦~¦null¦yes¦%YAML 1.2\n¦%TAG ! tag:x,1:\n¦\\x1b¦\\u202e¦\u2028¦\ufeff¦\t¦apiVersion: v1\n¦kind: ConfigMap\n¦metadata: {name: a}\n"
    + "¦"
    + ("9" * 30)
)
DOCUMENT = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: b}\n"

KUSTOMIZATION = "resources:\n¦bases:\n¦components:\n¦- ¦../base¦../../x¦/etc/passwd¦./a.yaml¦https://h.test/x?ref=v1¦git@h.test:x/y¦file:///etc¦link¦loop¦patches:\n¦- path: ¦configMapGenerator:\n¦- files: [¦]¦- envs: [¦a=b¦generators:\n¦transformers:\n¦helmCharts:\n¦- name: x\n¦openapi: {path: ¦}¦replacements:\n¦crds:\n¦|-\n  apiVersion: builtin\n  kind: X\n¦\n¦- |\n¦  apiVersion: x\n  kind: Y\n¦config.kubernetes.io/function: x¦&a ¦*a¦{}¦null¦1"

BUILTIN = "apiVersion: builtin\n¦kind: ¦ConfigMapGenerator\n¦HelmChartInflationGenerator\n¦metadata: ¦{name: x}¦annotations: ¦[]\n¦x\n¦files: ¦paths: ¦path: ¦replacements: ¦[{path: a}]\n¦3\n"


def repository(**more: bytes) -> MemoryTree:
    """A repository with a bit of everything around the file that is the input."""
    return MemoryTree(
        {
            "app/a.yaml": DOCUMENT.encode(),
            "base/kustomization.yaml": b"resources: [b.yaml]\n",
            "base/b.yaml": DOCUMENT.encode(),
            "app/link": "../base",
            "app/loop": "loop",
            "app/out": "../../etc",
            "lib/x.libsonnet": b"{}",
            **{path.replace("__", "/").replace("_dot_", "."): content for path, content in more.items()},
        }
    )


def inside(paths: Iterator[str]) -> None:
    """Every path stays below the closed directory."""
    for path in paths:
        assert not path.startswith("/"), path
        assert posixpath.normpath(path) == path, path
        assert ".." not in path.split("/"), path


APPLICATION = """apiVersion: taut.dev/v1
kind: Application
metadata: {name: web}
spec:
  source: {git: https://h.test/x.git, path: apps/web}
  target: {cluster: local, namespace: web}
"""
TEMPLATE = APPLICATION.replace("name: web}", 'name: "{{ folder.name }}"}') + "  forEach: {folders: 'apps/*'}\n"
PROJECT = "apiVersion: taut.dev/v1\nkind: Project\nmetadata: {name: team}\nspec: {repositories: ['https://h.test/*']}\n"
TAUT = (
    YAML
    + "¦"
    + "apiVersion: taut.dev/v1\n¦kind: Application\n¦kind: Project\n¦spec:\n¦  source: {git: x, path: y}\n¦  target: {cluster: c}\n¦  forEach:\n¦    list: [{a: b}]\n¦{{ folder.name }}¦{{ a }}¦{{¦}}¦  sync: {mode: auto}\n¦  dependsOn: [a]\n¦  ignore: [{jq: ['.a']}]\n¦  windows: []\n¦-x¦../..¦file:///etc¦--upload-pack=x"
)


@parser(YAML, right=(DOCUMENT, DOCUMENT + "---\n" + DOCUMENT, '{"apiVersion": "v1", "kind": "A"}'))
def yaml(data: bytes) -> None:
    """Both readers see the same; what is written is read again; lines exist."""
    limits = DocumentLimits(bytes=1 << 20, depth=60, nodes=20_000)
    documents = load_documents(data, file="f.yaml", limits=limits)
    locator = Locator(data)
    lines = len(_BREAK.split(text_of(data)))
    for document in documents:
        assert 1 <= document.line <= lines
        with contextlib.suppress(TautError):
            written = dump(document.body)
            assert load_one(written.encode(), file="again", limits=limits) == document.body
        if isinstance(document.body, dict):
            assert all(1 <= locator.line((key,), document=document.index) <= lines for key in document.body)


@parser(YAML, right=(DOCUMENT,))
def yaml_readers_agree(data: bytes) -> None:
    """Where the quick reader is sure, the exact one reads the same."""
    limits = DocumentLimits(bytes=1 << 20, depth=60, nodes=20_000)
    if needs_exact(data) or b"\n---" in data or b"\n..." in data or data.startswith((b"---", b"...", b"%")):
        return
    try:
        data.decode()
        quick = read(data, limits)
    except (UnsureError, UnicodeDecodeError):
        return
    exact = [construct(node, file="") for node in compose(data + b"\n", file="", limits=limits)]
    assert [quick] == [body for body in exact if body is not None]


@parser(
    "*¦**¦/¦?¦[¦]¦!¦^¦-¦{¦}¦,¦a¦\\¦[a-z]¦{a,b}" + "¦" + ("*a" * 20), right=("apps/*/[a-c]?.{yaml,yml}", "**/x", "!a")
)
def globs(data: bytes) -> None:
    """A pattern is refused or tells, also against texts that are made for it."""
    pattern = text_of(data)
    for text in ("", "a", "a" * 300, "apps/x/a.yaml", pattern):
        with contextlib.suppress(GlobError):
            match_name(pattern, text)
            match_path(pattern, text)
    glob = compile_glob(pattern)
    for text in ("a" * 300, "apps/x/a.yaml"):
        assert isinstance(glob.matches(text), bool)


@parser("${¦}¦$¦$$¦:=¦:-¦a¦_x¦#¦##¦%¦//¦/¦^^¦,,¦:¦1¦-1¦\\¦*¦?¦${a}", right=("${a:=b}", "${a##*/} ${#a}", "$${x}"))
def substitution(data: bytes) -> None:
    """Text comes out, or an error that holds no value."""
    secret = "s3cr3t-value"
    try:
        substituted(text_of(data), {"a": secret, "_x": "x/y/z", "b": ""}, strict=True)
        said = ""
    except SubstitutionError as error:
        said = str(error)
    assert secret not in said


@parser(KUSTOMIZATION, right=("resources: [a.yaml, ../base]\n", "configMapGenerator:\n- name: x\n  files: [a.yaml]\n"))
def kustomization(data: bytes) -> None:
    """The closed directory holds files of the repository only; what is elsewhere is asked for, never taken."""
    reach = Reach(repository(app__kustomization_dot_yaml=data), "repo")
    inputs = resolve_kustomization(reach, "app", KustomizeOptions(), {})
    inside(f.path for f in inputs.files)
    assert reach.closure().same_in(reach.tree)


@parser(
    YAML
    + "¦"
    + "name: c\n¦version: 1.0.0\n¦dependencies:\n¦- name: ¦repository: file://../base\n¦repository: file:///etc\n¦repository: https://h.test\n",
    right=("apiVersion: v2\nname: c\nversion: 1.0.0\n",),
)
def chart(data: bytes) -> None:
    """The same for a chart, and for its values files."""
    reach = Reach(repository(app__Chart_dot_yaml=data), "repo")
    folder = chart_folder(reach, "app")
    values_layers(reach, folder, HelmOptions(value_files=("a.yaml", "/base/b.yaml", "*.yaml")), {})
    inputs = resolve_chart(reach, folder, schema=True)
    inside(f.path for f in inputs.files)


@parser(
    "import ¦importstr ¦importbin ¦\"¦'¦@¦../lib/x.libsonnet¦/etc/passwd¦../../../x¦\\u002e¦\\¦local a = ¦;¦{¦}¦//¦\n",
    right=('local x = import "../lib/x.libsonnet"; {}',),
)
def jsonnet(data: bytes) -> None:
    """The same for Jsonnet."""
    reach = Reach(repository(app__main_dot_jsonnet=data), "repo")
    inputs = resolve_jsonnet(reach, "app", JsonnetOptions(libs=("lib",)))
    inside(f.path for f in inputs.files)
    assert reach.closure().same_in(reach.tree)


@parser(YAML, right=(DOCUMENT,))
def plain(data: bytes) -> None:
    """Plain files give objects that say what they are."""
    result = render_plain(Reach(repository(app__main_dot_yaml=data), "repo"), "app", PlainOptions())
    assert all(m.body["apiVersion"] and m.body["kind"] for m in result.manifests)


@parser('"files"¦"absent"¦"folders"¦"listings"¦"remote"¦{¦}¦[¦]¦:¦,¦"a"¦null¦1', right=(Closure().to_json(),))
def closure(data: bytes) -> None:
    """What was kept is read or made again."""
    found = Closure.from_json(data)
    assert found is None or isinstance(found, Closure)


@parser(TAUT, right=(APPLICATION, TEMPLATE, PROJECT, APPLICATION + "---\n" + PROJECT))
def taut_documents(data: bytes) -> None:
    """Documents become applications or problems; an application written out is read as the same."""
    found = parse(load_documents(data, file="f.yaml"), root="r", file="f.yaml", data=data)
    for template in found.applications:
        generator_needs(template)
        made = expand(template, Found(folders=["apps/a", "apps/b\u202e", "-x"], branches={"main": "0" * 40}))
        for application in made.applications:
            place = Place("r", application.origin_file, application.origin_line, 0, Locator(data))
            again, findings = read_application(application_body(application), place)
            assert not findings, findings
            assert again is not None
            assert again.spec == application.spec
    for project in found.projects:
        again_project, findings = read_project(project_body(project), "r")
        assert not findings, findings
        assert again_project is not None
        assert again_project.spec == project.spec
    assert all(p.what for p in found.problems)


@parser(
    YAML
    + "¦"
    + "store: ¦listen: 127.0.0.1:0\n¦clusters:\n¦- name: x\n¦roots:\n¦  git: ¦  poll: 1h\n¦credentials:\n¦  passwordFile: x\n",
    right=("store: a.db\nclusters: [{name: c, kubeconfig: k}]\n",),
)
def configuration(data: bytes) -> None:
    """A configuration, or problems."""
    config, problems = read_config(data, "taut.yaml")
    assert (config is None) == bool(problems)


@parser(
    YAML
    + "¦"
    + "clusters:\n¦- name: a\n¦  cluster: {server: x}\n¦users:\n¦  user: {token: x}\n¦contexts:\n¦current-context: a\n¦certificate-authority-data: x\n",
    right=("clusters: [{name: a, cluster: {server: 'https://h.test'}}]\n",),
)
def kubeconfigs(data: bytes) -> None:
    """Entries are mappings with a name."""
    file = scratch() / "kubeconfig"
    file.write_bytes(data)
    found = kubeconfig.merge([kubeconfig.load(file)])
    for entry in (*found.clusters.values(), *found.users.values()):
        assert entry.name
        kubeconfig.bytes_of(entry, "certificate-authority")


@parser(
    KUSTOMIZATION + "¦" + BUILTIN,
    right=("apiVersion: builtin\nkind: ConfigMapGenerator\nmetadata: {name: x}\nfiles: [a.yaml]\n",),
)
def plugin(data: bytes) -> None:
    """The configuration of a plugin, which a kustomization names."""
    tree = repository(
        app__kustomization_dot_yaml=b"generators: [plugin.yaml]\ntransformers: [plugin.yaml]\n",
        app__plugin_dot_yaml=data,
    )
    inputs = resolve_kustomization(Reach(tree, "repo"), "app", KustomizeOptions(), {})
    inside(f.path for f in inputs.files)
