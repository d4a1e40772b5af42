"""Kubeconfig files: finding, merging, and what cannot be meant."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from taut.clients.kubernetes import load_config, service_account
from taut.clients.kubernetes.config import Impersonation
from taut.clients.kubernetes.connection import impersonation_headers
from taut.clients.kubernetes.credentials import Credential, TokenFile
from taut.clients.kubernetes.exec_plugin import ExecPlugin
from taut.clients.kubernetes.oidc import OidcSettings
from taut.clients.kubernetes.tls import Certificate
from taut.model.errors import BadInput

ONE = """
apiVersion: v1
kind: Config
current-context: one
contexts:
- {name: one, context: {cluster: one, user: one}}
- {name: shared, context: {cluster: one, user: one, namespace: first}}
clusters: [{name: one, cluster: {server: "https://one.example.org:6443/"}}]
users: [{name: one, user: {token: t1}}]
"""
TWO = """
apiVersion: v1
kind: Config
current-context: two
contexts:
- {name: two, context: {cluster: two, user: two}}
- {name: shared, context: {cluster: two, user: two, namespace: second}}
clusters: [{name: two, cluster: {server: "https://two.example.org/k8s/clusters/c-1", certificate-authority: ca.pem}}]
users: [{name: two, user: {username: u, password: p}}]
"""


def authorization(config: Any) -> str:
    return asyncio.run(config.credentials.current()).authorization


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    one, two = tmp_path / "a" / "one", tmp_path / "b" / "two"
    for file, text in ((one, ONE), (two, TWO)):
        file.parent.mkdir()
        file.write_text(text)
    (two.parent / "ca.pem").write_text("the CA of two")
    return one, two


def test_several_files_are_merged_and_the_first_counts(files: tuple[Path, Path], tmp_path: Path) -> None:
    environ = {"KUBECONFIG": f"{files[0]}:{tmp_path / 'missing'}:{files[1]}"}
    config = load_config(environ=environ)
    assert (config.context, config.server) == ("one", "https://one.example.org:6443")
    assert load_config(context="shared", environ=environ).namespace == "first"
    assert authorization(config) == "Bearer t1"


def test_paths_are_relative_to_the_file_they_are_in(files: tuple[Path, Path]) -> None:
    config = load_config(context="two", environ={"KUBECONFIG": f"{files[0]}:{files[1]}"})
    assert config.tls.ca == b"the CA of two"
    assert config.server == "https://two.example.org/k8s/clusters/c-1"
    assert authorization(config) == "Basic dTpw"


def test_a_named_file_is_the_only_one(files: tuple[Path, Path]) -> None:
    assert load_config(files[1], environ={"KUBECONFIG": str(files[0])}).context == "two"
    with pytest.raises(BadInput, match="cannot be read"):
        load_config(files[1].with_name("none"))


def test_the_default_file_is_in_the_home(tmp_path: Path) -> None:
    (tmp_path / ".kube").mkdir()
    (tmp_path / ".kube" / "config").write_text(ONE)
    assert load_config(environ={"HOME": str(tmp_path)}).context == "one"


def test_without_any_configuration_the_advice_says_how(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no configuration") as caught:
        load_config(environ={"HOME": str(tmp_path)})
    assert "KUBECONFIG" in caught.value.advice


BAD: list[Any] = [
    ("- a list", "no kubeconfig"),
    ("current-context: gone", "no context 'gone'"),
    ("contexts: [{name: c, context: {cluster: x}}]", "no current context"),
    ("current-context: c\ncontexts: [{name: c, context: {cluster: x}}]", "no cluster 'x'"),
    ("clusters: {}\nusers: [1]", "not what it should be"),
    ("clusters: [{name: x, cluster: 7}]", "not what it should be"),
]


@pytest.mark.parametrize(("text", "message"), BAD)
def test_files_that_cannot_be_meant(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "config"
    file.write_text(text)
    with pytest.raises(BadInput, match=message) as caught:
        load_config(file)
    assert str(file) in str(caught.value)


BAD_CLUSTERS: list[Any] = [
    ({"server": "one.example.org"}, "no URL"),
    ({}, "no URL"),
    ({"server": "https://x", "certificate-authority": "none.pem"}, "cannot be read"),
    ({"server": "https://x", "certificate-authority-data": "%%%a"}, "base64"),
    ({"server": "https://x", "certificate-authority-data": "YQ==", "insecure-skip-tls-verify": True}, "without"),
    ({"server": "https://x", "proxy-url": "ftp://p"}, "http, https or socks5"),
    ({"server": "https://x", "proxy-url": "socks5://p:1", "tls-server-name": "y"}, "socks5"),
]
BAD_USERS: list[Any] = [
    ({"client-key-data": "YQ=="}, "a key alone"),
    ({"as-groups": ["g"]}, "together with a user"),
    ({"auth-provider": {"name": "gcp"}}, "gone from Kubernetes"),
    ({"auth-provider": {"name": "oidc", "config": {"client-id": "x"}}}, "idp-issuer-url"),
    ({"exec": {"apiVersion": "client.authentication.k8s.io/v1alpha1", "command": "x"}}, "v1alpha1"),
    ({"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "x"}}, "interactiveMode"),
    ({"exec": {"apiVersion": "client.authentication.k8s.io/v1beta1"}}, "no command"),
    ({"token": "two\nlines"}, "line break"),
]


def write(file: Path, cluster: dict[str, Any], user: dict[str, Any]) -> Path:
    import orjson

    document = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": user}],
    }
    file.write_bytes(orjson.dumps(document))
    return file


@pytest.mark.parametrize(("cluster", "message"), BAD_CLUSTERS)
def test_clusters_that_cannot_be_meant(tmp_path: Path, cluster: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        load_config(write(tmp_path / "config", cluster, {}))


@pytest.mark.parametrize(("user", "message"), BAD_USERS)
def test_users_that_cannot_be_meant(tmp_path: Path, user: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        load_config(write(tmp_path / "config", {"server": "https://x"}, user))


def test_v1beta1_programs_need_no_interactive_mode(tmp_path: Path) -> None:
    program = {"exec": {"apiVersion": "client.authentication.k8s.io/v1beta1", "command": "x"}}
    config = load_config(write(tmp_path / "config", {"server": "https://x"}, program))
    assert isinstance(config.credentials, ExecPlugin)


def test_a_token_file_wins_over_a_token_and_a_token_over_a_password(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-file\n")
    user = {"tokenFile": "token", "token": "t", "username": "u", "password": "p"}
    cluster = {"server": "https://x"}
    assert authorization(load_config(write(tmp_path / "config", cluster, user))) == "Bearer from-file"
    del user["tokenFile"]
    assert authorization(load_config(write(tmp_path / "config", cluster, user))) == "Bearer t"


def test_a_token_file_is_read_again_each_minute(tmp_path: Path) -> None:
    now = 0.0
    file = tmp_path / "token"
    file.write_text("one")
    credentials = TokenFile(file, clock=lambda: now)

    def read() -> str:
        return asyncio.run(credentials.current()).authorization

    assert read() == "Bearer one"
    file.write_text("two")
    now = 59.0
    assert read() == "Bearer one"
    now = 61.0
    assert read() == "Bearer two"
    file.unlink()
    now = 200.0
    assert read() == "Bearer two", "the kubelet swaps the file: a moment without it is no reason to stop"


def test_secrets_are_in_no_repr() -> None:
    shown = repr([Credential("Bearer hidden", Certificate(b"hidden", b"hidden"))])
    shown += repr(OidcSettings("i", "c", "hidden", "hidden", "hidden", b"hidden"))
    assert "hidden" not in shown


def test_impersonation_is_written_as_client_go_does() -> None:
    who = Impersonation("anna", ("a", "b"), "7", {"example.org/x y": ("1", "2")})
    assert impersonation_headers(who) == [
        ("Impersonate-User", "anna"),
        ("Impersonate-Group", "a"),
        ("Impersonate-Group", "b"),
        ("Impersonate-Uid", "7"),
        ("Impersonate-Extra-example.org%2Fx%20y", "1"),
        ("Impersonate-Extra-example.org%2Fx%20y", "2"),
    ]
    assert service_account("shop", "robot").user == "system:serviceaccount:shop:robot"
    assert "system:serviceaccounts:shop" in service_account("shop", "robot").groups
