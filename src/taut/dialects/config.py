"""The configuration of `taut run`: the file that names the store, the clusters, the roots and the credentials.

Relative paths in it are relative to the file. Secrets are never in it: it names the files that hold them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, field

from taut.dialects.access_config import AccessConfig, access_findings, access_paths
from taut.dialects.admission_config import AdmissionConfig, admission_findings
from taut.dialects.alerts_config import AlertsConfig, absolute_alerts, alerts_findings
from taut.dialects.check import check
from taut.dialects.checks_config import ChecksConfig
from taut.dialects.globs import fault as glob_fault
from taut.dialects.kinds import PlainName
from taut.dialects.problems import DocumentProblem, Finding, field_name, one_of
from taut.dialects.sealed_config import SealedKeysConfig, sealed_findings
from taut.dialects.semantics import git_url_advice, git_url_fault, project_findings
from taut.documents.yaml import Locator, load_one, repeated_key
from taut.model.application import Duration, Guards, Spec
from taut.model.durations import seconds
from taut.model.errors import BadInput, Where
from taut.model.project import Project, ProjectSpec


class ImpersonateConfig(Spec, frozen=True):
    """As whom taut speaks to a cluster, when not as itself."""

    user: str = ""
    """The user's name."""
    groups: tuple[str, ...] = ()
    """The user's groups."""
    uid: str = ""
    """The user's uid."""
    extra: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Extra attributes of the user."""


class ExternalSecretsConfig(Spec, frozen=True):
    """Who makes Secrets of ExternalSecrets."""

    mode: Literal["auto", "taut", "operator"] = "auto"
    """`taut`: taut asks the stores; `operator`: the documents are applied as they are. `auto`: the operator where the cluster serves its kinds, else taut."""
    hosts: tuple[str, ...] = ("*",)
    """Globs on the hosts that stores may ask. Addresses where clouds keep machines' credentials never are."""
    aws_endpoint: str | None = None
    """Another address of AWS's services, such as that of a private endpoint."""


class ClusterConfig(Spec, frozen=True):
    """A cluster that applications may name as `target.cluster`."""

    name: PlainName
    """The name that applications use. `local` is the default of `target.cluster`."""
    kubeconfig: str | None = None
    """A kubeconfig file; default: `$KUBECONFIG`, then `~/.kube/config`."""
    context: str | None = None
    """The context in the kubeconfig; default: its current one."""
    in_cluster: bool = False
    """Sign in with the service account of the Pod that taut runs in."""
    impersonate: ImpersonateConfig | None = None
    """As whom taut speaks to the cluster."""
    proxy: str | None = None
    """A proxy's URL; it wins over the kubeconfig's and the environment's."""
    namespaces: tuple[str, ...] = ()
    """Namespaces that are looked at one by one where the account may not list the whole cluster; those of applications are added by themselves."""
    watch_silence: Duration = "150s"
    """After how long without a word a watch is opened anew. API servers send a sign of life about once a minute; an event of
    taut's own write is waited for a fifth of this."""
    max_requests: Annotated[int, Meta(ge=1)] = 32
    """How many requests may be on their way to the API server at once."""
    external_secrets: ExternalSecretsConfig = ExternalSecretsConfig()
    """Who makes Secrets of ExternalSecrets."""
    policy_reports: bool = False
    """Tell in the cluster, as PolicyReports, what the policies say of what applications run there. Switched off, the reports are removed."""


