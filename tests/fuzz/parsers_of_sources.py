"""Parsers of what servers send: archives, manifests, indexes, trees, addresses, signatures."""

from __future__ import annotations

import contextlib
import json
from functools import cache

import pygit2
from pygit2.enums import ObjectType

from fuzz.parsers_of_documents import inside
from fuzz.registry import bodies_of, parser, scratch, text_of, value_of
from taut.clients.oci import choose_manifest, parse_reference, read_manifest
from taut.clients.urls import is_loopback, origin_of
from taut.model.errors import TautError, Where
from taut.model.project import Signatures
from taut.sources.archive import ArchiveLimits, safe_path, unpack
from taut.sources.git_errors import explain
from taut.sources.helm_index import chart_url, choose, parse_index
from taut.sources.remote_bases import parse_remote
from taut.sources.repository_url import parse_repository_url, relative_to, same_repository, within
from taut.sources.semver_range import best_version, is_range, parse_range, parse_version
from taut.sources.signatures import Signed, check
from taut.sources.smart_http import parse_advertisement
from taut.sources.submodules import submodules
from taut.sources.tree import GitTree, ObjectStore, create_store
from taut.sources.webhook import changed_ref, repository_urls, verify_signature

SMALL = ArchiveLimits(total=1 << 20, one_file=1 << 19, files=200)
OCI = (
    '"layers"¦"config"¦"manifests"¦"digest"¦"size"¦"mediaType"¦"annotations"¦"platform"¦"os"¦{¦}¦[¦]¦:¦,¦-1¦1e400¦null¦"linux"¦oci://¦h.test/¦a:b¦@¦//¦..'
    + "¦"
    + ('"sha256:' + "0" * 64 + '"')
)


@cache
def store() -> ObjectStore:
    """A repository for objects that Git itself would not write."""
    return create_store(scratch() / "objects.git")


PGP = "-----BEGIN PGP SIGNATURE-----\n"
SSH = "-----BEGIN SSH SIGNATURE-----\n"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHUA0dUmzYbPDKcbCwVYV8lVN9jEFYRuTQLiDvLu8a6k x"


@parser(
    "^¦~¦>=¦<¦ ¦,¦||¦1¦.¦2¦x¦*¦-alpha¦+b¦v¦- ¦=¦!=¦0" + "¦" + ("9" * 50), right=("^1.2.3", ">=1 <2 || 3.x", "1.2 - 2")
)
def semver(data: bytes) -> None:
    """The best version is one of those given, and in the range."""
    text = text_of(data)
    parse_version(text)
    if is_range(text):
        wanted = parse_range(text)
        best = best_version(["1.0.0", "v1.2.3", "2.0.0-rc.1", "0.0.1", "x", ""], wanted)
        assert best is None or wanted.matches(parse_version(best.removeprefix("v")))  # pyright: ignore[reportArgumentType]


@parser(
    "./¦../¦a¦/¦\x00¦\x1f\x8b¦ustar\x00¦0000644¦5¦2¦x¦L¦11 path=ab\n" + "¦" + ("0" * 11) + "¦" + ("a" * 100),
    right=(b"\0" * 1024,),
)
def archive(data: bytes) -> None:
    """Nothing leaves its folder, and the limits hold."""
    with contextlib.suppress(TautError):
        inside(iter([p for p in [safe_path(text_of(data[:200]))] if p]))
    files = unpack(data, limits=SMALL)
    inside(iter(files))
    assert sum(len(f.content) for f in files.values()) <= SMALL.total
    assert len(files) <= SMALL.files


@parser(
    OCI,
    right=(
        json.dumps({"layers": [{"mediaType": "a", "digest": "sha256:" + "0" * 64, "size": 1}]}),
        "oci://h.test/a/b:v1",
    ),
)
def oci(data: bytes) -> None:
    """Addresses and manifests."""
    reference = parse_reference("oci://h.test/a")
    with contextlib.suppress(TautError):
        parse_reference(text_of(data))
    for body in bodies_of(data):
        with contextlib.suppress(TautError):
            assert choose_manifest(body, reference).startswith("sha")
        for layer in read_manifest("sha256:" + "0" * 64, "m", body, reference).layers:
            assert isinstance(layer.size, int)


@parser(
    "entries:\n¦  web:\n¦  - version: ¦1.0.0\n¦    urls: [¦a.tgz¦http://127.0.0.1/x¦oci://h.test/x¦]\n¦digest: ¦removed: true\n¦&a ¦*a"
    + "¦"
    + ("9" * 5000)
    + "¦"
    + ("0x" + "f" * 300)
    + "¦"
    + ("[" * 50),
    right=("entries: {web: [{version: 1.0.0, urls: [web-1.0.0.tgz]}]}\n",),
)
def helm_index(data: bytes) -> None:
    """A chart that is found has an address that may be asked."""
    index = parse_index(data, Where("repo"))
    for name in index:
        version = choose(index, name, None, Where("repo"))
        assert version in index[name]
        found = chart_url("https://h.test/charts", version.urls[0])
        with contextlib.suppress(ValueError):
            assert not is_loopback(origin_of(found).host)


@parser(
    "100644 ¦40000 ¦120000 ¦160000 ¦100755 ¦0 ¦a¦.git¦..¦/¦.GIT ¦\\¦\x00¦\x1b[2J¦git~1¦Â\x85"
    + "¦"
    + ("\0" * 20)
    + "¦"
    + ("x" * 20),
    right=(b"100644 a\0" + b"\1" * 20,),
)
def git_tree(data: bytes) -> None:
    """Names that come out may become files and be printed."""
    try:
        oid = str(store().repository().odb.write(ObjectType.TREE, data))
        entries = GitTree(store(), oid).folder("")
    except (pygit2.GitError, ValueError, KeyError):
        return  # libgit2 says that it is no tree
    for entry in entries:
        assert entry.name not in {"", ".", "..", ".git"}
        assert not set(entry.name) & {"/", "\\", "\0"}
        assert not any(ord(c) < 32 or 0x7F <= ord(c) < 0xA0 for c in entry.name)


