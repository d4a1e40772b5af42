"""What a cluster makes by itself: nobody declares it, and nobody misses it."""

from __future__ import annotations

from taut.model.live import LiveObject

_BY_NAME = frozenset({("", "ServiceAccount", "default"), ("", "ConfigMap", "kube-root-ca.crt")})
_RECORDS = frozenset({"Event", "Lease", "EndpointSlice", "Endpoints", "PodMetrics", "ControllerRevision"})

_REPORTS = frozenset({"wgpolicyk8s.io", "openreports.io"})
"""What policies say of objects, written by whoever judges."""


def made_by_cluster(live: LiveObject) -> bool:
    """Whether every namespace gets this object by itself, or it is a record that carries no data of people."""
    ref = live.ref
    return (ref.group, ref.kind, ref.name) in _BY_NAME or ref.kind in _RECORDS or ref.group in _REPORTS
