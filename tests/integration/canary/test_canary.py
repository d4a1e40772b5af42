"""Marked secrets go through every path of a running taut; then everything that it wrote or sent is searched for them."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.error
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyrage
import pytest

from integration.canary.search import Searched, marker, of_objects
from integration.loop.harness import application, deployment, yaml
from servers.git import Content, GitHttpServer, GitRepo
from servers.openbao import OpenBao, openbao
from support.program import Program
from taut.localplane import Plane
from taut.localplane.api import Api
from taut.prison.pool import descendants

pytestmark = pytest.mark.integration

SOPS = Path(sys.executable).with_name("sops")
IN_GIT = ("ingit", "ingitdata", "invalues")
"""Markers that lie plain in Git: nobody should, and taut has the repository as it is."""


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    with openbao(tmp_path_factory.mktemp("bao") / "log") as server:
        yield server


@dataclass
class Scene:
    """A taut with everything that can hold a secret, and the markers by the path that each takes."""

    plane: Plane
    api: Api
    git: GitHttpServer
    repo: GitRepo
    policies: GitRepo
    bao: OpenBao
    namespace: str
    folder: Path
    marks: dict[str, str] = field(default_factory=dict[str, str])
    said: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """What commands printed and the API answered, by what was asked."""

    def mark(self, name: str) -> str:
        """The marker of a path."""
        return self.marks.setdefault(name, marker(name))

    def secret(self, name: str, **data: str) -> None:
        """A Secret of the cluster, written by a person."""
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}
        status, answer = self.api.request("POST", f"/api/v1/namespaces/{self.namespace}/secrets", body)
        assert status == 201, answer

    def holds(self, name: str, *marks: str) -> bool:
        """Whether a Secret of the cluster holds these markers: they have arrived."""
        status, answer = self.api.request("GET", f"/api/v1/namespaces/{self.namespace}/secrets/{name}")
        values = [base64.b64decode(v).decode() for v in (json.loads(answer).get("data") or {}).values()]
        return status == 200 and all(any(self.marks[m] in v for v in values) for m in marks)

    def encrypted(self, text: str, name: str, public: str) -> bytes:
        """A file as the sops program makes it."""
        folder = self.folder / "plain"
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(text)
        command = [str(SOPS), "--disable-version-check", "-e", "--age", public, name]
        env = {"HOME": str(folder), "PATH": os.environ["PATH"]}
        return subprocess.run(command, cwd=folder, env=env, capture_output=True, check=True).stdout

    def program(self, **more: Any) -> Program:
        """`taut run` in a folder of its own: what a person wrote is elsewhere."""
        config = {
            "store": "state/taut.db",
            "listen": "127.0.0.1:0",
            "clusters": [
                {
                    "name": "local",
                    "kubeconfig": str(self.plane.kubeconfig),
                    "externalSecrets": {"hosts": ["*", "127.0.0.1"]},
                }
            ],
            "roots": [{"name": self.namespace, "git": self.repo.url, "ref": "main", "path": "taut", "poll": "2s"}],
            "policies": [{"name": "house", "git": self.policies.url, "ref": "main", "poll": "2s"}],
            "admission": {"listen": "127.0.0.1:0", "instance": self.namespace},
            **more,
        }
        return Program(self.folder / "taut", config)

    def input(self, name: str, content: str) -> str:
        """A file that a person wrote for taut's configuration."""
        file = self.folder / "inputs" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(content)
        return str(file)

    def declare(self, *apps: dict[str, Any], files: dict[str, Content]) -> None:
        """Commit applications, and what they consist of."""
        for app in apps:
            app["spec"]["source"] |= {"git": self.repo.url, "ref": "main"}
            app["spec"]["target"] = {"cluster": "local", "namespace": self.namespace}
        self.repo.commit({"taut/applications.yaml": yaml(*apps), **files}, "change")

    def ask_everything(self, taut: Program, apps: list[str]) -> None:
        """Every command and every address, for every application."""
        commands = [
            ["status"],
            ["drift"],
            ["get"],
            ["status", "-o", "json"],
            ["drift", "-o", "json"],
            ["status", "-o", "yaml"],
        ]
        for app in apps:
            commands += [[verb, app] for verb in ("get", "diff", "tree", "history", "drift", "events", "approve")]
            commands += [[verb, app, "-o", "json"] for verb in ("get", "diff", "tree", "history", "drift")]
        for command in commands:
            ended = taut.taut(*command)
            self.said.append((f"taut {' '.join(command)}", ended.out + ended.err))
        paths = ["/v1/applications", "/v1/roots", "/v1/drift", "/v1/orphans", "/v1/events", "/v1/audit", "/metrics"]
        for app in apps:
            of = f"/v1/applications/{self.namespace}/{app}"
            paths += [of, *(f"{of}:{verb}" for verb in ("tree", "plan", "history", "drift", "events"))]
        for path in paths:
            self.said.append((f"GET {path}", _answer(taut, path)))

    def searched(self, taut: Program, holders: dict[str, str]) -> Searched:
        """Everything that taut wrote or sent, looked through."""
        found = Searched(self.marks)
        for place, text in self.said:
            found.text(place, text)
        found.text("its log", taut.log)
        found.folder(taut.folder, but={"db.sources": IN_GIT}, skip=("taut.yaml",))
        for base in (Path("/dev/shm"), Path("/tmp")):
            for folder in base.glob("taut-work-*"):
                found.folder(folder, but={})
        for plural in ("secrets", "configmaps", "events", "deployments"):
            root = "/apis/apps/v1" if plural == "deployments" else "/api/v1"
            items = (self.api.get(f"{root}/namespaces/{self.namespace}/{plural}") or {}).get("items", [])
            of_objects(found, plural, items, holders if plural == "secrets" else {})
        webhooks = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
        of_objects(found, "webhooks", (self.api.get(webhooks) or {}).get("items", []), {})
        return found