@parser(
    '[submodule "¦"]\n¦path = ¦lib\n¦url = ¦ext::sh -c x\n¦-u\n¦../\n¦../../../x\n¦file:///etc\n¦update = !touch x\n¦\t¦https://h.test/x\n',
    right=('[submodule "x"]\n\tpath = lib\n\turl = ../x\n',),
)
def gitmodules(data: bytes) -> None:
    """Addresses that may be parsed, or an error."""
    found = store()
    blob = found.repository().create_blob(data)
    raw = b"100644 .gitmodules\0" + bytes.fromhex(str(blob)) + b"160000 lib\0" + b"\1" * 20
    oid = str(found.repository().odb.write(ObjectType.TREE, raw))
    for module in submodules(GitTree(found, oid), "https://h.test/org/app.git"):
        assert module.path == "lib"
        url = parse_repository_url(module.url, allow_file=False)
        assert url.scheme in {"https", "http", "ssh"}
        assert not url.text.startswith("-")


@parser(
    "https://¦ssh://¦git@¦:¦/¦ext::¦--upload-pack=¦-¦file://¦h.test¦@¦..¦%2e¦//¦?ref=¦git::¦gh:¦.git¦\x1b¦#¦[::1]¦%0a¦\\",
    right=("https://h.test/a/b.git//x?ref=v1", "git@h.test:a/b.git", "../x"),
)
def addresses(data: bytes) -> None:
    """An address is no option, holds no password, and compares with itself."""
    text = text_of(data)
    with contextlib.suppress(TautError):
        remote = parse_remote(text)
        assert ".." not in remote.path.split("/")
    with contextlib.suppress(TautError):
        relative_to("https://h.test/a/b", text)
    within(text, text)
    within("https://h.test/", text)
    url = parse_repository_url(text)
    assert url.scheme in {"https", "http", "ssh", "file"}
    assert not url.text.startswith("-")
    assert same_repository(text, text)


@parser(
    '"repository"¦"project"¦"clone_url"¦"links"¦"clone"¦"href"¦"ref"¦"https://h.test/x"¦{¦}¦[¦]¦:¦,¦null¦1¦sha256=¦ÿ',
    right=(b'{"ref":"refs/heads/main","repository":{"clone_url":"https://h.test/x.git"}}',),
)
def webhook(data: bytes) -> None:
    """Texts come out; a signature that was not made with the secret is none."""
    payload = value_of(data)
    assert all(isinstance(url, str) for url in repository_urls(payload))
    assert isinstance(changed_ref(payload), str)
    assert not verify_signature(b"secret", data, text_of(data))
    assert not verify_signature(b"", data, text_of(data))


@parser(
    "-----BEGIN PGP SIGNATURE-----\n¦-----BEGIN SSH SIGNATURE-----\n¦-----END SSH SIGNATURE-----¦-----END PGP SIGNATURE-----¦U1NIU0lHAAAAAQ==¦\n¦=AAAA¦iQ¦AAAAB3NzaC1yc2E¦ssh-dss "
    + "¦"
    + ("AAAA" * 8),
    right=(SSH + "U1NIU0lHAAAAAQ==\n-----END SSH SIGNATURE-----", PGP + "\niQ==\n=AAAA\n-----END PGP SIGNATURE-----"),
)
def signature(data: bytes) -> None:
    """Nothing that is not signed is taken for signed."""
    trusted = Signatures(require="commit", open_pgp=(), ssh=(KEY,))
    signed = check(Signed("the commit x", b"payload", data), trusted, Where("repo"))
    raise AssertionError(f"accepted: {signed}")


@parser("ssh-rsa ¦ssh-dss ¦ecdsa-sha2-nistp256 ¦sk-¦AAAA¦ ¦ü¦=¦\n", right=(KEY,))
def trusted_key(data: bytes) -> None:
    """A key of a project that cannot be read is said to be."""
    trusted = Signatures(require="commit", open_pgp=(text_of(data),), ssh=(text_of(data),))
    for kind in (PGP, SSH):
        with contextlib.suppress(TautError):
            check(Signed("the commit x", b"payload", kind.encode() + data), trusted, Where("repo"))


@parser(
    "001e# service=git-upload-pack\n¦0000¦0004¦0001¦ffff¦ HEAD\x00¦symref=HEAD:refs/heads/main¦ refs/heads/main\n¦ refs/heads/-x\n¦-001¦+0f0¦0_0f"
    + "¦"
    + ("0" * 40),
    right=(b"0000",),
)
def advertisement(data: bytes) -> None:
    """Refs, or ValueError that the caller turns into a sentence."""
    with contextlib.suppress(ValueError):
        refs, head = parse_advertisement(data)
        assert isinstance(head, str)
        assert all(len(oid) == 40 for oid in refs.values())


@parser(
    "fatal: ¦error: ¦remote: ¦\x1b[2J¦\n¦https://ada:s3cr3t@h.test/x¦Authentication failed¦could not read¦\u202e",
    right=("fatal: repository not found",),
)
def git_message(data: bytes) -> None:
    """What git says becomes a sentence without credentials."""
    raise explain(text_of(data), "https://h.test/x.git", None)
