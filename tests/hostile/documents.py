"""Attacks by documents, by names, and by objects that claim to be somebody else's."""

from __future__ import annotations

from hostile.attack import Attack, Raw, config_map
from servers.git import Content, Symlink

LINK = "the symbolic link leaves the repository"
LINKS = "links are followed in the repository only"
COUNTED = "documents have limits"


def plain(
    name: str,
    what: str,
    text: str | bytes,
    says: str,
    *,
    stops: str = COUNTED,
    place: str | None = None,
    **more: object,
) -> Attack:
    """An attack by one plain file."""
    where = f"apps/{name}/cm.yaml" if place is None else place
    return Attack(name, what, stops, {"cm.yaml": text}, says=says, place=where, **more)  # pyright: ignore[reportArgumentType]


def linked(name: str, what: str, files: dict[str, Content], says: str, **more: object) -> Attack:
    """An attack by symbolic links."""
    return Attack(name, what, LINKS, files, says=says, place=f"apps/{name}", **more)  # pyright: ignore[reportArgumentType]


BOMB = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [{','.join(['*' + a] * 10)}]\n" for a, b in zip("abcdefg", "bcdefgh", strict=True)
)
MERGES = "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}], k{n}: 1}}\n" for n in range(1, 40))
OBJECT = "apiVersion: v1\nkind: ConfigMap\n"