class RootConfig(Spec, frozen=True):
    """A folder of a repository that declares applications."""

    name: PlainName
    """The root's name; it is part of every application's identity."""
    git: str
    """The repository's URL: https, http, ssh, file, or `git@host:path`."""
    ref: str | None = None
    """A branch, tag, commit or semver range of tags. Default: the default branch."""
    path: str = "."
    """The folder with the documents; it is read with all its folders."""
    poll: Duration = "3m"
    """How often the repository is asked for news, besides webhooks."""
    projects: bool = False
    """Whether documents of this root may declare projects. Without it, no root widens its own rights."""
    allowed_projects: tuple[str, ...] = ("*",)
    """Globs on the names of the projects that this root's applications may belong to."""
    alerts: bool = False
    """Whether alert rules of this root may be about applications of others. Without it they are about its own."""
    credentials: str | None = None
    """The name of credentials; default: the first whose URL prefix matches."""
    guards: Guards = Guards()
    """When the removal of applications from this root waits for approval."""

    @property
    def poll_seconds(self) -> float:
        """`poll` in seconds."""
        return seconds(self.poll)


class PoliciesConfig(Spec, frozen=True):
    """A folder of a repository with policies (Kyverno, Gatekeeper, Kubernetes' own), and waivers of them."""

    name: PlainName
    """What people call them."""
    git: str
    """The repository's URL: https, http, ssh, file, or `git@host:path`."""
    ref: str | None = None
    """A branch, tag, commit or semver range of tags. Default: the default branch."""
    path: str = "."
    """The folder with the documents; it is rendered as an application's source is."""
    poll: Duration = "3m"
    """How often the repository is asked for news, besides webhooks."""
    clusters: tuple[str, ...] = ("*",)
    """Globs on the names of the clusters where they hold."""
    projects: tuple[str, ...] = ("*",)
    """Globs on the names of the projects whose applications they are about."""
    waives: tuple[str, ...] = ()
    """Globs on the names of other policies that waivers and exceptions from here may set aside. Default: only those that are here."""
    credentials: str | None = None
    """The name of credentials; default: the first whose URL prefix matches."""

    @property
    def poll_seconds(self) -> float:
        """`poll` in seconds."""
        return seconds(self.poll)


class SecretRef(Spec, frozen=True):
    """A Secret in a cluster that holds credentials, in the keys that Kubernetes and Flux use (`username`, `password`, `identity`, …)."""

    cluster: str
    """The cluster that holds it."""
    namespace: str
    """Its namespace."""
    name: str
    """Its name."""


class CredentialsConfig(Spec, frozen=True):
    """How to sign in to repositories and registries whose URL begins with `urlPrefix`. Every `…File` is read anew when it changes."""

    name: PlainName
    """The name that roots and sources use."""
    url_prefix: str = ""
    """URLs below it use these credentials, the longest prefix first. Empty: only the repositories of the roots that name them."""
    username: str | None = None
    """The user's name."""
    username_file: str | None = None
    """A file with the user's name."""
    password_file: str | None = None
    """A file with the password, or an access token."""
    access: AccessConfig = AccessConfig()
    """Who may sign in, and do what."""
    token_file: str | None = None
    """A bearer token; for git over https it is sent as the password."""
    ssh_key_file: str | None = None
    """A private key for ssh."""
    ssh_passphrase_file: str | None = None
    """The passphrase of the private key that `sshKeyFile` holds."""
    known_hosts_file: str | None = None
    """The SSH servers' keys; a server that is not in it is refused."""
    ca_file: str | None = None
    """The certificates of authorities to trust, besides the system's."""
    client_certificate_file: str | None = None
    """A client certificate for https."""
    client_key_file: str | None = None
    """The key of the client certificate."""
    secret: SecretRef | None = None
    """A Secret in a cluster instead of files."""


class SopsKeyType(StrEnum):
    """What a key file holds."""

    AUTO = "auto"
    AGE = "age"
    SSH = "ssh"
    PGP = "pgp"


