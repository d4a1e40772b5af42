"""`taut init`: a repository to begin with, that works as it is."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import click

from taut.cli.data import say
from taut.cli.scaffold import Place, scaffold
from taut.model.errors import BadInput, TautError, Where

_GIT_SECONDS = 30


@click.command()
@click.argument("path", default=".", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--repository",
    metavar="URL",
    help="The URL under which taut will read it. Default: the remote `origin`, else the folder itself.",
)
@click.option("--branch", default="main", show_default=True, help="The branch that is deployed.")
@click.option("--kubeconfig", metavar="FILE", help="The kubeconfig of the cluster. Default: yours.")
@click.option("--context", metavar="NAME", help="The context in the kubeconfig. Default: its current one.")
@click.option("--git", "make_commit", is_flag=True, help="Make a Git repository of PATH, with a first commit.")
def init(
    path: Path, repository: str | None, branch: str, kubeconfig: str | None, context: str | None, make_commit: bool
) -> None:
    """Make a working repository with two environments in PATH (default: here).

    It holds one application, its overlays for staging and production, taut's documents, and the configuration of `taut run`. Nothing that
    exists is overwritten.
    """
    top = _top(path.absolute())
    if make_commit and top is not None:
        raise BadInput(
            f"{top} is a Git repository already", advice="leave --git out, and commit what is written yourself"
        )
    base = path.absolute()
    prefix = base.relative_to(top).as_posix() if top and top != base else ""
    url = repository or _origin(top) or (top or base).as_uri()
    kube = str(Path(kubeconfig).expanduser().absolute()) if kubeconfig else ""
    files = scaffold(Place(url, branch, prefix, kube, context or ""))
    _write(path, files)
    say(f"Wrote {len(files)} files into {path}.")
    if make_commit:
        _commit(path, branch, sorted(files))
        say(f"Made a Git repository with a first commit on {branch}.")
    begin = f"cd {shlex.quote(str(path))} && taut run" if str(path) != "." else "taut run"
    say(
        f"Look at README.md; then: {begin}"
        if make_commit or top
        else f"Look at README.md; commit it with Git; then: {begin}"
    )


def _write(base: Path, files: dict[str, str]) -> None:
    """Write all files, or none when one of them exists."""
    there = [name for name in files if (base / name).exists() or (base / name).is_symlink()]
    if there:
        what = f"{there[0]} exists already" + (f", and {len(there) - 1} more" if len(there) > 1 else "")
        raise BadInput(what, where=Where(file=str(base)), advice="choose an empty folder; nothing was written")
    for name, text in files.items():
        path = base / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise BadInput(f"{path} cannot be written: {error.strerror or error}") from None


def _top(path: Path) -> Path | None:
    """The top of the Git repository that `path` is in; None when it is in none."""
    return next((folder for folder in (path, *path.parents) if (folder / ".git").exists()), None)


def _origin(top: Path | None) -> str:
    """The URL of the remote `origin`, without any credentials in it; empty when there is none."""
    if top is None:
        return ""
    done = _git(top, "config", "--get", "remote.origin.url", fine=(0, 1))
    return re.sub(r"^(https?://)[^/@]*@", r"\1", done.strip())


def _commit(base: Path, branch: str, files: list[str]) -> None:
    _git(base, "init", "--quiet", f"--initial-branch={branch}")
    _git(base, "add", "--", *files)
    _git(base, "commit", "--quiet", "-m", "Begin: one application in two environments")


def _git(base: Path, *arguments: str, fine: tuple[int, ...] = (0,)) -> str:
    command = ["git", "-C", str(base), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_GIT_SECONDS)
    except FileNotFoundError:
        raise TautError("git is not installed", advice="install git, or leave --git out") from None
    except subprocess.TimeoutExpired:
        raise TautError(f"git {arguments[0]} did not end in {_GIT_SECONDS} s", advice="run it by hand") from None
    if done.returncode not in fine:
        reason = (done.stderr or done.stdout).strip().splitlines() or [""]
        advice = "the files are written; set user.name and user.email, and commit them by hand"
        raise TautError(f"git {arguments[0]} failed: {reason[-1]}", advice=advice)
    return done.stdout
