from __future__ import annotations

from pathlib import Path

import pytest

from taut.model.errors import BadInput, RenderError
from taut.prison.limits import Limits
from taut.render.reach import Reach, join, normal
from taut.render.worktree import WorkTree


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for path in ("a/one.txt", "a/b/two.txt", "c/three.txt"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(path)
    return tmp_path


def reach(root: Path, **limits: int) -> Reach:
    return Reach(WorkTree(root), "repo", Limits(**limits))


@pytest.mark.parametrize(
    ("folder", "reference", "expected"),
    [("a/b", "../x", "a/x"), ("", "./x/", "x"), ("a", "..", ""), ("a", "../../x", "../x"), ("", ".", "")],
)
def test_joining(folder: str, reference: str, expected: str) -> None:
    assert join(folder, reference) == expected
    assert normal("/" + reference) is not None


def test_what_was_read_and_what_was_not_there(root: Path) -> None:
    look = reach(root)
    assert look.take("a/one.txt") == b"a/one.txt"
    assert look.take("a/none.txt") is None
    assert look.take("z/deep/none.txt") is None
    assert look.take("a") is None
    closure = look.closure()
    assert set(closure.files) == {"a/one.txt"}
    assert closure.absent == {"a/none.txt", "z/deep/none.txt"}
    assert closure.same_in(WorkTree(root))
    (root / "z").mkdir()
    (root / "z/other").write_text("")
    assert closure.same_in(WorkTree(root)), "the folder came without what was looked for in it"
    (root / "z/deep").symlink_to("../c")
    assert not closure.same_in(WorkTree(root)), "a link on the way leads elsewhere"
    (root / "z/deep").unlink()
    (root / "z/deep").mkdir()
    (root / "z/deep/none.txt").write_text("")
    assert not closure.same_in(WorkTree(root))


def test_what_is_there_and_is_no_file(root: Path) -> None:
    """A folder where a file was looked for, and the other way round: only what it is counts, and it must not go unnoticed."""
    look = reach(root)
    assert look.take("c") is None
    assert not look.is_folder("a/one.txt")
    closure = look.closure()
    assert closure.files == {"c": "folder", "a/one.txt": "file"}
    (root / "c/more.txt").write_text("")
    (root / "a/one.txt").write_text("changed")
    assert closure.same_in(WorkTree(root))
    (root / "c").rename(root / "d")
    (root / "c").write_text("")
    assert not closure.same_in(WorkTree(root))
    (root / "c").unlink()
    (root / "d").rename(root / "c")
    assert closure.same_in(WorkTree(root))
    (root / "a/one.txt").unlink()
    (root / "a/one.txt").mkdir()
    (root / "a/one.txt/x").write_text("")
    assert not closure.same_in(WorkTree(root))


def test_names_that_no_renderer_chooses_by_do_not_matter(root: Path) -> None:
    look = reach(root)
    look.listing("c")
    look.listing("a", every=True)
    look.listing("a")
    closure = look.closure()
    for name in ("c/README.md", "c/.hidden.yaml", "c/OWNERS"):
        (root / name).write_text("")
    (root / "c/three.txt").chmod(0o755)
    assert closure.same_in(WorkTree(root))
    for name in ("c/x.yaml", "c/x.json", "c/x.jsonnet", "a/README.md"):
        (root / name).write_text("")
        assert not closure.same_in(WorkTree(root)), name
        (root / name).unlink()
    (root / "c/folder").mkdir()
    (root / "c/folder/x").write_text("")
    assert not closure.same_in(WorkTree(root))


def test_links_are_followed_and_recorded(root: Path) -> None:
    (root / "link").symlink_to("a/b")
    (root / "a/b/up.txt").symlink_to("../one.txt")
    look = reach(root)
    assert look.take("link/up.txt") == b"a/one.txt"
    assert set(look.closure().files) == {"link", "a/b/up.txt", "a/one.txt"}
    assert {(f.path, f.target) for f in look.links()} == {("link", "a/b"), ("a/b/up.txt", "../one.txt")}
    (root / "link").unlink()
    (root / "link").write_text("a/b")
    assert not look.closure().same_in(WorkTree(root)), "a file with the link's text is no link"


@pytest.mark.parametrize("target", ["/etc/hostname", "../outside", "a/../../x", "b/../../.."])
def test_links_that_leave(root: Path, target: str) -> None:
    (root / "link").symlink_to(target)
    with pytest.raises(RenderError, match="leaves the repository") as caught:
        reach(root).take("link")
    assert caught.value.where.file == "link"


def test_links_that_lead_in_a_circle(root: Path) -> None:
    (root / "one").symlink_to("two")
    (root / "two").symlink_to("one")
    with pytest.raises(RenderError, match="circle"):
        reach(root).take("one")
    (root / "a/self").symlink_to(".")
    with pytest.raises(RenderError, match="circle"):
        reach(root).take_folder("a")
    (root / "a/self").unlink()
    (root / "a/b/to_c").symlink_to("../../c")
    (root / "c/to_a").symlink_to("../a")
    with pytest.raises(RenderError, match="circle"):
        reach(root).take_folder("a")


def test_a_link_to_nothing_is_absent(root: Path) -> None:
    (root / "link").symlink_to("later.txt")
    look = reach(root)
    assert look.take("link") is None
    assert look.closure().absent == {"later.txt"}


def test_a_path_that_leaves(root: Path) -> None:
    with pytest.raises(RenderError, match="leaves the repository"):
        reach(root).take("../x")


def test_folders_listings_and_limits(root: Path) -> None:
    look = reach(root)
    assert look.take_folder("a") == 2
    assert [e.name for e in look.listing("c")] == ["three.txt"]
    closure = look.closure()
    assert set(closure.folders) == {"a"}
    assert set(closure.listings) == {"c"}
    (root / "c/three.txt").write_text("changed")
    assert closure.same_in(WorkTree(root))
    (root / "c/four.yaml").write_text("")
    assert not closure.same_in(WorkTree(root))
    with pytest.raises(BadInput, match="more than 3"):
        reach(root, file_bytes=3).take("a/one.txt")
    with pytest.raises(BadInput, match="than a render may read"):
        reach(root, input_files=1).take_folder("a")
    with pytest.raises(BadInput, match="than a render may read"):
        reach(root, input_bytes=10).take_folder("a")


def test_the_working_copy_leaves_git_out_and_follows_no_link(root: Path) -> None:
    (root / ".git").mkdir()
    (root / ".git/config").write_text("x")
    (root / "dir").symlink_to("a")
    tree = WorkTree(root)
    assert [e.name for e in tree.folder("")] == ["a", "c", "dir"]
    assert tree.entry(".git/config") is None
    assert tree.entry("dir/one.txt") is None
    assert tree.entry("../x") is None
    assert [p for p, _ in tree.walk("")] == ["a/b/two.txt", "a/one.txt", "c/three.txt", "dir"]
    assert tree.size("a/one.txt") == 9
    for missing in ("none", "dir/one.txt", "a"):
        with pytest.raises(KeyError):
            tree.read(missing)
    with pytest.raises(KeyError):
        tree.folder("a/one.txt")
    assert WorkTree(root).hash == tree.hash
    (root / "a/one.txt").write_text("changed")
    assert WorkTree(root).hash != tree.hash
    with pytest.raises(BadInput):
        WorkTree(root / "none")