class SopsKeyConfig(Spec, frozen=True):
    """One source of keys for SOPS files: a file, a Secret, taut's environment, or services that hold keys and never give them away.

    A file of SOPS says itself which service to ask. So services are asked only for keys that a pattern here fits: `*` is any run up to the next
    `/` or `:`, `**` at the end is everything below. taut signs in as its environment says (workload identity, `VAULT_TOKEN`), or with what `secret` holds.
    """

    file: str | None = None
    """A file with private keys of age, a private SSH key, or an armoured PGP key. It is read anew when it changes."""
    type: SopsKeyType = SopsKeyType.AUTO
    """What the file holds; auto: told by its content."""
    secret: SecretRef | None = None
    """A Secret with entries as Flux names them: `*.agekey`, `*.asc`, `sops.vault-token`, `sops.aws-kms`, `sops.gcp-kms`, `sops.azure-kv`."""
    environment: bool = False
    """The keys that taut's environment names, as for `taut decrypt`: `SOPS_AGE_KEY`, `SOPS_AGE_KEY_FILE`, SSH keys, gpg."""
    aws_kms: tuple[str, ...] = ()
    """ARNs of keys of AWS KMS, and of roles that a file may have taut take."""
    gcp_kms: tuple[str, ...] = ()
    """Keys of Google Cloud KMS (`projects/…/locations/…/keyRings/…/cryptoKeys/…`)."""
    azure_key_vault: tuple[str, ...] = ()
    """Keys of Azure Key Vault (`https://<vault>.vault.azure.net/<key>`)."""
    vault: tuple[str, ...] = ()
    """Transit keys of Vault or OpenBao (`https://vault.example.com/<engine>/<key>`). The token is sent to no other server."""
    projects: tuple[PlainName, ...] = ()
    """The projects whose applications may use it. Empty: all."""

    @property
    def services(self) -> bool:
        """Whether it lets services be asked."""
        return bool(self.aws_kms or self.gcp_kms or self.azure_key_vault or self.vault)


class SopsConfig(Spec, frozen=True):
    """How SOPS files in what is rendered are decrypted."""

    keys: tuple[SopsKeyConfig, ...] = ()
    """Where keys are. A file is opened with the first that fits."""


class SecretsConfig(Spec, frozen=True):
    """Secrets in Git."""

    sops: SopsConfig = SopsConfig()
    """SOPS files."""
    sealed: tuple[SealedKeysConfig, ...] = ()
    """Keys with which taut looks into SealedSecrets."""


class ProjectConfig(Spec, frozen=True):
    """A project, declared where no root can change it."""

    name: PlainName
    """The project's name."""
    spec: ProjectSpec = ProjectSpec()
    """Its rules, as in a Project document."""


class WebhookConfig(Spec, frozen=True):
    """The signed webhook `POST /hooks/git`."""

    secret_file: str | None = None
    """The key of the HMAC; without it the webhook answers 404."""


class RenderConfig(Spec, frozen=True):
    """What one render may cost. Past a limit its application fails, and no other."""

    workers: Annotated[int, Meta(ge=1, le=256)] = 2
    """How many renders run at once."""
    timeout: Duration = "60s"
    """How long one render may take."""
    memory_mib: Annotated[int, Meta(ge=64)] = 2048
    """How much memory one render may use."""
    processes: Annotated[int, Meta(ge=1)] = 64
    """How many processes one render may start."""
    output_mib: Annotated[int, Meta(ge=1)] = 64
    """How much one render may print."""
    kustomize: str | None = None
    """A kustomize binary; default: the one on PATH, else kubectl's."""


