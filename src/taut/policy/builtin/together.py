"""What only several objects together show: two of one name, and what points nowhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from taut.model.manifests import Body
from taut.policy.builtin.finding import Finding, place_of, pod_template


def duplicates(bodies: Sequence[Body]) -> Iterator[Finding]:
    """Objects that are declared twice: one of them would win."""
    seen: set[tuple[str, str, str, str]] = set()
    for body in bodies:
        group = str(body.get("apiVersion") or "").rpartition("/")[0]
        namespace, name = place_of(body)
        identity = (group, str(body.get("kind")), namespace, name)
        if name and identity in seen:
            yield Finding(body, f"{body.get('kind')} {name} is declared more than once", "metadata.name", name)
        seen.add(identity)


def services(bodies: Sequence[Body]) -> Iterator[Finding]:
    """Services whose selector fits no Pod of these objects. Without any workload in the namespace nothing can be told."""
    pods = [(place_of(b)[0], found[1]) for b in bodies if (found := pod_template(b)) is not None]
    for body in bodies:
        selector: Any = _spec(body).get("selector")
        if (
            body.get("kind") != "Service"
            or body.get("apiVersion") != "v1"
            or not isinstance(selector, dict)
            or not selector
        ):
            continue
        near = [_labels(pod) for namespace, pod in pods if namespace == place_of(body)[0]]
        if near and not any(selector.items() <= labels.items() for labels in near):
            text = ", ".join(f"{k}={v}" for k, v in sorted(selector.items()))
            yield Finding(body, "the Service selects no Pod that is declared beside it", "spec.selector", text)


def _spec(body: Body) -> dict[str, Any]:
    spec = body.get("spec")
    return spec if isinstance(spec, dict) else {}


def _labels(pod: dict[str, Any]) -> dict[str, Any]:
    metadata = pod.get("metadata")
    labels = metadata.get("labels") if isinstance(metadata, dict) else None
    return labels if isinstance(labels, dict) else {}


def backends(bodies: Sequence[Body]) -> Iterator[Finding]:
    """Ingresses that lead to a Service, or a port of one, that is not declared. Without any Service in the namespace nothing can be told."""
    known: dict[str, dict[str, set[Any]]] = {}
    for body in bodies:
        if body.get("kind") == "Service" and body.get("apiVersion") == "v1":
            namespace, name = place_of(body)
            ports = _spec(body).get("ports") or ()
            known.setdefault(namespace, {})[name] = {
                v for p in ports if isinstance(p, dict) for v in (p.get("port"), p.get("name"))
            }
    for body in bodies:
        near = known.get(place_of(body)[0])
        if near and body.get("kind") == "Ingress" and str(body.get("apiVersion")) == "networking.k8s.io/v1":
            yield from _ingress(body, near)


def _ingress(body: Body, near: dict[str, set[Any]]) -> Iterator[Finding]:
    spec = _spec(body)
    found: list[tuple[str, Any]] = [("spec.defaultBackend", spec.get("defaultBackend"))]
    for i, rule in enumerate(spec.get("rules") or ()):
        paths = ((rule or {}).get("http") or {}).get("paths") or ()
        found += [(f"spec.rules[{i}].http.paths[{j}].backend", (p or {}).get("backend")) for j, p in enumerate(paths)]
    for path, backend in found:
        service = (backend or {}).get("service") if isinstance(backend, dict) else None
        if not isinstance(service, dict):
            continue
        name, port = str(service.get("name") or ""), service.get("port") or {}
        wanted = port.get("number", port.get("name"))
        if name not in near:
            yield Finding(
                body, f"the Ingress leads to the Service {name}, which is not declared", f"{path}.service.name", name
            )
        elif wanted is not None and wanted not in near[name]:
            yield Finding(body, f"the Service {name} has no port {wanted}", f"{path}.service.port", str(wanted))
