"""Sources, through the loop: every place that manifests come from, and what is new there is found."""

from __future__ import annotations

import secrets
import subprocess

import pytest

from integration.loop.harness import Taut, application, config_map, yaml
from integration.sources.packing import FLUX_CONFIG, FLUX_CONTENT, HELM_CONFIG, HELM_CONTENT, Pusher, chart, tgz
from servers.forge import Forge
from servers.git import GitHttpServer, GitRepo
from servers.ssh import GitSshServer

pytestmark = pytest.mark.integration

TEMPLATE = """apiVersion: v1
kind: ConfigMap
metadata: {name: "{{ .Release.Name }}"}
data:
  version: "{{ .Chart.Version }}"
  colour: "{{ .Values.colour }}"
"""
FILES = {"templates/cm.yaml": TEMPLATE, "values.yaml": "colour: none\n"}


def data(taut: Taut, name: str) -> dict[str, str] | None:
    """The data of a ConfigMap; None when there is none."""
    return (taut.get("configmaps", name) or {}).get("data")


def one_map(name: str, value: str = "1") -> dict[str, str]:
    """A folder `app` with one ConfigMap."""
    return {"app/cm.yaml": yaml(config_map(name, {"a": value}))}


async def test_git_over_ssh(taut: Taut, git_ssh_server: GitSshServer) -> None:
    repo, keys = git_ssh_server.repo("app"), git_ssh_server.keys
    repo.commit(one_map("web"))
    prefix = git_ssh_server.url.partition("@")[0].partition("//")[0] + "//" + git_ssh_server.url.partition("@")[2]
    files = {"sshKeyFile": str(keys.private_key), "knownHostsFile": str(keys.known_hosts)}
    taut.options["credentials"] = [{"name": "ssh", "urlPrefix": prefix.removesuffix(str(git_ssh_server.root)), **files}]
    taut.declare(application("web", source={"git": repo.url, "path": "app"}))
    async with taut.run():
        await taut.synced("web")
        commit = repo.commit(one_map("web", "2"))
        await taut.poke()
        await taut.synced("web", at=commit)
        assert data(taut, "web") == {"a": "2"}


async def test_credentials_of_the_cluster_are_rotated(taut: Taut, git_https_server: GitHttpServer) -> None:
    repo = git_https_server.repo("app")
    repo.commit(one_map("web"))
    git_https_server.credentials = ("ada", "first")
    assert git_https_server.ca is not None

    def put(password: str) -> None:
        values = {"username": "ada", "password": password, "ca.crt": git_https_server.ca.read_text()}  # pyright: ignore[reportOptionalMemberAccess]
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "git"}, "stringData": values}
        taut.api.apply(f"/api/v1/namespaces/{taut.namespace}/secrets/git", body)

    put("first")
    secret = {"cluster": "local", "namespace": taut.namespace, "name": "git"}
    taut.options["credentials"] = [{"name": "git", "urlPrefix": git_https_server.url, "secret": secret}]
    taut.declare(application("web", source={"git": repo.url, "path": "app"}))
    async with taut.run():
        await taut.synced("web")
        git_https_server.credentials = ("ada", "second")
        commit = repo.commit(one_map("web", "2"))
        await taut.poke()
        await taut.says("web", "credentials")
        put("second")
        await taut.synced("web", at=commit)
        assert data(taut, "web") == {"a": "2"}


async def test_tags_and_ranges(taut: Taut) -> None:
    repo = taut.git.repo("app")
    for version in ("1.0.0", "1.1.0", "2.0.0"):
        repo.commit(one_map("web", version))
        repo.tag(f"v{version}")
    ranged = application("ranged", source={"git": repo.url, "path": "app", "ref": "1.x"})
    taut.declare(ranged)
    async with taut.run():
        await taut.synced("ranged")
        assert data(taut, "web") == {"a": "1.1.0"}
        repo.commit(one_map("web", "1.2.0"))
        await taut.poke()
        repo.tag("v1.2.0")
        await taut.poke()
        await taut.until(lambda: data(taut, "web") == {"a": "1.2.0"}, "the new tag in the range")
        repo.commit(one_map("web", "3.0.0"))
        repo.tag("v3.0.0")
        await taut.poke()
        await taut.synced("ranged")
        assert data(taut, "web") == {"a": "1.2.0"}
        taut.declare(application("ranged", source={"git": repo.url, "path": "app", "ref": "v1.0.0"}))
        await taut.poke()
        await taut.until(lambda: data(taut, "web") == {"a": "1.0.0"}, "one tag by its name")
        await taut.until(lambda: (s := taut.status("ranged")) and s.revision.startswith("v1.0.0@"), "its label")