class Config(Spec, frozen=True):
    """The configuration of `taut run`."""

    store: str = "taut.db"
    """The store's file; what belongs to it (mirrors, caches) is beside it."""
    listen: str = "127.0.0.1:7411"
    """Where the API and the webhook listen; port 0 takes a free one."""
    clusters: tuple[ClusterConfig, ...] = ()
    """The clusters that applications may run in."""
    roots: tuple[RootConfig, ...] = ()
    """Where applications are declared."""
    credentials: tuple[CredentialsConfig, ...] = ()
    """How to sign in to repositories and registries."""
    projects: tuple[ProjectConfig, ...] = ()
    """Projects, declared where no root can change them."""
    policies: tuple[PoliciesConfig, ...] = ()
    """Policies that complete what is rendered, and judge what is written."""
    checks: ChecksConfig = ChecksConfig()
    """taut's own checks."""
    webhook: WebhookConfig = WebhookConfig()
    """The signed webhook."""
    alerts: AlertsConfig = AlertsConfig()
    """Who is told of what."""
    render: RenderConfig = RenderConfig()
    """What a render may cost."""
    secrets: SecretsConfig = SecretsConfig()
    """With which keys encrypted files are opened."""
    admission: AdmissionConfig | None = None
    """The admission webhook; without it there is none, and one that was there is taken down."""
    access: AccessConfig = AccessConfig()
    """Who may sign in, and do what."""
    token_file: str | None = None
    """The file of the token that the API asks for; it is made, with mode 0600, when it does not exist. Default: beside the store."""
    max_operations: Annotated[int, Meta(ge=1)] = 16
    """How many applications of one cluster are reconciled at once. A cluster that hangs takes nothing from the others."""

    def configured_projects(self) -> tuple[Project, ...]:
        """The projects of the configuration, in the model's form."""
        return tuple(Project(name=project.name, spec=project.spec) for project in self.projects)


def load_config(path: str | Path) -> Config:
    """Read a configuration file. Relative paths come out absolute.

    Raises BadInput with file, line and field; when there are several faults, its advice lists the others.
    """
    file = Path(path)
    try:
        data = file.read_bytes()
    except OSError as error:
        what = f"the configuration cannot be read: {error.strerror or error}"
        raise BadInput(
            what, where=Where(file=str(path)), advice="name another with --config, or make one with taut init"
        ) from None
    config, problems = read_config(data, str(path))
    if config is None:
        first, *others = problems
        advice = "; also ".join(filter(None, [first.advice, *map(str, others[:10])]))
        raise BadInput(first.what, where=first.where, advice=advice)
    return absolute(config, file.resolve().parent)


def read_config(data: bytes, file: str) -> tuple[Config | None, list[DocumentProblem]]:
    """The configuration in `data`, its paths as they are written, or None and all that is wrong with it. Never raises for bad input."""
    try:
        body: Any = load_one(data, file=file)
    except BadInput as error:
        return None, [DocumentProblem.of(error)]
    twice = repeated_key(data)
    if twice is not None:
        where = Where(file=file, line=twice[1], field=twice[0])
        return None, [DocumentProblem("it is written twice", where, "keep one of them")]
    config, findings = check({} if body is None else body, Config)
    findings = list(_findings(config)) if config else findings
    if not findings:
        return config, []
    locator = Locator(data)
    return None, [
        DocumentProblem(f.what, Where(file=file, line=locator.line(f.path), field=field_name(f.path)), f.advice)
        for f in findings
    ]


def absolute(config: Config, folder: Path) -> Config:
    """The same configuration with every relative path taken from `folder`, and `~` as the home folder."""

    def at(text: str | None) -> str | None:
        return str(folder / Path(text).expanduser()) if text else text

    clusters = tuple(msgspec.structs.replace(c, kubeconfig=at(c.kubeconfig)) for c in config.clusters)
    credentials = tuple(
        msgspec.structs.replace(
            c, **{name: at(getattr(c, name)) for name in c.__struct_fields__ if name.endswith("_file")}
        )
        for c in config.credentials
    )
    keys = tuple(msgspec.structs.replace(k, file=at(k.file)) for k in config.secrets.sops.keys)
    sealed = tuple(msgspec.structs.replace(k, file=at(k.file)) for k in config.secrets.sealed)
    roots = tuple(msgspec.structs.replace(root, git=_absolute_git(root.git, folder)) for root in config.roots)
    policies = tuple(msgspec.structs.replace(p, git=_absolute_git(p.git, folder)) for p in config.policies)
    return msgspec.structs.replace(
        config,
        store=at(config.store),
        clusters=clusters,
        credentials=credentials,
        roots=roots,
        policies=policies,
        alerts=absolute_alerts(config.alerts, at),
        webhook=WebhookConfig(secret_file=at(config.webhook.secret_file)),
        render=msgspec.structs.replace(config.render, kustomize=at(config.render.kustomize)),
        secrets=SecretsConfig(sops=SopsConfig(keys=keys), sealed=sealed),
        access=access_paths(config.access, at),
        token_file=at(config.token_file),
    )