def _answer(taut: Program, path: str) -> str:
    """What the API says, also when it is no success."""
    try:
        return taut._get(path)  # pyright: ignore[reportPrivateUsage] (as the commands do)
    except urllib.error.HTTPError as error:
        return error.read().decode()


@pytest.fixture
def scene(
    plane: Plane, plane_api: Api, git_server: GitHttpServer, bao: OpenBao, namespace: str, tmp_path: Path
) -> Iterator[Scene]:
    repo, policies = git_server.repo("config"), git_server.repo("policies")
    policies.commit({"README.md": "policies\n"}, "begin")
    yield Scene(plane, plane_api, git_server, repo, policies, bao, namespace, tmp_path)
    name = f"/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/taut-{namespace}"
    plane_api.request("DELETE", name)


def _secret(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}


def _loud(scene: Scene) -> list[dict[str, Any]]:
    """Policies that say what they see, about Secrets whose name begins with `loud`."""
    resources = {"kinds": ["Secret"], "names": ["loud*"], "namespaces": [scene.namespace]}
    value = "{{ request.object.stringData.password || request.object.data.password | base64_decode(@) }}"
    kyverno = {
        "apiVersion": "kyverno.io/v1",
        "kind": "ClusterPolicy",
        "metadata": {"name": "loud"},
        "spec": {
            "validationFailureAction": "Enforce",
            "rules": [
                {
                    "name": "tells",
                    "match": {"any": [{"resources": resources}]},
                    "validate": {"message": f"the password is {value}", "deny": {}},
                }
            ],
        },
    }
    rego = 'violation[{"msg": msg}] { startswith(input.review.object.metadata.name, "loud"); msg := json.marshal(input.review.object) }'
    template = {
        "apiVersion": "templates.gatekeeper.sh/v1",
        "kind": "ConstraintTemplate",
        "metadata": {"name": "loud"},
        "spec": {
            "crd": {"spec": {"names": {"kind": "Loud"}}},
            "targets": [{"target": "admission.k8s.gatekeeper.sh", "rego": f"package loud\n{rego}\n"}],
        },
    }
    constraint = {
        "apiVersion": "constraints.gatekeeper.sh/v1beta1",
        "kind": "Loud",
        "metadata": {"name": "loud"},
        "spec": {"match": {"kinds": [{"apiGroups": [""], "kinds": ["Secret"]}]}},
    }
    return [kyverno, template, constraint]