def _signed(repo: GitRepo, files: dict[str, str], key: str) -> str:
    """Commit files with an SSH signature; the answer is the commit."""
    plain = repo.commit(files)
    about = ["-c", "user.name=Ada", "-c", "user.email=ada@example.test", "-c", "gpg.format=ssh"]
    parent = [] if plain == repo.run("rev-list", "--max-parents=0", plain).strip() else ["-p", f"{plain}^"]
    commit = repo.run(*about, "-c", f"user.signingkey={key}", "commit-tree", "-S", f"{plain}^{{tree}}", *parent, "-m", "x")  # fmt: skip
    repo.reset("main", commit.strip())
    return commit.strip()


async def test_only_what_is_signed_is_deployed(taut: Taut) -> None:
    key = str(taut.folder / "key")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "ada", "-f", key], check=True)
    public = (taut.folder / "key.pub").read_text()
    repo = taut.git.repo("app")
    _signed(repo, one_map("web"), key)
    spec = {"signatures": {"require": "commit", "ssh": [public]}}
    taut.options["projects"] = [{"name": "signed", "spec": spec}]
    taut.declare(application("web", project="signed", source={"git": repo.url, "path": "app", "ref": "main"}))
    async with taut.run():
        await taut.synced("web")
        repo.commit(one_map("web", "evil"))
        await taut.poke()
        await taut.says("web", "nobody signed the commit")
        taut.patch("configmaps", "web", {"data": {"a": "by hand"}})
        await taut.until(lambda: data(taut, "web") == {"a": "1"}, "the last good state is kept")
        commit = _signed(repo, one_map("web", "2"), key)
        await taut.poke()
        await taut.synced("web", at=commit)
        assert data(taut, "web") == {"a": "2"}


def _login(taut: Taut, forge: Forge) -> None:
    password = taut.folder / "forge-password"
    password.write_text(forge.password)
    known = {"username": forge.user, "passwordFile": str(password)}
    taut.options["credentials"] = [
        {"name": "forge", "urlPrefix": forge.url, **known},
        {"name": "registry", "urlPrefix": f"oci://{forge.registry}", **known},
    ]


def _push_chart(push: Pusher, name: str, version: str) -> None:
    config = f'{{"name": "{name}", "version": "{version}", "apiVersion": "v2"}}'.encode()
    push.artifact(version, HELM_CONFIG, (HELM_CONTENT, chart(name, version, FILES)), config=config)