ATTACKS: list[Attack] = [
    linked("l-absolute", "a link to a file of the machine", {"cm.yaml": Symlink("/etc/passwd")}, LINK, short=True),
    linked("l-up", "a link above the repository", {"cm.yaml": Symlink("../" * 8 + "etc/passwd")}, LINK),
    linked("l-folder", "a link to a folder of the machine", {"objects": Symlink("@OUTSIDE@"), "cm.yaml": config_map("l-folder")}, LINK),
    linked("l-chain", "a link to a link that leaves", {"cm.yaml": Symlink("a/one"), "a/one": Symlink("../two"), "two": Symlink("/proc/self/environ")}, LINK),
    linked("l-circle", "links that lead in a circle", {"cm.yaml": Symlink("other.yaml"), "other.yaml": Symlink("cm.yaml")}, "the symbolic links lead in a circle", short=True),
    linked("l-long", "a link of a hundred megabytes", {"cm.yaml": Symlink("a/" * (50 << 20))}, "the symbolic link has 104857600 bytes, more than 4096"),
    linked("l-chart", "a link out of a chart", {"Chart.yaml": "apiVersion: v2\nname: c\nversion: 1.0.0\n", "templates/cm.yaml": Symlink("/etc/passwd")}, LINK),
    linked("l-values", "a values file that is a link", {"Chart.yaml": "apiVersion: v2\nname: c\nversion: 1.0.0\n", "values.yaml": Symlink("@OUTSIDE@/secret")}, LINK),
    linked("l-kustomization", "a kustomization that is a link", {"kustomization.yaml": Symlink("@OUTSIDE@/secret")}, LINK),
    Attack("l-git", "a link into .git", "the tree holds no .git, and nothing is checked out", {"cm.yaml": config_map("l-git"), "config.yaml": Symlink("../../.git/config")}, gives={"state": "good"}),
    plain("y-merge", "merge keys that explode", OBJECT + "metadata: {name: a}\n" + MERGES, "aliases expand to more than 100000 values", short=True),
    plain("y-deep", "nesting without end", OBJECT + "metadata: {name: a}\ndata: " + "[" * 5000, "exceeded maximum nesting depth", place="apps/y-deep/cm.yaml"),
    plain("y-json", "the same in JSON", '{"apiVersion":"v1","kind":"ConfigMap","data":' + "[" * 100_000, "nest", place="apps/y-json/cm.yaml"),
    plain("y-values", "millions of values", OBJECT + "metadata: {name: a}\nx: [" + "1," * 2_100_000 + "1]\n", "more than 2000000 values in one file", slow=True),
    plain("y-documents", "too many documents", "---\na: 1\n" * 25_000, "more than 20000 documents in one file"),
    plain("y-nul", "a NUL", OBJECT + "metadata: {name: a}\ndata: {a: b\0c}\n", "this is no YAML"),
    plain("y-utf8", "bytes that are no text", OBJECT.encode() + b"metadata: {name: \xff\xfe}\n", "this is no UTF-8 text", place="apps/y-utf8/cm.yaml:3"),
    plain("y-python", "a tag that makes a Python object", "!!python/object/apply:os.system ['touch @OUTSIDE@/pwned']\n", "holds no Kubernetes object and was skipped", stops="tags mean nothing", stage="plan"),
    plain("y-number", "a number of a million digits", OBJECT + "metadata: {name: y-number}\ndata: {a: " + "9" * 2_000_000 + "}\n", "Too long", stops="it is text, and too long for a cluster", stage="plan", place=""),
    plain("y-key", "a key that is a map", OBJECT + "metadata: {name: a}\ndata: {{a: b}: c}\n", "a mapping is no key", place="apps/y-key/cm.yaml:4"),
    Attack("y-files", "tens of thousands of files", "a render reads 20,000 files", {f"d/{n}.yaml": "# nothing\n" for n in range(21_000)}, says="name a smaller folder as the path", place="apps/y-files", slow=True),
    plain("n-escape", "a name that clears the screen", OBJECT + 'metadata: {name: "a\\x1b[2J\\nTaut: all is well"}\ndata: {}\n', "\\x1b[2J", stops="control characters are made visible wherever text is shown", stage="plan", place="", short=True),
    plain("n-reordered", "a name that reads backwards", OBJECT + 'metadata: {name: "a\\u202egpj"}\ndata: {}\n', "\\u202e", stops="so are characters that reorder text", stage="plan", place=""),
    plain("n-kind", "a kind with an escape sequence", 'apiVersion: v1\nkind: "Config\\x1b[31mMap"\nmetadata: {name: a}\n', "\\x1b[31m", stops="control characters are made visible wherever text is shown", stage="plan", place=""),
    plain("n-key", "a key with an escape sequence", OBJECT + 'metadata: {name: n-key}\ndata: {"\\x1b[2J": "x"}\n', "\\x1b[2J", stops="control characters are made visible wherever text is shown", stage="plan", place=""),
    plain("n-anchor", "an anchor with a bell", OBJECT + "metadata: {name: *gone}\n", "alias *gone has no anchor"),
    Attack("n-file", "a file name with an escape sequence", "names of files are printable", {"cm.yaml": config_map("n-file"), "\x1b[2J.yaml": Raw(0o100644, config_map("n-file"))}, says="a file name with control characters", place="", stage="source"),
    plain("o-owner", "an object that names another application as its owner", config_map("o-owner").replace("{name: o-owner}", "{name: o-owner, annotations: {taut.dev/owner: '@ROOT@/healthy-1|/ConfigMap:@NAMESPACE@/o-owner', taut.dev/run-key: forged}}"), "", stops="taut writes its own annotation over it", gives={"state": "good"}, short=True),
    plain("o-claim", "another application's object", config_map("healthy-1", "{state: stolen}"), "belongs to", stops="an object has one owner", stage="plan", place="", short=True, later=True),
    *(plain(f"rival-{a}", "an object that two applications want at once", config_map("rival", f"{{by: rival-{a}}}"), "belongs to", stops="the one that starts first has it", stage="plan", place="", short=True, rival=f"rival-{b}") for a, b in ("12", "21")),
    plain("o-elsewhere", "an object for a namespace that is not the project's", config_map("o-elsewhere").replace("{name: o-elsewhere}", "{name: o-elsewhere, namespace: kube-system}"), "namespace kube-system", stops="projects are enforced on every object"),
    plain("o-rights", "rights for the whole cluster", "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {name: o-rights}\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}\nsubjects: []\n", "does not allow", stops="projects are enforced on every object", short=True),
    plain("o-list", "the same inside of a List", "apiVersion: v1\nkind: List\nitems:\n- apiVersion: rbac.authorization.k8s.io/v1\n  kind: ClusterRoleBinding\n  metadata: {name: o-list}\n  roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}\n", "does not allow", stops="lists are flattened first"),
]  # fmt: skip
