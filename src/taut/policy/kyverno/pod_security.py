"""The Pod Security Standards (Kubernetes, `baseline` and `restricted`), with Kyverno's exclusions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from taut.policy.kyverno.errors import PolicyError
from taut.policy.kyverno.images import LISTS
from taut.policy.kyverno.wildcard import matches

_CAPABILITIES = frozenset(
    [
        "AUDIT_WRITE",
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "MKNOD",
        "NET_BIND_SERVICE",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
    ]
)
_SYSCTLS = frozenset(
    [
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.ping_group_range",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_wmem",
    ]
)
_SELINUX = frozenset(["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"])
_VOLUMES = frozenset(
    ["configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"]
)


@dataclass(frozen=True, slots=True)
class Violation:
    """One field that a control forbids. `path` is the restricted field's name in the standards; `image` of the container, if it is in one."""

    control: str
    path: str
    value: Any
    image: str = ""


type _Check = Callable[[dict[str, Any], dict[str, Any]], Iterator[Violation]]


def violations(pod: dict[str, Any], level: str) -> list[Violation]:
    """What a Pod (its metadata and spec) does that a level forbids. Raises PolicyError for an unknown level."""
    if level == "privileged":
        return []
    if level not in {"baseline", "restricted"}:
        raise PolicyError(f"there is no level {level!r} of the Pod Security Standards")
    metadata = pod.get("metadata") if isinstance(pod.get("metadata"), dict) else {}
    spec = pod.get("spec") if isinstance(pod.get("spec"), dict) else {}
    checks = _BASELINE if level == "baseline" else (*_BASELINE, *_RESTRICTED)
    if level == "restricted":
        checks = tuple(c for c in checks if c not in {_seccomp_baseline, _capabilities_baseline})
    return [v for check in checks for v in check(metadata, spec)]  # pyright: ignore[reportArgumentType]


def remaining(found: list[Violation], exclusions: Any) -> list[Violation]:
    """Those that no exclusion (controlName, images, restrictedField, values) covers."""
    rules = [e for e in exclusions or () if isinstance(e, dict)]
    return [v for v in found if not any(_excluded(v, rule) for rule in rules)]


def _excluded(violation: Violation, rule: dict[str, Any]) -> bool:
    if rule.get("controlName") != violation.control:
        return False
    images = rule.get("images")
    if images and not (violation.image and any(matches(str(i), violation.image) for i in images)):
        return False
    if not images and violation.image and not rule.get("restrictedField"):
        # A control of containers is excluded by their images; without them the exclusion is about the Pod's own fields.
        return False
    field = rule.get("restrictedField")
    if not field:
        return True
    if _plain(str(field)) != _plain(violation.path):
        return False
    values = rule.get("values") or []
    given = violation.value if isinstance(violation.value, list) else [violation.value]
    return bool(values) and all(any(matches(str(w), _text(g)) for w in values) for g in given)


def _plain(path: str) -> str:
    return path.replace("[*]", "")


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "undefined" if value is None else str(value)


def _containers(spec: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], str]]:
    for name in LISTS:
        for container in spec.get(name) or ():
            if isinstance(container, dict):
                yield f"spec.{name}[*]", container, str(container.get("image") or "")


def _security(owner: dict[str, Any]) -> dict[str, Any]:
    found = owner.get("securityContext")
    return found if isinstance(found, dict) else {}


def _host_process(_: dict[str, Any], spec: dict[str, Any]) -> Iterator[Violation]:
    control = "HostProcess"
    if (_security(spec).get("windowsOptions") or {}).get("hostProcess"):
        yield Violation(control, "spec.securityContext.windowsOptions.hostProcess", True)
    for path, container, image in _containers(spec):
        if (_security(container).get("windowsOptions") or {}).get("hostProcess"):
            yield Violation(control, f"{path}.securityContext.windowsOptions.hostProcess", True, image)


def _host_namespaces(_: dict[str, Any], spec: dict[str, Any]) -> Iterator[Violation]:
    for name in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(name):
            yield Violation("Host Namespaces", f"spec.{name}", True)


def _privileged(_: dict[str, Any], spec: dict[str, Any]) -> Iterator[Violation]:
    for path, container, image in _containers(spec):
        if _security(container).get("privileged"):
            yield Violation("Privileged Containers", f"{path}.securityContext.privileged", True, image)


def _added(container: dict[str, Any]) -> list[str]:
    found = _security(container).get("capabilities")
    return [str(c) for c in (found.get("add") or ())] if isinstance(found, dict) else []


def _capabilities_baseline(_: dict[str, Any], spec: dict[str, Any]) -> Iterator[Violation]:
    for path, container, image in _containers(spec):
        bad = [c for c in _added(container) if c not in _CAPABILITIES]
        if bad:
            yield Violation("Capabilities", f"{path}.securityContext.capabilities.add", bad, image)


def _host_paths(_: dict[str, Any], spec: dict[str, Any]) -> Iterator[Violation]:
    for volume in spec.get("volumes") or ():
        if isinstance(volume, dict) and "hostPath" in volume:
            yield Violation("HostPath Volumes", "spec.volumes[*].hostPath", (volume["hostPath"] or {}).get("path"))


def _host_ports(_: dict[str, Any], spec: dict[str, Any]) -> Iterator[Violation]:
    for path, container, image in _containers(spec):
        ports = [p.get("hostPort") for p in container.get("ports") or () if isinstance(p, dict) and p.get("hostPort")]
        if ports:
            yield Violation("Host Ports", f"{path}.ports[*].hostPort", ports, image)