def _absolute_git(git: str, folder: Path) -> str:
    """A path instead of a URL (`.`, `../fleet`) is a repository on this machine."""
    return (folder / git).resolve().as_uri() if _is_path(git) else git


def _is_path(git: str) -> bool:
    return git.startswith(("/", "./", "../")) or git in {".", ".."}


def _findings(config: Config) -> Iterator[Finding]:
    for part in ("clusters", "roots", "credentials", "projects", "policies"):
        yield from _twice(part, [item.name for item in getattr(config, part)])
    yield from _listen(config)
    yield from (finding.under("access") for finding in access_findings(config.access))
    if config.admission is not None:
        yield from (finding.under("admission") for finding in admission_findings(config.admission))
    yield from _clusters(config)
    for number, root in enumerate(config.roots):
        yield from (finding.under("roots", number) for finding in _root(root, config))
    for number, policies in enumerate(config.policies):
        yield from (finding.under("policies", number) for finding in _policies(policies, config))
    for number, credentials in enumerate(config.credentials):
        yield from (finding.under("credentials", number) for finding in _credentials(credentials, config))
    for number, key in enumerate(config.secrets.sops.keys):
        yield from (finding.under("secrets", "sops", "keys", number) for finding in _sops_key(key, config))
    for number, entry in enumerate(config.secrets.sealed):
        names = [cluster.name for cluster in config.clusters]
        yield from (finding.under("secrets", "sealed", number) for finding in sealed_findings(entry, names))
    yield from (finding.under("alerts") for finding in alerts_findings(config.alerts))
    for number, project in enumerate(config.projects):
        yield from (finding.under("projects", number) for finding in project_findings(project.spec))


def _listen(config: Config) -> Iterator[Finding]:
    host, colon, port = config.listen.rpartition(":")
    if not colon or not host or not (port.isascii() and port.isdigit() and int(port) < 65536):
        yield Finding(("listen",), f"{config.listen!r} is no address", "write host:port, such as 127.0.0.1:7411")
    elif host not in {"127.0.0.1", "localhost", "[::1]"} and config.access.tls is None:
        yield Finding(
            ("listen",),
            f"{host} can be reached from other machines",
            "give access.tls a certificate, or listen on 127.0.0.1 behind a proxy that asks for TLS",
        )


def _clusters(config: Config) -> Iterator[Finding]:
    for number, cluster in enumerate(config.clusters):
        hosts = _globs("hosts", cluster.external_secrets.hosts)
        yield from (finding.under("clusters", number, "externalSecrets") for finding in hosts)
        if seconds(cluster.watch_silence) < 1:
            yield Finding(
                ("clusters", number, "watchSilence"),
                f"{cluster.watch_silence!r} is shorter than any server needs",
                "leave it out, or write at least 1s",
            )
        if cluster.in_cluster and (cluster.kubeconfig or cluster.context):
            yield Finding(
                ("clusters", number, "inCluster"), "inCluster and kubeconfig exclude each other", "keep one of them"
            )
        who = cluster.impersonate
        if who is not None and not who.user and (who.groups or who.uid or who.extra):
            path = ("clusters", number, "impersonate")
            yield Finding(path, "groups, uid and extra need a user", "add user, as kubectl's --as")


def _root(root: RootConfig, config: Config) -> Iterator[Finding]:
    yield from _repository(root, config)
    yield from _globs("allowedProjects", root.allowed_projects)


def _policies(policies: PoliciesConfig, config: Config) -> Iterator[Finding]:
    yield from _repository(policies, config)
    yield from _globs("clusters", policies.clusters)
    yield from _globs("projects", policies.projects)


