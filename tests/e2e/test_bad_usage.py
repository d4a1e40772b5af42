"""Wrong usage, wrong configuration, a taut that is not there: one sentence, what to do, the right exit code, never a traceback."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from e2e.conftest import Scene
from integration.loop.harness import application, config_map, yaml
from servers.git import GitHttpServer
from support.program import Ended, Program
from taut.cli.ending import run_command
from taut.cli.main import cli
from taut.documents.yaml import dump
from taut.localplane import Plane

pytestmark = pytest.mark.integration

type Make = Callable[[dict[str, Any] | None], Program]


def said(ended: Ended, code: int, *words: str) -> None:
    """It ended with this code, and said these words: one line that begins with Error, and what to do below it."""
    assert ended.code == code, ended.out + ended.err
    lines = ended.err.splitlines()
    assert lines, "nothing was said"
    assert lines[0].startswith("Error: "), ended.err
    assert len(lines) <= 2, ended.err
    assert all(word in ended.err for word in words), ended.err


# Commands


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("nonsense",), ("nonsense", "--help")),
        (("status", "--wide"), ("--wide", "taut status --help")),
        (("status", "-o", "xml"), ("xml", "table", "json")),
        (("get",), ("NAME", "taut get --help")),
        (("sync", "web", "--timeout", "soon"), ("soon",)),
        (("sync", "web", "--object"), ("--object",)),
        (("history", "web", "--limit", "0"), ("--limit",)),
        (("render", "nowhere"), ("nowhere", "exist")),
        (("health",), ("--file",)),
        (("health", "-f", "nowhere.yaml"), ("nowhere.yaml", "No such file")),
        (("schema", "Aplication"), ("Aplication", "Application")),
        (("completion", "tcsh"), ("tcsh", "bash")),
        (("localplane", "start", "../x"), ("../x",)),
        (("diff", "./nowhere/"), ("nowhere",)),
        (("status", "--server", "localhost:7411"), ("localhost:7411", "http://127.0.0.1")),
        (("status", "--server", "http://127.0.0.1:1"), ("http://127.0.0.1:1", "--token-file")),
    ],
)
def test_wrong_usage(program: Make, args: tuple[str, ...], words: tuple[str, ...], capfd: Any) -> None:
    said(program(None).taut(*args), 2, *words)


def test_no_taut_is_there(program: Make, git_server: GitHttpServer) -> None:
    taut = program(None)
    said(taut.taut("status"), 1, "No taut is running", "taut run --config")
    token = taut.folder / "token"
    token.write_text("x" * 40)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        said(taut.taut("status", "--server", url, "--token-file", str(token)), 1, url, "does not answer", "taut run")
    said(taut.taut("status", "--server", url, "--token-file", "missing"), 2, "missing", "token file")
    said(taut.taut("status", "--server", git_server.url, "--token-file", str(token)), 1, git_server.url)
    https = git_server.url.replace("http:", "https:")
    said(taut.taut("status", "--server", https, "--token-file", str(token)), 1, https)


def test_a_wrong_token_and_a_wrong_name(scene: Scene) -> None:
    scene.declare(application("web"), files={"apps/web/a.yaml": yaml(config_map("a"))})
    with scene.taut as taut:
        wrong = taut.folder / "wrong"
        wrong.write_text("0" * 40)
        server = taut.server
        for args in (("status",), ("status", "--watch"), ("sync", "web"), ("sync", "web", "--wait")):
            said(taut.taut(*args, "--server", server, "--token-file", str(wrong)), 1, "token", "--token-file")
        taut.synced("web")
        for args in (("get", "wep"), ("tree", "wep"), ("sync", "wep"), ("sync", "wep", "--wait"), ("approve", "wep")):
            said(taut.taut(*args), 2, "'wep'", "did you mean", "web?")
        said(taut.taut("refresh", "web", "--root", "r"), 2, "--root", "leave one of them out")
        said(taut.taut("refresh", "--root", "nobody"), 2, "nobody", scene.namespace)
        said(taut.taut("sync", "web", "--object", "Secret/a"), 2, "Secret/a", "ConfigMap")
        said(taut.taut("status", "-l", "a=b=c,,"), 2, "a=b=c")


# Two at once


def test_a_store_belongs_to_one(scene: Scene) -> None:
    scene.declare(application("web"), files={"apps/web/a.yaml": yaml(config_map("a"))})
    with scene.taut as taut:
        assert taut.process is not None
        said(taut.taut("run", "--config", str(taut.config_file)), 1, "taut.db", str(taut.process.pid))
        port = taut.server.rpartition(":")[2]
        other = taut.folder / "other.yaml"
        other.write_text(f"store: other.db\nlisten: 127.0.0.1:{port}\n")
        said(taut.taut("run", "--config", str(other)), 1, f"127.0.0.1:{port}", "in use", "choose another")
        assert taut.statuses().keys() == {"web"}, "the first one goes on"


# Configuration


def run(folder: Path, text: str, capfd: Any) -> Ended:
    """`taut run` with this configuration, in this process."""
    file = folder / "taut.yaml"
    file.write_text(text)
    code = run_command(cli, ["run", "--config", str(file)])
    out, err = capfd.readouterr()
    assert "Traceback" not in out + err
    return Ended(code, out, err)


ROOT = {"name": "r", "git": "https://git.example.test/x.git"}
LISTEN = {"listen": "127.0.0.1:0"}
BAD: dict[str, tuple[Any, tuple[str, ...]]] = {
    "no YAML": ("clusters: [\n", ("taut.yaml:",)),
    "no mapping": ("- a\n- b\n", ("taut.yaml",)),
    "a field twice": ("store: a\nstore: b\n", ("taut.yaml:2", "store")),
    "unknown": ({"clustres": []}, ("taut.yaml:1", "clustres", "clusters")),
    "store": ({"store": 7}, ("taut.yaml:1", "store")),
    "listen": ({"listen": "7411"}, ("listen", "127.0.0.1:7411")),
    "listen to all": ({"listen": "0.0.0.0:7411"}, ("listen", "0.0.0.0", "127.0.0.1")),
    "listen to a port too high": ({"listen": "127.0.0.1:70000"}, ("listen", "70000")),
    "clusters": ({"clusters": {"name": "a"}}, ("clusters",)),
    "cluster without a name": ({"clusters": [{"kubeconfig": "k"}]}, ("clusters[0]", "name")),
    "cluster's name": ({"clusters": [{"name": "A B"}]}, ("clusters[0].name",)),
    "cluster twice": ({"clusters": [{"name": "a"}, {"name": "a"}]}, ("clusters[1].name", "'a'", "twice")),
    "cluster in two ways": (
        {"clusters": [{"name": "a", "inCluster": True, "kubeconfig": "k"}]},
        ("clusters[0].inCluster", "kubeconfig"),
    ),
    "max requests": ({"clusters": [{"name": "a", "maxRequests": 0}]}, ("clusters[0].maxRequests",)),
    "root without git": ({"roots": [{"name": "r"}]}, ("roots[0]", "git")),
    "root's git": ({"roots": [{"name": "r", "git": "example"}]}, ("roots[0].git", "example")),
    "root's path": ({"roots": [{**ROOT, "path": "../x"}]}, ("roots[0].path", "../x")),
    "root's poll": ({"roots": [{**ROOT, "poll": "often"}]}, ("roots[0].poll", "often")),
    "root's credentials": ({"roots": [{**ROOT, "credentials": "c"}]}, ("roots[0].credentials", "'c'")),
    "root's guards": ({"roots": [{**ROOT, "guards": {"deleteShare": 7}}]}, ("roots[0].guards",)),
    "root's projects": ({"roots": [{**ROOT, "projects": "yes"}]}, ("roots[0].projects",)),
    "root's globs": ({"roots": [{**ROOT, "allowedProjects": ["[a"]}]}, ("roots[0].allowedProjects",)),
    "root twice": ({"roots": [ROOT, ROOT]}, ("roots[1].name", "'r'")),
    "credentials": ({"credentials": [{"name": "c"}]}, ("credentials[0]", "passwordFile")),
    "credentials twice": (
        {"credentials": [{"name": "c", "passwordFile": "p", "tokenFile": "t"}]},
        ("credentials[0].tokenFile",),
    ),
    "half a certificate": ({"credentials": [{"name": "c", "clientKeyFile": "k"}]}, ("credentials[0]", "certificate")),
    "a secret nowhere": (
        {"credentials": [{"name": "c", "secret": {"cluster": "x", "namespace": "n", "name": "s"}}]},
        ("credentials[0].secret.cluster", "'x'"),
    ),
    "projects": ({"projects": [{"name": "p", "spec": {"sources": 3}}]}, ("projects[0].spec",)),
    "webhook": ({"webhook": {"secret": "s"}}, ("webhook", "secret")),
    "webhook's file": ({**LISTEN, "webhook": {"secretFile": "nowhere"}}, ("nowhere", "webhook.secretFile")),
    "render": ({"render": {"workers": 0}}, ("render.workers",)),
    "render's timeout": ({"render": {"timeout": "1 century"}}, ("render.timeout", "century")),
    "max operations": ({"maxOperations": 0}, ("maxOperations",)),
    "no kubeconfig": ({**LISTEN, "clusters": [{"name": "a", "kubeconfig": "nowhere"}]}, ("nowhere", "cluster a")),
    "not in a cluster": ({**LISTEN, "clusters": [{"name": "a", "inCluster": True}]}, ("cluster a",)),
    "token's file": ({**LISTEN, "tokenFile": "nowhere/token"}, ("nowhere/token",)),
    "store is a folder": ({**LISTEN, "store": "folder"}, ("folder",)),
    "store below a file": ({**LISTEN, "store": "taut.yaml/taut.db"}, ("taut.yaml",)),
}


@pytest.mark.timeout(30)
@pytest.mark.parametrize("case", BAD)
def test_a_bad_configuration(tmp_path: Path, capfd: Any, case: str) -> None:
    (tmp_path / "folder").mkdir()
    content, words = BAD[case]
    ended = run(tmp_path, content if isinstance(content, str) else dump(content), capfd)
    said(ended, ended.code, *words)
    assert ended.code in (1, 2)
    assert ended.code == 2 or case in ("store is a folder", "store below a file", "webhook's file", "token's file")


@pytest.mark.timeout(30)
@pytest.mark.parametrize("field", ["context", "server", "certificate"])
def test_a_bad_kubeconfig(plane: Plane, tmp_path: Path, capfd: Any, field: str) -> None:
    cluster: dict[str, Any] = {"name": "a", "kubeconfig": str(plane.kubeconfig)}
    if field == "context":
        cluster["context"] = "elsewhere"
    else:
        text = plane.kubeconfig.read_text()
        wrong = {"server": ('"https://', '"gopher://'), "certificate": ('-authority-data": "', '-authority-data": "!!')}
        copy = tmp_path / "kubeconfig"
        copy.write_text(text.replace(*wrong[field]))
        cluster["kubeconfig"] = str(copy)
    said(run(tmp_path, dump({**LISTEN, "clusters": [cluster]}), capfd), 2, "cluster a")


def test_no_configuration(program: Make) -> None:
    taut = program(None)
    said(taut.taut("run"), 2, "taut.yaml", "No such file", "taut init")
    said(taut.taut("run", "--config", str(taut.folder)), 2, str(taut.folder))
    taut.config_file.write_bytes(b"\xff\xfe\x00store")
    said(taut.taut("run"), 2, "taut.yaml")


def test_a_store_folder_is_made(scene: Scene) -> None:
    """The folder of the store need not exist: it is made, for nobody else to read."""
    scene.declare(application("web"), files={"apps/web/a.yaml": yaml(config_map("a"))})
    with scene.taut as taut:
        folder = taut.folder / "state"
        assert folder.stat().st_mode & 0o077 == 0
        assert (folder / "taut.db").stat().st_mode & 0o077 == 0
        taut.synced("web")
