"""The real servers that tests use. Each is started when the first test asks for it, once for each test process."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from servers.authority import Authority, make_authority
from servers.forge import Forge, build_forge, start_forge
from servers.git import GitHttpServer
from servers.ssh import GitSshServer
from taut import localplane
from taut.localplane import Plane
from taut.localplane.api import Api


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build what the chosen tests need before the first of them starts: a first build takes longer than a test may."""
    wanted = {name for item in session.items if isinstance(item, pytest.Function) for name in item.fixturenames}
    if session.config.option.collectonly:
        return
    if "plane" in wanted:
        localplane.build()
    if "forge" in wanted:
        build_forge()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """What the tests that break things counted (`record_property("faults", …)`)."""
    reports = [r for found in terminalreporter.stats.values() for r in found if isinstance(r, pytest.TestReport)]
    counts = [(r.nodeid, text) for r in reports if r.when == "call" for k, text in r.user_properties if k == "faults"]
    if counts:
        terminalreporter.section("faults")
        for place, text in sorted(counts):
            terminalreporter.write_line(f"{place.rpartition('/')[2]}: {text}")


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    """A real control plane with an audit log, for this test process alone. Its data are thrown away."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "only")
    with localplane.start(f"test-{worker}", audit=True, home=tmp_path_factory.mktemp("planes")) as running:
        yield running


@pytest.fixture(scope="session")
def plane_api(plane: Plane) -> Api:
    """Plain requests to the control plane as its administrator."""
    return Api(int(plane.server.rpartition(":")[2]), plane.ca, plane.token)


@pytest.fixture
def namespace(plane_api: Api) -> str:
    """A new, empty namespace of the control plane."""
    name = f"t-{secrets.token_hex(4)}"
    plane_api.apply(f"/api/v1/namespaces/{name}", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return name


@pytest.fixture
def git_server(tmp_path: Path) -> Iterator[GitHttpServer]:
    """Git over HTTP: `git_server.repo("name")` makes a repository; `credentials` and `failure` may be set."""
    with GitHttpServer(tmp_path / "git") as server:
        yield server


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A CA of the tests' own with a certificate for 127.0.0.1."""
    return make_authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def git_https_server(tmp_path: Path, authority: Authority) -> Iterator[GitHttpServer]:
    """Git over HTTPS, verified by `git_https_server.ca`."""
    certificate = (authority.certificate, authority.key)
    with GitHttpServer(tmp_path / "git-tls", certificate=certificate, ca=authority.ca) as server:
        yield server


@pytest.fixture
def git_ssh_server(tmp_path: Path) -> Iterator[GitSshServer]:
    """Git over SSH: `git_ssh_server.repo("name")` makes a repository, `git_ssh_server.keys` lets clients in."""
    with GitSshServer(tmp_path / "git-ssh", tmp_path / "ssh") as server:
        yield server


@pytest.fixture(scope="session")
def forge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forge]:
    """A real forge: repositories, pull requests, an OCI registry, a Helm repository, an OIDC provider."""
    running = start_forge(tmp_path_factory.mktemp("forge"))
    yield running
    running.stop()
