"""Builds the control plane's programs from the Go modules in `localplane/`, once for each content of that folder."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from taut.localplane.paths import default_cache
from taut.model.errors import TautError

type Progress = Callable[[str], None]

_SOURCE_SUFFIXES = (".go", ".mod", ".sum", ".yaml")
_REPORT_EVERY = 5.0
_KEPT_LINES = 15
_KEPT_DAYS = 30
_USUAL_PLACE = "/usr/local/go/bin"
"""Where the official packages put Go; not every shell has it on PATH."""


@dataclass(frozen=True, slots=True)
class Binaries:
    """What a build makes: the multi-call control plane, the fake kubelet with its stages, and kustomize."""

    folder: Path

    @property
    def localplane(self) -> Path:
        """etcd, kube-apiserver, kube-controller-manager and kube-scheduler in one file."""
        return self.folder / "localplane"

    @property
    def kwok(self) -> Path:
        """The fake kubelet."""
        return self.folder / "kwok"

    @property
    def stages(self) -> Path:
        """What kwok does with nodes, Pods, volumes and load balancers."""
        return self.folder / "stages.yaml"

    @property
    def kustomize(self) -> Path:
        """The standalone kustomize."""
        return self.folder / "kustomize"


def to_stderr(line: str) -> None:
    """Print a line of progress where it does not mix with results."""
    print(line, file=sys.stderr, flush=True)


def find_source() -> Path:
    """The folder with the Go modules: inside the installed package, or at the root of the checkout. Raises TautError."""
    here = Path(__file__).resolve().parent
    for candidate in (here / "go", *(parent / "localplane" for parent in here.parents)):
        if (candidate / "go.mod").is_file():
            return candidate
    raise TautError(
        "the sources of the local control plane are not part of this installation",
        advice="run taut from a clone of its repository",
    )


def content_hash(source: Path) -> str:
    """A hash (hex) of the paths and contents of all files that take part in the build below `source`."""
    digest = hashlib.sha256()
    for file in sorted(f for f in source.rglob("*") if f.suffix in _SOURCE_SUFFIXES and f.is_file()):
        data = file.read_bytes()
        digest.update(f"{file.relative_to(source).as_posix()}\0{len(data)}\0".encode())
        digest.update(data)
    return digest.hexdigest()[:20]


def built(*, source: Path | None = None, cache: Path | None = None) -> Binaries | None:
    """The programs for the present sources if they were built before, else None. Never builds, never raises."""
    try:
        folder = (cache or default_cache()) / content_hash(source or find_source())
    except (TautError, OSError):
        return None
    return Binaries(folder) if folder.is_dir() else None


def build(*, progress: Progress = to_stderr, source: Path | None = None, cache: Path | None = None) -> Binaries:
    """The programs for the present sources, built when they were not before.

    Several callers at once build once: the others wait. `progress` gets a line whenever there is something to say.
    Raises TautError when Go is missing or the build fails.
    """
    source, cache = source or find_source(), cache or default_cache()
    folder = cache / content_hash(source)
    if folder.is_dir():
        os.utime(folder)
        return Binaries(folder)
    go = find_go("to build the local control plane")
    with build_lock(cache, progress):
        if not folder.is_dir():
            _build_into(folder, source, go, progress)
            remove_unused(cache)
    return Binaries(folder)


def find_go(purpose: str) -> str:
    """The path of the Go tool. Raises TautError with advice when there is none."""
    go = shutil.which("go") or shutil.which("go", path=_USUAL_PLACE)
    if go is None:
        raise TautError(
            f"Go is needed {purpose}, and there is none on PATH",
            advice="install Go 1.26 or newer from https://go.dev/dl/",
        )
    return go


def remove_unused(cache: Path) -> None:
    """Remove builds that nobody asked for in the last weeks; each is 200 MB."""
    oldest = time.time() - _KEPT_DAYS * 24 * 3600
    for folder in cache.iterdir():
        if folder.is_dir() and folder.stat().st_mtime < oldest:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def build_lock(cache: Path, progress: Progress) -> Generator[None]:
    """Hold the right to build into `cache`; says so when somebody else holds it."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("localplane: another process is building; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _build_into(folder: Path, source: Path, go: str, progress: Progress) -> None:
    """Build all programs beside `folder`, then give it its name: a folder of that name is always complete."""
    started = time.monotonic()
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    kubernetes, kwok = module_version(source, "k8s.io/kubernetes"), module_version(source, "sigs.k8s.io/kwok")
    kustomize = module_version(source / "kustomize", "sigs.k8s.io/kustomize/kustomize/v5")
    major, minor, _ = kubernetes.lstrip("v").split(".", 2)
    version = "k8s.io/component-base/version"
    control_plane = {f"{version}.gitVersion": kubernetes, f"{version}.gitMajor": major, f"{version}.gitMinor": minor}
    progress(f"localplane: building Kubernetes {kubernetes}; about five minutes the first time")
    go_build(go, source, ".", partial / "localplane", stamps=control_plane, progress=progress)
    go_build(
        go,
        source,
        "sigs.k8s.io/kwok/cmd/kwok",
        partial / "kwok",
        stamps={"sigs.k8s.io/kwok/pkg/consts.Version": kwok},
        progress=progress,
    )
    go_build(
        go,
        source / "kustomize",
        "sigs.k8s.io/kustomize/kustomize/v5",
        partial / "kustomize",
        stamps={"sigs.k8s.io/kustomize/api/provenance.version": kustomize},
        progress=progress,
    )
    stages = subprocess.run([partial / "localplane", "stages"], capture_output=True, check=False)
    if stages.returncode:
        raise TautError(
            f"the fake kubelet's stages could not be made: {stages.stderr.decode(errors='replace').strip()}"
        )
    (partial / "stages.yaml").write_bytes(stages.stdout)
    partial.rename(folder)
    progress(f"localplane: built in {time.monotonic() - started:.0f} s")


