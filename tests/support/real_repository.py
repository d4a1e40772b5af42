"""A repository like real ones, made by code: kustomize overlays on overlays, a chart with 30 templates and vendored dependencies, CRDs with
custom resources in the same commit, and 40 applications that wait for each other over seven levels."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from typing import Any

from taut.documents.yaml import dump

DATABASES = tuple(f"db-{n}" for n in range(4))
BACKENDS = tuple(f"backend-{n}" for n in range(10))
APIS = tuple(f"api-{n}" for n in range(12))
WEBS = tuple(f"web-{n}" for n in range(10))
GATEWAYS = ("gateway-public", "gateway-internal")
NAMES = ("platform", *DATABASES, *BACKENDS, *APIS, *WEBS, *GATEWAYS, "smoke")
TEMPLATES = 30


def applications(names: tuple[str, ...] = NAMES) -> list[dict[str, Any]]:
    """The Application documents, each with what it depends on."""
    return [_application(name) for name in names]


def _application(name: str) -> dict[str, Any]:
    spec: dict[str, Any] = {"source": _source(name), "dependsOn": _depends_on(name)}
    spec["sync"] = {"mode": "automatic", "prune": True, "heal": True}
    return {"apiVersion": "taut.dev/v1", "kind": "Application", "metadata": {"name": name}, "spec": spec}


def _source(name: str) -> dict[str, Any]:
    if name in BACKENDS:
        values = {"replicas": 1, "tier": "backend", "cache": {"size": 64 + BACKENDS.index(name)}}
        return {"path": "charts/service", "helmOptions": {"values": values, "valueFiles": ["values-production.yaml"]}}
    return {"path": f"environments/production/{name}"} if name in (*APIS, *DATABASES) else {"path": f"plain/{name}"}


def _depends_on(name: str) -> list[str]:
    if name in DATABASES:
        return ["platform"]
    if name in BACKENDS:
        return [DATABASES[BACKENDS.index(name) % len(DATABASES)]]
    if name in APIS:
        number = APIS.index(name)
        return sorted({BACKENDS[number % len(BACKENDS)], BACKENDS[(number * 3 + 1) % len(BACKENDS)]})
    if name in WEBS:
        number = WEBS.index(name)
        return sorted({APIS[number], APIS[(number + 5) % len(APIS)]})
    return {"platform": [], GATEWAYS[0]: list(WEBS), GATEWAYS[1]: [WEBS[0], GATEWAYS[0]], "smoke": list(GATEWAYS)}[name]


def files(group: str) -> dict[str, str | bytes]:
    """Everything but the Application documents. `group` is the API group of the custom resources."""
    found: dict[str, str | bytes] = {**_platform(group), **_kustomize(), **_chart()}
    for name in (*WEBS, *GATEWAYS, "smoke"):
        found[f"plain/{name}/objects.yaml"] = _documents(
            _config_map(f"{name}-settings", {"upstream": ",".join(_depends_on(name))}), *_workload(name)
        )
    return found


def crd_name(group: str) -> str:
    """The CRD's name."""
    return f"routes.{group}"


# The platform: CRDs, and resources of their kinds in the same commit


def _platform(group: str) -> dict[str, str]:
    names = {"plural": "routes", "singular": "route", "kind": "Route"}
    schema = {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "properties": {"host": {"type": "string"}, "weight": {"type": "integer", "default": 100}},
            },
            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        },
    }
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    crd = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": crd_name(group)},
        "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": [version]},
    }
    routes = [
        {
            "apiVersion": f"{group}/v1",
            "kind": "Route",
            "metadata": {"name": f"route-{n}"},
            "spec": {"host": f"r{n}.example.test"},
        }
        for n in range(6)
    ]
    return {
        "plain/platform/a-routes.yaml": _documents(*routes),
        "plain/platform/crds/routes.yaml": _documents(crd),
        "plain/platform/settings.yaml": _documents(_config_map("platform-settings", {"group": group})),
    }


# Kustomize: base ← overlay ← environment, with components and generators


