"""What `taut init` writes: a repository with one application in two environments. Pure: names and texts, no files."""

from __future__ import annotations

from dataclasses import dataclass
from string import Template

from taut.documents.yaml import dump

_IMAGE = (
    "nginxinc/nginx-unprivileged:1.27-alpine@sha256:65e3e85dbaed8ba248841d9d58a899b6197106c23cb0ff1a132b7bfe0547e4c0"
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where the repository will be: its URL for taut, the branch, the folder inside it (empty: the top), and the cluster's kubeconfig."""

    repository: str
    branch: str = "main"
    prefix: str = ""
    kubeconfig: str = ""
    context: str = ""


def scaffold(place: Place) -> dict[str, str]:
    """The files to write, by their path below the folder."""
    inside = f"{place.prefix}/" if place.prefix else ""
    values = {
        "repository": _yaml(place.repository),
        "branch": _yaml(place.branch),
        "folders": _yaml(f"{inside}apps/*"),
        "staging": _yaml(f"{inside}taut/staging"),
        "production": _yaml(f"{inside}taut/production"),
        "image": _IMAGE,
    }
    texts = {**_FILES, "taut.yaml": _CONFIG + _cluster(place) + _ROOTS}
    for environment, settings in _SETTINGS.items():
        own = {"environment": environment, **settings}
        texts[f"apps/hello/overlays/{environment}/kustomization.yaml"] = Template(_OVERLAY).safe_substitute(own)
        texts[f"taut/{environment}/applications.yaml"] = Template(_APPLICATIONS).safe_substitute(own)
    return {path: Template(text.lstrip("\n")).safe_substitute(values) for path, text in sorted(texts.items())}


def _cluster(place: Place) -> str:
    lines = ["clusters:", "  - name: local"]
    lines += [f"    kubeconfig: {_literal(place.kubeconfig)}"] if place.kubeconfig else []
    lines += [f"    context: {_literal(place.context)}"] if place.context else []
    if not (place.kubeconfig or place.context):
        lines.append("    # The current context of your kubeconfig. Name another with kubeconfig: and context:.")
    return "\n".join(lines) + "\n"


def _literal(text: str) -> str:
    return _yaml(text).replace("$", "$$")


def _yaml(text: str) -> str:
    """A text as it is written in YAML, quoted where it has to be."""
    return dump(text).strip()


_SETTINGS = {
    "staging": {
        "replicas": "1",
        "greeting": "Hello from staging.",
        "about": "Every folder of apps/ runs in staging as soon as it is on the branch.",
    },
    "production": {
        "replicas": "3",
        "greeting": "Hello from production.",
        "about": "Every folder of apps/ runs in production too. To start its syncs by hand, set sync.mode to manual.",
    },
}

_OVERLAY = """
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources:
  - ../../base
replicas:
  - name: hello
    count: $replicas
configMapGenerator:
  - name: hello
    behavior: merge
    literals:
      - index.html=$greeting
"""

_APPLICATIONS = """
# $about
apiVersion: taut.dev/v1
kind: Application
metadata:
  name: "{{ folder.name }}"
  labels:
    environment: $environment
spec:
  forEach:
    folders: $folders
  source:
    git: $repository
    ref: $branch
    path: "{{ folder.path }}/overlays/$environment"
  target:
    cluster: local
    namespace: "{{ folder.name }}-$environment"
  sync:
    mode: automatic
    prune: true
    heal: true
    createNamespace: true
"""

_CONFIG = """
# What `taut run` reads. Relative paths are relative to this file.
store: .taut/taut.db
listen: 127.0.0.1:7411
"""

_ROOTS = """\
roots:
  - name: staging
    git: $repository
    ref: $branch
    path: $staging
    poll: 10s
  - name: production
    git: $repository
    ref: $branch
    path: $production
    poll: 10s
"""

_README = """
# Fleet

What is on the branch `$branch` is what runs. taut reads this repository and keeps the cluster to it.

| folder | what it holds |
| --- | --- |
| `apps/<name>/base` | an application, as Kustomize |
| `apps/<name>/overlays/<environment>` | what is different in an environment |
| `taut/<environment>` | taut's documents: which applications run there |
| `taut.yaml` | the configuration of `taut run`: clusters, repositories |

## Every day

    taut check                                   # before a commit: is everything well-formed?
    taut render apps/hello/overlays/staging      # what would be applied
    git commit -am "…"                           # (and push): taut sees it and applies it
    taut status                                  # what runs, and what is wrong

**A new application:** add a folder `apps/<name>` with a `base` and one overlay for each environment. Nothing else has to be told.

**Another environment:** copy a folder of `taut/`, an overlay of each application, and a root of `taut.yaml`.

## The first time

    git init -b $branch && git add -A && git commit -m "Begin"     # unless taut init --git did it
    taut run

taut speaks to the cluster that `taut.yaml` names. There is none at hand? `taut localplane start` brings up a real control plane on this machine.
"""

_FILES = {
    ".gitignore": "/.taut/\n",
    "README.md": _README,
    "apps/hello/base/kustomization.yaml": """
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
labels:
  - pairs:
      app.kubernetes.io/name: hello
    includeSelectors: true
resources:
  - deployment.yaml
  - service.yaml
configMapGenerator:
  - name: hello
    literals:
      - index.html=Hello.
""",
    "apps/hello/base/deployment.yaml": """
apiVersion: apps/v1
kind: Deployment
metadata:
  name: hello
spec:
  replicas: 1
  template:
    spec:
      automountServiceAccountToken: false
      securityContext:
        runAsNonRoot: true
        seccompProfile:
          type: RuntimeDefault
      containers:
        - name: web
          image: $image
          ports:
            - name: http
              containerPort: 8080
          readinessProbe:
            httpGet:
              path: /
              port: http
          resources:
            requests:
              cpu: 10m
              memory: 32Mi
            limits:
              memory: 64Mi
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities:
              drop:
                - ALL
          volumeMounts:
            - name: pages
              mountPath: /usr/share/nginx/html
            - name: scratch
              mountPath: /tmp
      volumes:
        - name: pages
          configMap:
            name: hello
        - name: scratch
          emptyDir: {}
""",
    "apps/hello/base/service.yaml": """
apiVersion: v1
kind: Service
metadata:
  name: hello
spec:
  ports:
    - name: http
      port: 80
      targetPort: http
""",
}