async def test_charts_and_artifacts_and_what_is_new_there(taut: Taut, forge: Forge) -> None:
    """A Helm repository, charts in a registry, manifests in a registry: a new version in the range is found by the next look."""
    name = f"x{secrets.token_hex(5)}"
    _login(taut, forge)
    forge.upload_chart(chart(name, "1.0.0", FILES))
    charts, manifests = Pusher(forge, name), Pusher(forge, f"{name}-m")
    _push_chart(charts, name, "1.0.0")
    content = {"deploy/cm.yaml": yaml(config_map("manifests", {"a": "1"}))}
    manifests.artifact("latest", FLUX_CONFIG, (FLUX_CONTENT, tgz(content)))
    helm = application("helm")
    helm["spec"]["sources"] = [
        {"helm": forge.helm_repository, "chart": name, "version": "1.x", "helmOptions": {"valueFiles": ["$v/values/helm.yaml"]}},
        {"name": "v", "ref": "main"},
    ]  # fmt: skip
    del helm["spec"]["source"]
    oci_chart = application("oci", source={"oci": charts.url, "ref": "1.x"})
    fixed = application("fixed", source={"helm": forge.helm_repository, "chart": name, "version": "1.0.0"})
    artifact = application("manifests", source={"oci": manifests.url, "ref": "latest", "path": "deploy"})
    taut.declare(helm, oci_chart, fixed, artifact, files={"values/helm.yaml": "colour: blue\n"})
    async with taut.run():
        await taut.synced("helm", "oci", "fixed", "manifests")
        assert data(taut, "helm") == {"version": "1.0.0", "colour": "blue"}
        assert data(taut, "oci") == {"version": "1.0.0", "colour": "none"}
        forge.upload_chart(chart(name, "1.1.0", FILES))
        forge.upload_chart(chart(name, "2.0.0", FILES))
        _push_chart(charts, name, "1.2.0")
        content = {"deploy/cm.yaml": yaml(config_map("manifests", {"a": "2"}))}
        manifests.artifact("latest", FLUX_CONFIG, (FLUX_CONTENT, tgz(content)))
        await taut.push({"values/helm.yaml": "colour: green\n"})
        expected = {
            "helm": {"version": "1.1.0", "colour": "green"},
            "oci": {"version": "1.2.0", "colour": "none"},
            "fixed": {"version": "1.0.0", "colour": "none"},
            "manifests": {"a": "2"},
        }
        await taut.until(lambda: {n: data(taut, n) for n in expected} == expected, "all that is new")
        await taut.synced("helm", "oci", "fixed", "manifests")
        fetches = taut.controller.watch.fetches
        taut.declare(application("helm", source={"helm": forge.helm_repository, "chart": name, "version": "9.x"}))
        await taut.poke()
        await taut.says("helm", "9.x")
        assert data(taut, "helm") == expected["helm"]
        assert taut.controller.watch.fetches > fetches
    async with taut.run():  # the last good state is found again, without rendering
        await taut.says("helm", "9.x")
        taut.patch("configmaps", "helm", {"data": {"colour": "by hand"}})
        await taut.until(lambda: data(taut, "helm") == expected["helm"], "kept healed")
        assert taut.controller.wanting.renders == 0


async def test_dependencies_and_remote_bases(taut: Taut, forge: Forge) -> None:
    """Vendored, fetched from a listed place, refused from an unlisted one."""
    name = f"x{secrets.token_hex(5)}"
    _login(taut, forge)
    dependency = {"templates/cm.yaml": TEMPLATE.replace("{{ .Release.Name }}", "{{ .Release.Name }}-dep")}
    forge.upload_chart(chart(name, "1.0.0", {**dependency, "values.yaml": "colour: dep\n"}))
    base, hidden = taut.git.repo("base"), taut.git.repo("hidden")
    for repo in (base, hidden):
        repo.commit(
            {"base/kustomization.yaml": "resources: [cm.yaml]\n", "base/cm.yaml": yaml(config_map(repo.path.stem))}
        )
        repo.tag("v1")
    about = f"apiVersion: v2\nname: app\nversion: 1.0.0\ndependencies:\n- {{name: {name}, version: 1.x, repository: {forge.helm_repository}}}\n"  # fmt: skip
    vendored = {f"apps/vendored/charts/{name}/{path}": text for path, text in dependency.items()}
    vendored[f"apps/vendored/charts/{name}/Chart.yaml"] = f"apiVersion: v2\nname: {name}\nversion: 1.0.0\n"
    vendored[f"apps/vendored/charts/{name}/values.yaml"] = "colour: vendored\n"
    files = {
        **{f"apps/{app}/Chart.yaml": about for app in ("fetched", "vendored", "refused")},
        **vendored,
        "apps/listed/kustomization.yaml": f"resources: ['{base.url}//base?ref=v1']\n",
        "apps/unlisted/kustomization.yaml": f"resources: ['{hidden.url}//base?ref=v1']\n",
    }
    rules = [taut.repo.url, base.url, forge.helm_repository]
    taut.options["projects"] = [
        {"name": "team", "spec": {"repositories": rules}},
        {"name": "narrow", "spec": {"repositories": [taut.repo.url]}},
    ]
    names = ("fetched", "vendored", "listed", "unlisted")
    taut.declare(
        *(application(n, project="team") for n in names), application("refused", project="narrow"), files=files
    )
    async with taut.run():
        await taut.synced("fetched", "vendored", "listed")
        assert data(taut, "fetched-dep") == {"version": "1.0.0", "colour": "dep"}
        assert data(taut, "vendored-dep") == {"version": "1.0.0", "colour": "vendored"}
        assert data(taut, "base") == {"a": "1"}
        await taut.says("unlisted", "place the project does not list")
        await taut.says("refused", "place the project does not list")
        assert not any("/hidden.git" in path for _, path in taut.git.requests)