async def test_nothing_of_what_renders_and_stores_hold_is_told(scene: Scene) -> None:
    age = pyrage.x25519.Identity.generate()
    scene.marks["agekey"] = str(age)
    public = str(age.to_public())
    m = scene.mark
    scene.secret("values", password=m("fromcluster"), values=f"password: {m('clustervalues')}\n")
    scene.secret("bao", token=scene.bao.token, wrong=m("wrongtoken"))
    for name in ("vaulted", "template"):
        scene.bao.write(f"secret/data/{scene.namespace}/{name}", data={"password": m(name)})
    chart = {
        "Chart.yaml": "apiVersion: v2\nname: c\nversion: 1.0.0\n",
        "templates/s.yaml": 'apiVersion: v1\nkind: Secret\nmetadata: {name: "{{ .Release.Name }}-chart"}\n'
        'stringData: {password: "{{ .Values.password }}", own: "{{ .Values.own }}"}\n',
        "values.yaml": f"own: {m('invalues')}\n",
    }
    broken = {**chart, "templates/s.yaml": '{{ fail (printf "no %s" .Values.password) }}\n'}
    wrong = {
        **chart,
        "templates/s.yaml": 'a: {{ .Values.password | toDate "x" .Values.password | nindent .Values.password }}\n',
    }
    data = base64.b64encode(m("ingitdata").encode()).decode()
    plain = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "encoded"}, "data": {"password": data}}
    bao_store = _store(scene, "token")
    externals = yaml(
        bao_store,
        _store(scene, "wrong"),
        _external("vaulted", scene),
        _external("template", scene, template={"data": {"x": "{{ fail .password }}"}}),
        _external("refused", scene, store="wrong"),
    )
    immutable = {**_secret("fixed", password=m("immutable")), "immutable": True}
    values_from = {"helmOptions": {"valuesFrom": [{"kind": "Secret", "name": "values", "key": "values"}]}}
    substitute = {"substitute": {"varsFrom": [{"kind": "Secret", "name": "values"}]}}
    files: dict[str, Content] = {
        "apps/plain/s.yaml": yaml(_secret("plain", password=m("ingit")), plain),
        **{f"apps/chart/{k}": v for k, v in chart.items()},
        **{f"apps/broken/{k}": v for k, v in broken.items()},
        **{f"apps/wrong/{k}": v for k, v in wrong.items()},
        "apps/subst/s.yaml": yaml(_secret("substituted", password="${password}")),
        "apps/sops/s.yaml": scene.encrypted(yaml(_secret("opened", password=m("sops"))), "s.yaml", public),
        "apps/sops/m.yaml": scene.encrypted(
            f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: careless}}\ndata: {{password: {m('careless')}}}\n",
            "m.yaml",
            public,
        ),
        "apps/external/all.yaml": externals,
        "apps/fixed/s.yaml": scene.encrypted(yaml(immutable), "f.yaml", public),
    }
    names = ["plain", "chart", "broken", "wrong", "subst", "sops", "external", "fixed"]
    apps = [application(name) for name in names]
    for app in apps:
        name = app["metadata"]["name"]
        if name in {"chart", "broken", "wrong"}:
            app["spec"]["source"] |= values_from
        if name == "subst":
            app["spec"] |= substitute
        app["spec"]["sync"] = {"mode": "automatic", "prune": True, "heal": True}
    scene.declare(*apps, files=files)
    keys = {"secrets": {"sops": {"keys": [{"file": scene.input("age.key", str(age))}]}}}
    holders = {
        "plain": "ingit",
        "encoded": "ingitdata",
        "chart-chart": "clustervalues",
        "substituted": "fromcluster",
        "opened": "sops",
        "vaulted": "vaulted",
        "fixed": "immutable",
    }
    with scene.program(**keys) as taut:
        taut.until(lambda: all(scene.holds(n, mark) for n, mark in holders.items()), "every marker has arrived")
        taut.until(lambda: {"fail", "refuse"} <= _words(taut), "the failures are told")
        drift = f"/api/v1/namespaces/{scene.namespace}/secrets/plain"
        content = "application/merge-patch+json"
        scene.api.request("PATCH", drift, {"stringData": {"password": m("byhand")}}, content=content)
        taut.until(lambda: taut.json("drift", "plain"), "the drift is recorded")
        changed = {**immutable, "stringData": {"password": m("refusedchange")}}
        scene.repo.commit(
            {"apps/fixed/s.yaml": scene.encrypted(yaml(changed), "f.yaml", public)}, "it cannot be changed"
        )
        taut.until(lambda: "immutable" in taut.ok("get", "fixed"), "the API server refuses")
        scene.ask_everything(taut, names)
        assert taut.process is not None
        for worker in descendants(taut.process.pid):
            with contextlib.suppress(ProcessLookupError):  # some end with those that were killed before them
                os.kill(worker, signal.SIGABRT)
        taut.kill()
        taut.start()
        scene.ask_everything(taut, names)
    own = {**holders, "values": "fromcluster", "bao": "wrongtoken", "chart-chart": "clustervalues"}
    searched = scene.searched(taut, own)
    searched.found = [f for f in searched.found if not _allowed(f)]
    assert not searched.found, "\n".join(searched.found)
    assert len(searched.places) > 100
    assert sum(searched.places.values()) > 200_000


def _allowed(found: str) -> bool:
    """A Secret that holds two markers is allowed both, and a value that was put into a ConfigMap is where it was put."""
    two = (
        ("secrets values", "clustervalues"),
        ("secrets chart-chart", "invalues"),
        ("configmaps careless", "careless"),
    )
    return any(found.startswith(place) and f"the marker {mark}" in found for place, mark in two)


