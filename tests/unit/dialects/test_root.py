from pathlib import Path

import pygit2
import pytest

from taut.dialects.root import read_root
from taut.documents.yaml import Limits
from taut.model.snapshot import Tree
from taut.sources.tree import GitTree, ObjectStore

GOOD = (
    "apiVersion: taut.dev/v1\nkind: Application\nmetadata: {{name: {name}}}\nspec: {{source: {{git: 'https://x/y'}}}}\n"
)


def tree_of(path: Path, files: dict[str, bytes], links: tuple[str, ...] = ()) -> Tree:
    """A tree of a real Git repository."""
    repository = pygit2.init_repository(str(path), bare=True)
    index = pygit2.Index()
    for name, content in files.items():
        mode = pygit2.enums.FileMode.LINK if name in links else pygit2.enums.FileMode.BLOB
        index.add(pygit2.IndexEntry(name, repository.create_blob(content), mode))
    return GitTree(ObjectStore(path), str(index.write_tree(repository)))


def doc(name: str) -> bytes:
    return GOOD.format(name=name).encode()


def test_all_documents_below_the_folder_and_nothing_else(tmp_path: Path):
    tree = tree_of(
        tmp_path,
        {
            "taut/a.yaml": doc("a"),
            "taut/deep/er/b.yml": doc("b"),
            "taut/c.json": b'{"apiVersion":"taut.dev/v1","kind":"Application","metadata":{"name":"c"},"spec":{"source":{"git":"https://x/y"}}}',
            "taut/README.md": b"# no document",
            "taut/.hidden/x.yaml": b"x: [",
            "taut/.x.yaml": b"x: [",
            "taut/empty.yaml": b"# nothing\n",
            "apps/broken.yaml": b"x: [",
        },
    )
    found = read_root(tree, "taut", root="fleet")
    assert not found.problems
    assert sorted(t.name for t in found.applications) == ["a", "b", "c"]
    assert {t.place.root for t in found.applications} == {"fleet"}


@pytest.mark.parametrize("path", ["", ".", "./"])
def test_the_whole_repository_can_be_a_root(tmp_path: Path, path: str):
    found = read_root(tree_of(tmp_path, {"a.yaml": doc("a"), "x/b.yaml": doc("b")}), path, root="fleet")
    assert sorted(t.name for t in found.applications) == ["a", "b"]


def test_each_fault_stays_with_its_file(tmp_path: Path):
    files = {
        "t/a.yaml": doc("a"),
        "t/broken.yaml": b"x: 1\ny: [\n",
        "t/large.yaml": b"# " + b"x" * 5000 + b"\n" + doc("large"),
        "t/link.yaml": b"/etc/passwd",
        "t/stray.yaml": b"apiVersion: v1\nkind: ConfigMap\n",
    }
    found = read_root(tree_of(tmp_path, files, ("t/link.yaml",)), "t", root="fleet", limits=Limits(bytes=4000))
    assert [t.name for t in found.applications] == ["a"]
    assert {(p.where.file, p.where.line) for p in found.problems} == {
        ("t/broken.yaml", 2),
        ("t/large.yaml", 0),
        ("t/link.yaml", 0),
        ("t/stray.yaml", 1),
    }
    assert found.doubtful == {"t/broken.yaml", "t/large.yaml", "t/link.yaml", "t/stray.yaml"}
    assert any("symbolic link" in p.what for p in found.problems)


@pytest.mark.parametrize(
    ("path", "what"), [("nowhere", "there is no folder"), ("a.yaml", "is no folder"), ("../x", "there is no folder")]
)
def test_a_folder_that_is_not_there(tmp_path: Path, path: str, what: str):
    (problem,) = read_root(tree_of(tmp_path, {"a.yaml": doc("a")}), path, root="fleet").problems
    assert what in problem.what


def test_names_and_projects_that_are_claimed_twice_count_for_none(tmp_path: Path):
    project = b"apiVersion: taut.dev/v1\nkind: Project\nmetadata: {name: team}\n"
    files = {
        "t/a.yaml": doc("same"),
        "t/b.yaml": doc("same"),
        "t/c.yaml": doc("c"),
        "t/p.yaml": project,
        "t/q.yaml": project,
    }
    found = read_root(tree_of(tmp_path, files), "t", root="fleet")
    assert [t.name for t in found.applications] == ["c"]
    assert found.projects == ()
    texts = [str(p) for p in found.problems]
    assert any(text.startswith("t/a.yaml:3") and "t/b.yaml:1" in text for text in texts)
    assert any(text.startswith("t/b.yaml:3") and "t/a.yaml:1" in text for text in texts)
    assert found.doubtful >= {"t/a.yaml", "t/b.yaml"}


def test_two_generators_may_use_the_same_words_for_names(tmp_path: Path):
    """Which names they come to is known when both are expanded: `for_each.without_duplicates` looks at those."""
    each = "apiVersion: taut.dev/v1\nkind: Application\nmetadata: {{name: '{{{{ folder.name }}}}'}}\nspec: {{forEach: {{folders: '{folder}/*'}}, source: {{git: 'https://x/y'}}}}\n"
    text = each.format(folder="apps") + "---\n" + each.format(folder="tools")
    found = read_root(tree_of(tmp_path, {"taut/all.yaml": text.encode()}), "taut", root="fleet", limits=Limits())
    assert found.problems == ()
    assert len(found.applications) == 2