def _app_armor(metadata: dict[str, Any], spec: dict[str, Any]) -> Iterator[Violation]:
    for key, value in (metadata.get("annotations") or {}).items():
        if str(key).startswith("container.apparmor.security.beta.kubernetes.io/") and not (
            value in {"", "runtime/default"} or str(value).startswith("localhost/")
        ):
            yield Violation("AppArmor", f"metadata.annotations[{key}]", value)
    for path, owner, image in (("spec", spec, ""), *_containers(spec)):
        kind = (_security(owner).get("appArmorProfile") or {}).get("type")
        if kind not in {None, "RuntimeDefault", "Localhost"}:
            yield Violation("AppArmor", f"{path}.securityContext.appArmorProfile.type", kind, image)


def _se_linux(_: dict[str, Any], spec: dict[str, Any]) -> Iterator[Violation]:
    for path, owner, image in (("spec", spec, ""), *_containers(spec)):
        options = _security(owner).get("seLinuxOptions") or {}
        if str(options.get("type") or "") not in _SELINUX:
            yield Violation("SELinux", f"{path}.securityContext.seLinuxOptions.type", options["type"], image)
        for name in ("user", "role"):
            if options.get(name):
                yield Violation("SELinux", f"{path}.securityContext.seLinuxOptions.{name}", options[name], image)


def _proc_mount(_: dict[str, Any], spec: dict[str, Any]) -> Iterator[Violation]:
    for path, container, image in _containers(spec):
        kind = _security(container).get("procMount")
        if kind not in {None, "", "Default"}:
            yield Violation("/proc Mount Type", f"{path}.securityContext.procMount", kind, image)


def _seccomp_baseline(_: dict[str, Any], spec: dict[str, Any]) -> Iterator[Violation]:
    for path, owner, image in (("spec", spec, ""), *_containers(spec)):
        kind = (_security(owner).get("seccompProfile") or {}).get("type")
        if kind not in {None, "RuntimeDefault", "Localhost"}:
            yield Violation("Seccomp", f"{path}.securityContext.seccompProfile.type", kind, image)


def _sysctls(_: dict[str, Any], spec: dict[str, Any]) -> Iterator[Violation]:
    names = [str(s.get("name")) for s in _security(spec).get("sysctls") or () if isinstance(s, dict)]
    bad = [n for n in names if n not in _SYSCTLS]
    if bad:
        yield Violation("Sysctls", "spec.securityContext.sysctls[*].name", bad)


def _volume_types(_: dict[str, Any], spec: dict[str, Any]) -> Iterator[Violation]:
    for volume in spec.get("volumes") or ():
        bad = [k for k in volume if k != "name" and k not in _VOLUMES] if isinstance(volume, dict) else []
        for kind in bad:
            yield Violation("Volume Types", f"spec.volumes[*].{kind}", volume[kind])


def _windows(spec: dict[str, Any]) -> bool:
    return (spec.get("os") or {}).get("name") == "windows"


def _escalation(_: dict[str, Any], spec: dict[str, Any]) -> Iterator[Violation]:
    if _windows(spec):
        return
    for path, container, image in _containers(spec):
        allowed = _security(container).get("allowPrivilegeEscalation")
        if allowed is not False:
            yield Violation("Privilege Escalation", f"{path}.securityContext.allowPrivilegeEscalation", allowed, image)


def _non_root(_: dict[str, Any], spec: dict[str, Any]) -> Iterator[Violation]:
    control, own = "Running as Non-root", _security(spec).get("runAsNonRoot")
    bad = False
    for path, container, image in _containers(spec):
        value = _security(container).get("runAsNonRoot")
        if value is False or (value is None and own is not True):
            bad = True
            yield Violation(control, f"{path}.securityContext.runAsNonRoot", value, image)
    if own is False or (own is None and bad):
        yield Violation(control, "spec.securityContext.runAsNonRoot", own)


def _non_root_user(_: dict[str, Any], spec: dict[str, Any]) -> Iterator[Violation]:
    for path, owner, image in (("spec", spec, ""), *_containers(spec)):
        user = _security(owner).get("runAsUser")
        if user == 0:
            yield Violation("Running as Non-root user", f"{path}.securityContext.runAsUser", user, image)


def _seccomp_restricted(_: dict[str, Any], spec: dict[str, Any]) -> Iterator[Violation]:
    good = {"RuntimeDefault", "Localhost"}
    if _windows(spec):
        return
    own = (_security(spec).get("seccompProfile") or {}).get("type")
    if own is not None and own not in good:
        yield Violation("Seccomp", "spec.securityContext.seccompProfile.type", own)
    for path, container, image in _containers(spec):
        kind = (_security(container).get("seccompProfile") or {}).get("type")
        if (kind is not None and kind not in good) or (kind is None and own not in good):
            yield Violation("Seccomp", f"{path}.securityContext.seccompProfile.type", kind, image)


def _capabilities_restricted(_: dict[str, Any], spec: dict[str, Any]) -> Iterator[Violation]:
    if _windows(spec):
        return
    for path, container, image in _containers(spec):
        capabilities = _security(container).get("capabilities") or {}
        dropped = [str(c) for c in capabilities.get("drop") or ()]
        if "ALL" not in dropped:
            yield Violation("Capabilities", f"{path}.securityContext.capabilities.drop", dropped or None, image)
        bad = [c for c in _added(container) if c != "NET_BIND_SERVICE"]
        if bad:
            yield Violation("Capabilities", f"{path}.securityContext.capabilities.add", bad, image)


_BASELINE: tuple[_Check, ...] = (
    _host_process, _host_namespaces, _privileged, _capabilities_baseline, _host_paths, _host_ports, _app_armor,
    _se_linux, _proc_mount, _seccomp_baseline, _sysctls,
)  # fmt: skip
_RESTRICTED: tuple[_Check, ...] = (_volume_types, _escalation, _non_root, _non_root_user, _seccomp_restricted, _capabilities_restricted)  # fmt: skip