def _kustomize() -> dict[str, str]:
    found = {
        "bases/service/kustomization.yaml": _kustomization(
            resources=["deployment.yaml", "service.yaml", "account.yaml"],
            configMapGenerator=[{"name": "settings", "files": ["app.properties"], "literals": ["LEVEL=info"]}],
        ),
        "bases/service/app.properties": "cache=on\nregion=eu\n",
        "bases/service/account.yaml": _documents(
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "service"}}
        ),
        "bases/service/deployment.yaml": _documents(_deployment("service", settings="settings")),
        "bases/service/service.yaml": _documents(_service("service")),
        "components/disruption/kustomization.yaml": _component(resources=["budget.yaml"]),
        "components/disruption/budget.yaml": _documents(
            {
                "apiVersion": "policy/v1",
                "kind": "PodDisruptionBudget",
                "metadata": {"name": "service"},
                "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "service"}}},
            }
        ),
        "components/resources/kustomization.yaml": _component(
            patches=[{"path": "resources.yaml", "target": {"kind": "Deployment"}}]
        ),
        "components/resources/resources.yaml": (
            '- {op: add, path: /spec/template/spec/containers/0/resources, value: {requests: {cpu: "0.1", memory: 64Mi}}}\n'
        ),
        "overlays/production/kustomization.yaml": _kustomization(
            resources=["../../bases/service"],
            components=["../../components/disruption", "../../components/resources"],
            images=[{"name": "example/service", "newTag": "2.0"}],
            labels=[{"pairs": {"environment": "production"}}],
            configMapGenerator=[{"name": "settings", "behavior": "merge", "literals": ["LEVEL=warn"]}],
        ),
    }
    for name in (*DATABASES, *APIS):
        folder = f"environments/production/{name}"
        found[f"{folder}/kustomization.yaml"] = _kustomization(
            namePrefix=f"{name}-",
            resources=["../../../overlays/production"],
            replicas=[{"name": "service", "count": 1}],
            labels=[{"pairs": {"app": name}, "includeSelectors": True}],
            configMapGenerator=[{"name": "own", "literals": [f"NAME={name}"]}],
            secretGenerator=[{"name": "credentials", "literals": [f"password=secret-of-{name}"]}],
        )
    return found


def _kustomization(**content: Any) -> str:
    return dump({"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", **content})


def _component(**content: Any) -> str:
    return dump({"apiVersion": "kustomize.config.k8s.io/v1alpha1", "kind": "Component", **content})


# Helm: a chart with 30 templates, a library, a subchart in a folder and one in an archive


def _chart() -> dict[str, str | bytes]:
    dependencies = [
        {"name": "common", "version": "1.0.0"},
        {"name": "cache", "version": "1.2.0", "condition": "cache.enabled"},
        {"name": "queue", "version": "0.3.1", "alias": "jobs"},
    ]
    found: dict[str, str | bytes] = {
        "charts/service/Chart.yaml": dump(
            {"apiVersion": "v2", "name": "service", "version": "3.1.0", "dependencies": dependencies}
        ),
        "charts/service/values.yaml": dump(
            {"replicas": 1, "tier": "none", "image": "example/service:1", "cache": {"enabled": True, "size": 1}}
        ),
        "charts/service/values-production.yaml": dump({"image": "example/service:2", "jobs": {"topic": "orders"}}),
        "charts/service/charts/common/Chart.yaml": dump(
            {"apiVersion": "v2", "name": "common", "version": "1.0.0", "type": "library"}
        ),
        "charts/service/charts/common/templates/_names.tpl": _NAMES,
        "charts/service/charts/cache/Chart.yaml": dump({"apiVersion": "v2", "name": "cache", "version": "1.2.0"}),
        "charts/service/charts/cache/values.yaml": dump({"size": 1}),
        "charts/service/charts/cache/templates/cache.yaml": _CACHE,
        "charts/service/charts/queue-0.3.1.tgz": _archive(
            {
                "queue/Chart.yaml": dump({"apiVersion": "v2", "name": "queue", "version": "0.3.1"}),
                "queue/values.yaml": dump({"topic": "none"}),
                "queue/templates/queue.yaml": _QUEUE,
            }
        ),
    }
    found |= {f"charts/service/templates/{name}": text for name, text in _TEMPLATES.items()}
    for number in range(TEMPLATES - len(_TEMPLATES)):
        found[f"charts/service/templates/feature-{number:02}.yaml"] = _FEATURE.replace("@N", str(number))
    return found