def _words(taut: Program) -> set[str]:
    told = json.dumps(taut.json("status"))
    return {w for w in ("fail", "refuse") if w in told}


def _store(scene: Scene, key: str) -> dict[str, Any]:
    auth = {"tokenSecretRef": {"name": "bao", "key": key}}
    provider = {"vault": {"server": scene.bao.address, "path": "secret", "auth": auth}}
    head = {"apiVersion": "external-secrets.io/v1", "kind": "SecretStore", "metadata": {"name": key}}
    return {**head, "spec": {"provider": provider}}


def _external(name: str, scene: Scene, store: str = "token", **target: Any) -> dict[str, Any]:
    data = [{"secretKey": "password", "remoteRef": {"key": f"{scene.namespace}/{name}", "property": "password"}}]
    spec = {"secretStoreRef": {"name": store}, "data": data, "target": target}
    head = {"apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret", "metadata": {"name": name}}
    return {**head, "spec": spec}


async def test_nothing_of_what_policies_say_of_secrets_is_told(scene: Scene) -> None:
    m = scene.mark
    scene.policies.commit({"loud.yaml": yaml(*_loud(scene))}, "loud policies")
    scene.declare(application("loud"), files={"apps/loud/s.yaml": yaml(_secret("loud", password=m("ingit")))})
    with scene.program() as taut:
        taut.until(lambda: taut.statuses()["loud"]["heldFor"], "the policies deny it")
        message = taut.statuses()["loud"]["message"]
        assert "••••••" in message

        def refused() -> str:
            body = _secret("loud-by-hand", password=m("byhand"))
            path = f"/api/v1/namespaces/{scene.namespace}/secrets?dryRun=All"
            status, answer = scene.api.request("POST", path, body)
            return answer.decode() if status == 403 else ""

        told = taut.until(refused, "the webhook refuses it")
        scene.said.append(("the API server's refusal", told))
        assert "••••••" in told
        scene.ask_everything(taut, ["loud"])
    searched = scene.searched(taut, {})
    assert not searched.found, "\n".join(searched.found)


async def test_nothing_of_what_taut_signs_in_with_is_told(scene: Scene) -> None:
    m = scene.mark
    other = GitHttpServer(scene.folder / "other", credentials=("taut", m("rightpassword")))
    with other as server:
        repo = server.repo("closed")
        more = {
            "credentials": [
                {
                    "name": "closed",
                    "urlPrefix": server.url,
                    "username": "taut",
                    "passwordFile": scene.input("password", m("wrongpassword")),
                }
            ],
            "webhook": {"secretFile": scene.input("hook", m("hooksecret"))},
        }
        app = application("closed")
        scene.declare(app, files={"apps/x.yaml": yaml(deployment("x"))})
        app["spec"]["source"]["git"] = repo.url
        scene.repo.commit({"taut/applications.yaml": yaml(app)}, "from a closed repository")
        with scene.program(**more) as taut:
            taut.until(
                lambda: "closed" in taut.statuses() and taut.statuses()["closed"]["problems"], "it may not sign in"
            )
            taut.taut("sync", "closed")
            scene.ask_everything(taut, ["closed"])
            announced = next((taut.folder / "run" / "taut").glob("*.json"))
            token_file = Path(json.loads(announced.read_text())["tokenFile"])
            scene.marks["apitoken"] = token_file.read_text().strip()
    searched = scene.searched(taut, {})
    found = [f for f in searched.found if token_file.name not in f.partition(": the marker")[0]]
    assert not found, "\n".join(found)


def test_what_is_searched_for_is_found(tmp_path: Path) -> None:
    """In each form, in files, in cells of the store and in objects."""
    import sqlite3

    value = marker("planted")
    encoded = base64.b64encode(f"x{value}y".encode()).decode()
    (tmp_path / "log").write_text(f"… {encoded} …")
    with sqlite3.connect(tmp_path / "taut.db") as store:
        store.execute("CREATE TABLE t (a BLOB)")
        store.execute("INSERT INTO t VALUES (?)", [value.encode().hex().encode()])
    searched = Searched({"planted": value})
    searched.folder(tmp_path, but={})
    assert {f.partition(":")[0].rpartition("/")[2] for f in searched.found} == {"log", "taut.db"}
    searched = Searched({"planted": value})
    of_objects(
        searched,
        "secrets",
        [{"metadata": {"name": "a"}, "data": value}, {"metadata": {"name": "b"}, "data": value}],
        {"a": "planted"},
    )
    assert [f.partition(":")[0] for f in searched.found] == ["secrets b"]
