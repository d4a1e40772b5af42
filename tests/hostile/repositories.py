"""Attacks by repositories: attributes, hooks, submodules, addresses, refs, and trees that Git would not write."""

from __future__ import annotations

from hostile.attack import Attack, Raw, config_map
from servers.git import Content, Executable

NEVER = "nothing is checked out: files are read from Git's objects"
COMMIT = "1" * 40
NOT_ALLOWED = "does not allow the repository"
DANGEROUS = "the repository holds an entry with a dangerous name"


def submodule(
    name: str,
    what: str,
    url: str,
    says: str,
    *,
    path: str = "lib",
    stops: str = "addresses are checked, and the project has to list them",
    settings: str = "",
) -> Attack:
    """A repository with a submodule."""
    files: dict[str, object] = {
        "cm.yaml": config_map(name),
        "/.gitmodules": f'[submodule "../../x"]\n\tpath = {path}\n\turl = {url}\n{settings}',
        f"/{path}": Raw(0o160000, COMMIT),
    }
    return Attack(name, what, stops, files, source={"submodules": True}, says=says, stage="source", alone=True)  # pyright: ignore[reportArgumentType]


def tree(name: str, what: str, entry: str, says: str = DANGEROUS) -> Attack:
    """A tree with an entry of this name."""
    files = {"cm.yaml": config_map(name), entry: Raw(0o100644, "[core]\n\thooksPath = x\n")}
    gives = None if says else {"state": "good"}
    stops = NEVER if not says else "such names are refused"
    return Attack(name, what, stops, files, says=says, gives=gives, stage="source", short=entry == ".git")


def source(name: str, what: str, says: str, *, stops: str, **fields: str) -> Attack:
    """An application whose source is strange."""
    files: dict[str, Content] = {"cm.yaml": config_map(name)}
    stage = "plan" if says == NOT_ALLOWED else "document"
    return Attack(name, what, stops, files, source=fields, says=says, place=name, stage=stage)


ATTRIBUTES = "*.yaml filter=evil ident export-subst working-tree-encoding=UTF-16 diff=evil merge=evil\n"
HOOK = Executable(b"#!/bin/sh\ntouch @OUTSIDE@/pwned\n")
HOOKS: dict[str, Content] = {
    f"{folder}/{hook}": HOOK
    for folder in ("hooks", ".githooks", ".husky")
    for hook in ("post-checkout", "post-merge", "reference-transaction")
}

ATTACKS: list[Attack] = [
    Attack("g-attributes", "filters, keywords and encodings by .gitattributes", NEVER, {"/.gitattributes": ATTRIBUTES, "cm.yaml": config_map("g-attributes", '{state: "$Id$ $Format:%H$"}')}, gives={"state": "$Id$ $Format:%H$"}, alone=True, short=True),
    Attack("g-lfs", "a pointer to a large file elsewhere", NEVER, {".gitattributes": "*.yaml filter=lfs\n", "cm.yaml": config_map("g-lfs"), "big.yaml": "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 1\n"}, gives=None, says="this is a pointer to a file in Git LFS, which is not fetched", place="big.yaml"),
    Attack("g-hooks", "hooks in the repository", NEVER, {"cm.yaml": config_map("g-hooks"), ".lfsconfig": "[lfs]\n\turl = @CANARY@\n", ".gitconfig": "[core]\n\tfsmonitor = touch @OUTSIDE@/pwned\n", **HOOKS}, gives={"state": "good"}, short=True),
    submodule("s-program", "a submodule behind Git's ext transport", "ext::sh -c touch% @OUTSIDE@/pwned", "is no address of a repository"),
    submodule("s-option", "a submodule whose address is an option", "-u./payload", "is no address of a repository"),
    submodule("s-ssh-option", "a submodule whose host is an option of ssh", "ssh://-oProxyCommand=touch@OUTSIDE@/pwned/x", "is no address of a repository"),
    submodule("s-up", "a submodule above its host", "../../../../../../etc", "leads out of its host"),
    submodule("s-file", "a submodule on the machine's disk", "file://@OUTSIDE@", "comes from a place the project does not list"),
    submodule("s-host", "a submodule on a host that is not listed", "@CANARY@/x.git", "comes from a place the project does not list"),
    submodule("s-update", "a submodule with a command for updates", "@CANARY@/x.git", "comes from a place the project does not list", settings="\tupdate = !touch @OUTSIDE@/pwned\n\tignore = all\n"),
    submodule("s-git", "a submodule in .git", "@CANARY@/x.git", DANGEROUS, path=".git"),
    tree("t-git", "a file named .git", ".git"),
    tree("t-case", "the same in capitals", ".GIT"),
    tree("t-dots", "the same with a dot, as Windows reads it", ".git. ."),
    tree("t-dotdot", "a file named ..", ".."),
    tree("t-slash", "a file with a path as its name", "a/../../x.yaml"),
    tree("t-backslash", "a file with a path of Windows as its name", "a\\..\\x.yaml"),
    tree("t-short", "a short name of Windows for .git", "git~1", ""),
    tree("t-invisible", "a .git with a character nobody sees, as macOS reads it", ".g\u200cit", ""),
    source("a-ext", "a source behind Git's ext transport", "is no repository's URL", stops="addresses are checked", git="ext::sh -c touch% @OUTSIDE@/pwned"),
    source("a-option", "a source that is an option of git", "is no repository's URL", stops="addresses are checked", git="--upload-pack=touch @OUTSIDE@/pwned"),
    source("a-ssh", "a source whose host is an option of ssh", "is no repository's URL", stops="addresses are checked", git="ssh://-oProxyCommand=touch@OUTSIDE@/pwned/x"),
    source("a-ref", "a ref that is an option of git", "is no ref", stops="refs are checked", ref="--upload-pack=touch @OUTSIDE@/pwned"),
    source("a-path", "a path above the repository", "leaves the repository", stops="paths stay in the repository", path="../../etc"),
    source("a-absolute", "a path of the machine", "leaves the repository", stops="paths stay in the repository", path="/etc"),
    source("a-screen", "a path with an escape sequence", "is no path", stops="paths are printable", path="apps/\x1b[2J"),
    source("a-file", "a source on the machine's disk", NOT_ALLOWED, stops="the project does not list it", git="file://@OUTSIDE@"),
    source("a-host", "a source on a host that is not listed", NOT_ALLOWED, stops="the project does not list it", git="@CANARY@/x.git"),
]  # fmt: skip
