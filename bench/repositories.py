"""The repositories that are measured: folders of a Deployment, a Service and two ConfigMaps, as kustomizations or by one Helm chart.

The kustomize set has the shape of the peers' baseline: each folder is an application, and 50 of them share a base.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

NAMESPACE = "bench"
SHARED = 50
"""How many applications read the shared base (kustomize) or the shared values file (Helm)."""
KEYS = 21
OBJECTS = 4
"""Objects an application."""

_IMAGE = "registry.example.com/team/web@sha256:" + "c" * 64

_DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {name}
  labels: {{app.kubernetes.io/name: {name}}}
spec:
  replicas: 1
  selector: {{matchLabels: {{app.kubernetes.io/name: {name}}}}}
  template:
    metadata:
      labels: {{app.kubernetes.io/name: {name}}}
    spec:
      containers:
        - name: web
          image: {image}
          ports: [{{containerPort: 8080}}]
          envFrom: [{{configMapRef: {{name: {name}-settings}}}}]
          resources: {{requests: {{cpu: 1m, memory: 1Mi}}}}
"""
_SERVICE = """\
apiVersion: v1
kind: Service
metadata:
  name: {name}
spec:
  selector: {{app.kubernetes.io/name: {name}}}
  ports: [{{port: 80, targetPort: 8080}}]
"""
_CHART = """\
apiVersion: v2
name: web
version: 1.0.0
"""
_CHART_SETTINGS = """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}-settings
data: {{- .Values.settings | toYaml | nindent 2 }}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}-features
data: {{- merge .Values.shared .Values.features | toYaml | nindent 2 }}
"""


@dataclass(frozen=True)
class Change:
    """A file to write, and the ConfigMaps in which `key` is then to be seen with `value`."""

    file: str
    content: str
    objects: tuple[str, ...]
    key: str
    value: str