def _globs(field: str, patterns: Sequence[str]) -> Iterator[Finding]:
    for number, pattern in enumerate(patterns):
        if glob_fault(pattern):
            yield Finding((field, number), f"{pattern!r} is no glob: {glob_fault(pattern)}", "")


def _repository(place: RootConfig | PoliciesConfig, config: Config) -> Iterator[Finding]:
    why = "" if _is_path(place.git) else git_url_fault(place.git)
    if why:
        yield Finding(("git",), why, f"{git_url_advice(place.git)}, or a folder of this machine (./fleet)")
    if place.path.startswith("/") or ".." in place.path.split("/"):
        what = f"{place.path!r} leaves the repository"
        yield Finding(("path",), what, "write a path relative to its top, without ..")
    names = [credentials.name for credentials in config.credentials]
    if place.credentials is not None and place.credentials not in names:
        yield Finding(
            ("credentials",), f"there are no credentials {place.credentials!r}", one_of(place.credentials, names)
        )


def _credentials(credentials: CredentialsConfig, config: Config) -> Iterator[Finding]:
    ways = [
        name
        for name in (
            "password_file",
            "token_file",
            "ssh_key_file",
            "client_certificate_file",
            "ca_file",
            "known_hosts_file",
            "secret",
        )
        if getattr(credentials, name)
    ]
    if not ways:
        yield Finding((), "there is nothing to sign in with", "add passwordFile, tokenFile, sshKeyFile or secret")
    if credentials.password_file and credentials.token_file:
        yield Finding(("tokenFile",), "passwordFile and tokenFile exclude each other", "keep one of them")
    if credentials.username and credentials.username_file:
        yield Finding(("usernameFile",), "username and usernameFile exclude each other", "keep one of them")
    if credentials.ssh_passphrase_file and not credentials.ssh_key_file:
        yield Finding(("sshPassphraseFile",), "there is no key that the passphrase could open", "add sshKeyFile")
    if bool(credentials.client_certificate_file) != bool(credentials.client_key_file):
        yield Finding((), "a client certificate needs its key, and a key its certificate", "add the other")
    names = [cluster.name for cluster in config.clusters]
    if credentials.secret and credentials.secret.cluster not in names:
        what = f"there is no cluster {credentials.secret.cluster!r}"
        yield Finding(("secret", "cluster"), what, one_of(credentials.secret.cluster, names))


def _sops_key(key: SopsKeyConfig, config: Config) -> Iterator[Finding]:
    sources = [name for name in ("file", "secret", "environment") if getattr(key, name)]
    if len(sources) > 1:
        yield Finding((sources[1],), f"{sources[0]} and {sources[1]} exclude each other", "write two entries")
    if not sources and not key.services:
        yield Finding((), "there is no key in it", "add file, secret, environment, or the keys of a service")
    if key.file and key.services:
        yield Finding(("file",), "a file holds nothing to sign in to a service with", "write two entries")
    if key.type is not SopsKeyType.AUTO and not key.file:
        yield Finding(("type",), "type is about a file", "add file, or remove type")
    names = [cluster.name for cluster in config.clusters]
    if key.secret and key.secret.cluster not in names:
        what = f"there is no cluster {key.secret.cluster!r}"
        yield Finding(("secret", "cluster"), what, one_of(key.secret.cluster, names))
    for name in ("aws_kms", "gcp_kms", "azure_key_vault", "vault"):
        for number, pattern in enumerate(getattr(key, name)):
            if not pattern or "**" in pattern.removesuffix("**"):
                field = name.split("_")[0] + "".join(part.title() for part in name.split("_")[1:])
                yield Finding((field, number), f"{pattern!r} is no pattern", "** stands at the end only")


def _twice(part: str, names: list[str]) -> Iterator[Finding]:
    for number, name in enumerate(names):
        if name in names[:number]:
            yield Finding((part, number, "name"), f"the name {name!r} is taken twice", "give each its own name")