def _archive(entries: Mapping[str, str]) -> bytes:
    """A chart as `helm package` makes it."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, text in entries.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))
    return packed.getvalue()


_NAMES = """\
{{- define "common.name" -}}{{ .Release.Name }}{{- end }}
{{- define "common.labels" -}}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
tier: {{ .Values.tier | default "none" }}
{{- end }}
"""
_CACHE = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: {{ .Release.Name }}-cache}
data: {size: {{ .Values.size | quote }}}
"""
_QUEUE = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: {{ .Release.Name }}-queue}
data: {topic: {{ .Values.topic | quote }}}
"""
_FEATURE = """\
{{- if not (has @N (list 3 7)) }}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ include "common.name" . }}-feature-@N
  labels: {{- include "common.labels" . | nindent 4 }}
data:
  checksum: {{ printf "%s-@N" .Release.Name | sha256sum | trunc 16 | quote }}
  enabled: {{ eq (mod @N 2) 0 | quote }}
{{- end }}
"""
_HEAD = """\
metadata:
  name: {{ include "common.name" . }}
  labels: {{- include "common.labels" . | nindent 4 }}
"""
_TEMPLATES = {
    "_helpers.tpl": '{{- define "service.selector" -}}app: {{ include "common.name" . }}{{- end }}\n',
    "NOTES.txt": "{{ .Release.Name }} is deployed.\n",
    "account.yaml": f"apiVersion: v1\nkind: ServiceAccount\n{_HEAD}",
    "role.yaml": (
        f"apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\n{_HEAD}"
        "rules: [{apiGroups: [''], resources: [configmaps], verbs: [get, list, watch]}]\n"
    ),
    "binding.yaml": (
        f"apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\n{_HEAD}"
        'roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: {{ include "common.name" . }}}\n'
        'subjects: [{kind: ServiceAccount, name: {{ include "common.name" . }}}]\n'
    ),
    "deployment.yaml": (
        f"apiVersion: apps/v1\nkind: Deployment\n{_HEAD}"
        "spec:\n"
        "  replicas: {{ .Values.replicas }}\n"
        '  selector: {matchLabels: { {{- include "service.selector" . -}} }}\n'
        "  template:\n"
        '    metadata: {labels: { {{- include "service.selector" . -}} }}\n'
        "    spec:\n"
        '      serviceAccountName: {{ include "common.name" . }}\n'
        "      containers:\n"
        "        - {name: main, image: {{ .Values.image | quote }}, ports: [{containerPort: 8080}]}\n"
    ),
    "service.yaml": (
        f"apiVersion: v1\nkind: Service\n{_HEAD}"
        'spec: {ports: [{port: 80, targetPort: 8080}], selector: { {{- include "service.selector" . -}} }}\n'
    ),
    "policy.yaml": (
        f"apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n{_HEAD}"
        'spec: {podSelector: {matchLabels: { {{- include "service.selector" . -}} }}, policyTypes: [Ingress]}\n'
    ),
    "secret.yaml": f"apiVersion: v1\nkind: Secret\n{_HEAD}stringData: {{user: service, tier: {{{{ .Values.tier }}}}}}\n",
}


# Plain objects


def _workload(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    return _deployment(name), _service(name)


def _deployment(name: str, *, settings: str = "") -> dict[str, Any]:
    container: dict[str, Any] = {"name": "main", "image": "example/service:1"}
    if settings:
        container["envFrom"] = [{"configMapRef": {"name": settings}}]
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def _service(name: str) -> dict[str, Any]:
    ports = [{"name": "http", "port": 80, "targetPort": 8080}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": ports},
    }


def _config_map(name: str, data: dict[str, str]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def _documents(*bodies: dict[str, Any]) -> str:
    return "---\n".join(dump(b) for b in bodies)