class Repository:
    """A bare repository of `count` applications, and a clone to change it from. `url` is where it is served."""

    def __init__(self, folder: Path, kind: str, count: int) -> None:
        self.kind, self.count = kind, count
        self.bare, self.clone = folder / "fleet.git", folder / "fleet"
        git("init", "--quiet", "--bare", "--initial-branch=main", str(self.bare))
        git("init", "--quiet", "--initial-branch=main", str(self.clone))
        git("remote", "add", "origin", str(self.bare), cwd=self.clone)
        self.names = tuple(f"app-{number:04d}" for number in range(count))

    def fill(self, url: str) -> None:
        """Write and push everything; the Application document takes its source from `url`. May be done again with another one."""
        files = _kustomize(self.names) if self.kind == "kustomize" else _helm(self.names)
        for file, content in files:
            self._write(file, content)
        self._write("taut/fleet.yaml", _document(self.kind, url))
        self.push("everything")

    def one(self, value: str) -> Change:
        """A change of one ConfigMap of one application: the last one, which a queue in order would reach last."""
        name = self.names[-1]
        objects = (f"{name}-features",)
        if self.kind == "kustomize":
            return Change(f"apps/{name}/features.yaml", _config_map(objects[0], value), objects, "key-00", value)
        folder = _helm_folder(self.count - 1)
        return Change(f"{folder}/{name}/values.yaml", _values(value), objects, "key-00", value)

    def shared(self, value: str) -> Change:
        """A change of what SHARED applications read."""
        names = self.names[:SHARED]
        if self.kind == "kustomize":
            objects = tuple(f"{name}-settings" for name in names)
            return Change("bases/shared/settings.yaml", _config_map("settings", value), objects, "key-00", value)
        objects = tuple(f"{name}-features" for name in names)
        return Change("shared/values.yaml", _shared_values(value), objects, "shared-key", value)

    def push(self, message: str, change: Change | None = None) -> str:
        """Commit and push; the answer is the commit."""
        if change is not None:
            self._write(change.file, change.content)
        git("add", "--all", cwd=self.clone)
        git("commit", "--quiet", "--allow-empty", "-m", message, cwd=self.clone)
        git("push", "--quiet", "origin", "main", cwd=self.clone)
        return git("rev-parse", "HEAD", cwd=self.clone).strip()

    def _write(self, file: str, content: str) -> None:
        path = self.clone / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def git(*argv: str, cwd: Path | None = None) -> str:
    """Run git, as somebody who is always the same."""
    who = {f"GIT_{role}_{part}": "bench@example.com" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")}
    environment = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": os.devnull, **who}
    return subprocess.run(
        ["git", *argv], cwd=cwd, env=environment, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def _data(value: str) -> str:
    lines = [f"  key-00: {value}", *(f"  key-{n:02d}: a setting of some length, number {n}" for n in range(1, KEYS))]
    return "\n".join(lines)


def _config_map(name: str, value: str) -> str:
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata:\n{_data(value)}\n"


def _kustomize(names: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    yield "bases/shared/settings.yaml", _config_map("settings", "first")
    for number, name in enumerate(names):
        shares = number < SHARED
        folder = f"apps/{name}"
        own = ["deployment.yaml", "service.yaml", "features.yaml"] + ([] if shares else ["settings.yaml"])
        lines = ["apiVersion: kustomize.config.k8s.io/v1beta1", "kind: Kustomization", "resources:"]
        lines += [f"  - {file}" for file in own] + (["  - shared"] if shares else [])
        yield f"{folder}/kustomization.yaml", "\n".join(lines) + "\n"
        yield f"{folder}/deployment.yaml", _DEPLOYMENT.format(name=name, image=_IMAGE)
        yield f"{folder}/service.yaml", _SERVICE.format(name=name)
        yield f"{folder}/features.yaml", _config_map(f"{name}-features", "first")
        if shares:
            overlay = f"namePrefix: {name}-\nresources: [../../../bases/shared]\n"
            yield f"{folder}/shared/kustomization.yaml", overlay
        else:
            yield f"{folder}/settings.yaml", _config_map(f"{name}-settings", "first")
    yield "bases/shared/kustomization.yaml", "resources: [settings.yaml]\n"


def _values(value: str) -> str:
    return "features:\n" + _data(value) + "\n"


def _helm(names: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    chart = {"name": '"{{ .Release.Name }}"', "image": _IMAGE}
    yield "chart/Chart.yaml", _CHART
    yield "chart/values.yaml", "shared: {}\nsettings:\n" + _data("first") + "\n"
    yield "chart/templates/deployment.yaml", _DEPLOYMENT.format(**chart).replace('"-settings', '-settings"')
    yield "chart/templates/service.yaml", _SERVICE.format(**chart)
    yield "chart/templates/settings.yaml", _CHART_SETTINGS
    yield "shared/values.yaml", _shared_values("first")
    for number, name in enumerate(names):
        yield f"{_helm_folder(number)}/{name}/values.yaml", _values("first")


def _helm_folder(number: int) -> str:
    return "sharing" if number < SHARED else "apps"


def _shared_values(value: str) -> str:
    return f"shared:\n  shared-key: {value}\n"


def _document(kind: str, url: str) -> str:
    if kind == "kustomize":
        return _application("apps", url, 'path: "{{ folder.path }}"')
    own = '"/{{ folder.path }}/values.yaml"'
    plain = _application("apps", url, f"path: chart, helmOptions: {{valueFiles: [{own}]}}")
    sharing = _application("sharing", url, f"path: chart, helmOptions: {{valueFiles: [/shared/values.yaml, {own}]}}")
    return plain + "---\n" + sharing


def _application(folder: str, url: str, how: str) -> str:
    return (
        "apiVersion: taut.dev/v1\nkind: Application\n"
        'metadata: {name: "{{ folder.name }}"}\n'
        f'spec:\n  forEach: {{folders: "{folder}/*"}}\n'
        f'  source: {{git: "{url}", ref: main, {how}}}\n'
        f"  target: {{cluster: local, namespace: {NAMESPACE}}}\n"
        "  sync: {mode: automatic, prune: true, heal: true}\n"
    )
