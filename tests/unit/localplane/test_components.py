"""The command lines and files of the components."""

from __future__ import annotations

import base64
import json

from taut.localplane import components
from taut.localplane.components import Settings


def test_settings_survive_their_file() -> None:
    settings = Settings("dev", "/programs", audit=True, keep=True, port=1234, apiserver_args=("--a", "--b=1"))
    assert Settings.from_json(settings.to_json()) == settings


def test_tokens_survive_their_file() -> None:
    tokens = dict.fromkeys(components.USERS, "") | {"admin": "one", "kwok": "two"}
    assert components.read_token_file(components.token_file(tokens)) == tokens
    assert components.read_token_file("") == {}


def test_the_audit_log_is_written_only_when_asked() -> None:
    without, audited = (components.apiserver(Settings("dev", "/programs", audit=audit)) for audit in (False, True))
    assert not any(a.startswith("--audit") for a in without)
    assert any(a.startswith("--audit-log-path=") for a in audited)
    rules = json.loads(components.audit_policy())["rules"]
    assert rules == [{"level": "Metadata"}]


def test_no_component_listens_where_others_could_reach_it() -> None:
    etcd = [a for a in components.etcd() if "listen" in a]
    assert etcd
    assert all("unix://" in a for a in etcd)
    assert "--bind-address=127.0.0.1" in components.apiserver(Settings("dev", "/programs"))
    for argv in (components.controller_manager(), components.scheduler()):
        assert "--secure-port=0" in argv


def test_own_arguments_of_the_api_server_come_last() -> None:
    settings = Settings("dev", "/programs", apiserver_args=("--max-requests-inflight=7",))
    assert components.apiserver(settings)[-1] == "--max-requests-inflight=7"


def test_the_kubeconfig_verifies_the_server() -> None:
    config = json.loads(components.kubeconfig(name="dev", server="https://127.0.0.1:1", ca=b"PEM", token="t"))
    cluster = config["clusters"][0]["cluster"]
    assert base64.b64decode(cluster["certificate-authority-data"]) == b"PEM"
    assert "insecure-skip-tls-verify" not in cluster
    assert config["current-context"] == config["contexts"][0]["name"] == "dev"
