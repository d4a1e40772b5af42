"""A real Kubernetes control plane on this machine: etcd, API server, controllers, scheduler and a fake kubelet.

`start` builds what it needs once, and gives a `Plane` with a kubeconfig. See `taut.localplane.plane`.
"""

from taut.localplane.building import Binaries, build, built
from taut.localplane.plane import Plane, PlaneState, delete, get, planes, start, stop

__all__ = ["Binaries", "Plane", "PlaneState", "build", "built", "delete", "get", "planes", "start", "stop"]