def module_version(module: Path, name: str) -> str:
    """The version of the module `name` that the go.mod in `module` asks for. Raises TautError when it does not."""
    found = re.search(rf"^\s*(?:require\s+)?{re.escape(name)} (v\S+)", (module / "go.mod").read_text(), re.MULTILINE)
    if found is None:
        raise TautError(f"{module / 'go.mod'} does not require {name}")
    return found[1]


def go_build(
    go: str,
    module: Path,
    package: str,
    output: Path,
    *,
    progress: Progress,
    stamps: Mapping[str, str] | None = None,
    tags: Sequence[str] = (),
    cgo: bool = False,
) -> None:
    """Build one Go program of the module in the folder `module`.

    `stamps` are string variables set by the linker. Raises TautError with the compiler's last words when it fails.
    """
    linker = " ".join(["-s", "-w", *(f"-X {name}={value}" for name, value in (stamps or {}).items())])
    argv = [go, "build", "-v", "-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags", linker]
    argv += ["-tags", ",".join(tags)] if tags else []
    environment = os.environ | {"CGO_ENABLED": "1" if cgo else "0", "GOWORK": "off", "GOFLAGS": ""}
    process = subprocess.Popen(
        [*argv, "-o", output, package], cwd=module, env=environment, stderr=subprocess.PIPE, text=True
    )
    last = _follow(process.stderr or (), output.name, progress)
    if process.wait():
        raise TautError(f"building {output.name} failed: " + " / ".join(last[-_KEPT_LINES:]))


def _follow(lines: Iterable[str], name: str, progress: Progress) -> list[str]:
    """Turn what `go build -v` prints (a line for each module fetched and package compiled) into few lines; the last lines are returned."""
    fetched = compiled = 0
    last: list[str] = []
    said = time.monotonic()
    for raw in lines:
        line = raw.strip()
        last = [*last[-_KEPT_LINES:], line]
        fetched += line.startswith("go: downloading")
        compiled += not line.startswith("go:")
        if time.monotonic() - said >= _REPORT_EVERY:
            said = time.monotonic()
            progress(f"localplane: {name}: {fetched} modules fetched, {compiled} packages compiled")
    return last
