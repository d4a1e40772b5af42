"""Signatures of commits and tags, made by git, ssh-keygen and an OpenPGP library."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pysequoia
import pytest

from taut.model.application import Source
from taut.model.errors import BadInput, SourceError
from taut.model.project import Signatures
from taut.sources import Sources

from .conftest import Repo, git

pytestmark = pytest.mark.integration


def ssh_key(folder: Path, kind: str, *options: str) -> Path:
    path = folder / f"key-{kind}-{len(list(folder.iterdir()))}"
    subprocess.run(
        ["ssh-keygen", "-q", "-t", kind, *options, "-N", "", "-C", "ada@example.org", "-f", str(path)], check=True
    )
    return path


def public(key: Path) -> str:
    return key.with_suffix(".pub").read_text()


def with_ssh(key: Path) -> tuple[str, ...]:
    return ("-c", "gpg.format=ssh", "-c", f"user.signingkey={key}")


async def verify(sources: Sources, repo: Repo, wanted: Signatures, ref: str | None = None) -> None:
    await sources.verify(await sources.resolve(Source(git=repo.url, ref=ref), fetch=True), wanted)


@pytest.mark.parametrize(
    ("kind", "options"), [("ed25519", ()), ("ecdsa", ("-b", "256")), ("ecdsa", ("-b", "521")), ("rsa", ("-b", "2048"))]
)
async def test_ssh_signatures_of_commits(
    sources: Sources, repo: Repo, tmp_path: Path, kind: str, options: tuple[str, ...]
) -> None:
    key, other = ssh_key(tmp_path, kind, *options), ssh_key(tmp_path, "ed25519")
    repo.commit({"a": "signed"}, sign=(*with_ssh(key), "-S"))
    await verify(sources, repo, Signatures(require="commit", ssh=(public(other), public(key))))
    with pytest.raises(SourceError, match=r"signed by the SSH key SHA256:\S+, which is not trusted") as caught:
        await verify(sources, repo, Signatures(require="commit", ssh=(public(other),)))
    printed = subprocess.run(["ssh-keygen", "-lf", str(key)], capture_output=True, text=True, check=True).stdout
    assert printed.split()[1] in caught.value.what
    with pytest.raises(SourceError, match="not trusted"):
        await verify(sources, repo, Signatures(require="commit"))


async def test_nobody_signed(sources: Sources, repo: Repo, tmp_path: Path) -> None:
    wanted = Signatures(require="commit", ssh=(public(ssh_key(tmp_path, "ed25519")),))
    with pytest.raises(SourceError, match="nobody signed the commit"):
        await verify(sources, repo, wanted)
    await verify(sources, repo, Signatures(require="none"))


async def test_a_signature_moved_to_another_commit(sources: Sources, repo: Repo, tmp_path: Path) -> None:
    key = ssh_key(tmp_path, "ed25519")
    signed = repo.commit({"a": "good"}, sign=(*with_ssh(key), "-S"))
    good = git(repo.path, "cat-file", "commit", signed)
    evil_tree = git(repo.path, "rev-parse", f"{repo.commit({'a': 'evil'})}^{{tree}}")
    old_tree = git(repo.path, "rev-parse", f"{signed}^{{tree}}")
    forged = git(
        repo.path,
        "hash-object",
        "-t",
        "commit",
        "-w",
        "--stdin",
        data=(good.replace(old_tree, evil_tree) + "\n").encode(),
    )
    repo.set("refs/heads/main", forged)
    with pytest.raises(SourceError, match=r"a signature of the SSH key .* that is wrong"):
        await verify(sources, repo, Signatures(require="commit", ssh=(public(key),)))


async def test_a_signature_for_another_purpose(sources: Sources, repo: Repo, tmp_path: Path) -> None:
    """The same key signs files as well; such a signature is worth nothing here (the namespace differs)."""
    key = ssh_key(tmp_path, "ed25519")
    raw = git(repo.path, "cat-file", "commit", "main") + "\n"
    made = subprocess.run(
        ["ssh-keygen", "-Y", "sign", "-n", "file", "-f", str(key)], input=raw.encode(), capture_output=True, check=True
    ).stdout.decode()
    head, _, body = raw.partition("\n\n")
    signature = made.strip().replace("\n", "\n ")
    forged = git(
        repo.path, "hash-object", "-t", "commit", "-w", "--stdin", data=f"{head}\ngpgsig {signature}\n\n{body}".encode()
    )
    repo.set("refs/heads/main", forged)
    with pytest.raises(SourceError, match="cannot be read"):
        await verify(sources, repo, Signatures(require="commit", ssh=(public(key),)))


@pytest.mark.parametrize(
    "signature",
    [
        "-----BEGIN SSH SIGNATURE-----\n U1NIU0lH\n -----END SSH SIGNATURE-----",
        "-----BEGIN SSH SIGNATURE-----\n !!!\n -----END SSH SIGNATURE-----",
        "-----BEGIN PGP SIGNATURE-----\n \n nonsense\n -----END PGP SIGNATURE-----",
        "-----BEGIN SIGNED MESSAGE-----\n MII\n -----END SIGNED MESSAGE-----",
        "nonsense",
    ],
)
async def test_what_is_no_signature(sources: Sources, repo: Repo, tmp_path: Path, signature: str) -> None:
    head, _, body = git(repo.path, "cat-file", "commit", "main").partition("\n\n")
    text = f"{head}\ngpgsig {signature}\n\n{body}\n".encode()
    repo.set("refs/heads/main", git(repo.path, "hash-object", "-t", "commit", "-w", "--stdin", data=text))
    with pytest.raises(SourceError, match=r"cannot be read|neither OpenPGP nor SSH"):
        await verify(sources, repo, Signatures(require="commit", ssh=(public(ssh_key(tmp_path, "ed25519")),)))


async def test_signed_tags(sources: Sources, repo: Repo, tmp_path: Path) -> None:
    key = ssh_key(tmp_path, "ed25519")
    wanted = Signatures(require="tag", ssh=(public(key),))
    git(repo.path, *with_ssh(key), "tag", "-s", "-m", "release", "v1.0.0", "main")
    await verify(sources, repo, wanted, "v1.0.0")
    await verify(sources, repo, wanted, "1.x")
    with pytest.raises(SourceError, match="a signed tag is asked for, and 'main' is none"):
        await verify(sources, repo, wanted, "main")
    repo.tag("v2.0.0")
    with pytest.raises(SourceError, match=r"'v2\.0\.0' is none"):
        await verify(sources, repo, wanted, "v2.0.0")
    repo.tag("v3.0.0", annotated=True)
    with pytest.raises(SourceError, match=r"nobody signed the tag 'v3\.0\.0'"):
        await verify(sources, repo, wanted, "v3.0.0")
    repo.set("refs/tags/v9.0.0", repo.refs()["refs/tags/v1.0.0"])
    with pytest.raises(SourceError, match=r"the tag 'v9\.0\.0' was signed as 'v1\.0\.0'"):
        await verify(sources, repo, wanted, "v9.0.0")
    repo.set("refs/heads/v1.0.0", repo.refs()["refs/heads/main"])
    with pytest.raises(SourceError, match="is none"):
        await verify(sources, repo, wanted, "v1.0.0")


def open_pgp_commit(repo: Repo, key: pysequoia.Tsk) -> None:
    raw = git(repo.path, "cat-file", "commit", "main") + "\n"
    signature = pysequoia.sign(key.signer(), raw.encode(), mode=pysequoia.SignatureMode.DETACHED).decode().strip()
    head, _, body = raw.partition("\n\n")
    text = f"{head}\ngpgsig " + signature.replace("\n", "\n ") + f"\n\n{body}"
    repo.set("refs/heads/main", git(repo.path, "hash-object", "-t", "commit", "-w", "--stdin", data=text.encode()))


async def test_open_pgp_signatures(sources: Sources, repo: Repo) -> None:
    secret, stranger = (pysequoia.Tsk.generate(user_id=f"{name} <{name}@example.org>") for name in ("ada", "eve"))
    key, other = secret.extract_certificate(), stranger.extract_certificate()
    open_pgp_commit(repo, secret)
    await verify(sources, repo, Signatures(require="commit", open_pgp=(str(other), str(key))))
    with pytest.raises(SourceError, match=r"signed by the OpenPGP key [0-9A-F]{40}, which is not trusted"):
        await verify(sources, repo, Signatures(require="commit", open_pgp=(str(other),)))
    with pytest.raises(BadInput, match="OpenPGP key of the project cannot be read"):
        await verify(sources, repo, Signatures(require="commit", open_pgp=("nonsense",)))


async def test_gpg_signs_what_taut_accepts(sources: Sources, repo: Repo, tmp_path: Path) -> None:
    home = tmp_path / "gnupg"
    home.mkdir(mode=0o700)
    run = ["gpg", "--homedir", str(home), "--batch", "--quiet", "--passphrase", "", "--pinentry-mode", "loopback"]
    try:
        subprocess.run(
            [*run, "--quick-generate-key", "ada@example.org", "ed25519", "sign"], check=True, capture_output=True
        )
        exported = subprocess.run([*run, "--armor", "--export"], check=True, capture_output=True, text=True).stdout
        env = {"GNUPGHOME": str(home)}
        repo.commit({"a": "2"}, sign=("-c", "user.signingkey=ada@example.org", "-S"), env=env)
        git(repo.path, "-c", "user.signingkey=ada@example.org", "tag", "-s", "-m", "x", "v1", "main", env=env)
    finally:
        subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False, capture_output=True)
    await verify(sources, repo, Signatures(require="commit", open_pgp=(exported,)))
    await verify(sources, repo, Signatures(require="tag", open_pgp=(exported,)), "v1")


async def test_a_key_that_cannot_be_read_is_the_projects_fault(sources: Sources, repo: Repo, tmp_path: Path) -> None:
    repo.commit({"a": "signed"}, sign=(*with_ssh(ssh_key(tmp_path, "ed25519")), "-S"))
    with pytest.raises(BadInput, match="SSH key of the project cannot be read"):
        await verify(sources, repo, Signatures(require="commit", ssh=("nonsense",)))
