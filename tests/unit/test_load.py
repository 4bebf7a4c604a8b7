"""From a commit, or a working tree, to documents."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from reconciler.errors import InvalidRepository
from reconciler.source.git import Repository, open_repository
from reconciler.source.snapshot import Snapshot
from reconciler.stages.load import load, load_worktree
from tests.conftest import GitRepository

GROUP = "apiVersion: reconciler/v1\nkind: UserGroup\nmetadata: {{name: {0}}}\nspec: {{}}\n"
SETTINGS = "owner: test-1\n"


def group(name: str) -> str:
    return GROUP.format(name)


def opened(repository: GitRepository) -> Repository:
    return open_repository(str(repository.path), Path("/nowhere"))


def loaded(repository: GitRepository, cache: Path | None = None, ref: str = "HEAD") -> Snapshot:
    there = opened(repository)
    return load(there, there.resolve(ref), cache)


def names(snapshot: Snapshot) -> list[str]:
    return [document.value["metadata"]["name"] for document in snapshot.documents]


def test_objects_of_ours_are_found_wherever_they_are(repository: GitRepository) -> None:
    repository.commit(
        {
            "reconciler.yaml": SETTINGS,
            "groups/a.yaml": group("a") + "---\n" + group("b"),
            "any/where/c.yml": "# hello\n\n" + group("c"),
            "other.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n",
            "list.yaml": "- 1\n- 2\n",
            ".gitlab-ci.yml": "a: !reference [x]\n",
            ".hidden/d.yaml": group("d"),
            "catalogue/x/e.yaml": group("e"),
            "roles/x/meta/f.yaml": group("f"),
            "deep/roles/g.yaml": group("g"),
            "notes.txt": group("h"),
        }
    )
    snapshot = loaded(repository)
    assert names(snapshot) == ["c", "g", "a", "b"]
    assert [(entry.path, entry.line, entry.index) for entry in snapshot.documents] == [
        ("any/where/c.yml", 3, 0),
        ("deep/roles/g.yaml", 1, 0),
        ("groups/a.yaml", 1, 0),
        ("groups/a.yaml", 6, 1),
    ]
    assert (snapshot.problems, snapshot.unreadable) == ((), False)
    assert snapshot.settings == {"owner": "test-1"}
    assert snapshot.committed.tzinfo is UTC
    assert abs((datetime.now(UTC) - snapshot.committed).total_seconds()) < 3600


def test_what_looks_like_ours_is_not_passed_over(repository: GitRepository) -> None:
    repository.commit(
        {
            "a.yaml": "kind: UserGroup\nmetadata: {name: a}\n",
            "b.yaml": "apiVersion: reconciler/v9\nkind: UserGroup\nmetadata: {name: b}\n",
            "c.yaml": "apiVersion: Reconciler/v1\nkind: UserGroup\nmetadata: {name: c}\n",
            "d.yaml": "apiVersion: reconcilers.example.org/v1\nkind: UserGroup\nmetadata: {name: d}\n",
            "e.yaml": "kind: UserGroup\n",
        }
    )
    assert names(loaded(repository)) == ["a", "b", "c"]


def test_a_file_that_cannot_be_read_is_said(repository: GitRepository) -> None:
    repository.commit({"a.yaml": group("a"), "b.yaml": "a: [\n"})
    snapshot = loaded(repository)
    assert names(snapshot) == ["a"]
    assert snapshot.unreadable
    assert [(p.path, p.line, p.code) for p in snapshot.problems] == [("b.yaml", 2, "Syntax")]


def test_the_commit_is_read_and_not_the_files(repository: GitRepository) -> None:
    first = repository.commit({"a.yaml": group("a")})
    repository.commit({"a.yaml": group("b")})
    repository.write({"a.yaml": group("c"), "new.yaml": group("d")})
    assert names(loaded(repository)) == ["b"]
    assert names(loaded(repository, ref=first)) == ["a"]
    assert names(load_worktree(repository.path)) == ["c", "d"]


def test_the_working_tree_knows_ignored_deleted_and_changed_files(
    repository: GitRepository, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    repository.commit(
        {".gitignore": "build/\n", "a.yaml": group("a"), "b.yaml": group("b"), "c.yaml": group("c")}
    )
    repository.write(
        {"build/x.yaml": group("x"), "b.yaml": None, "c.yaml": group("changed"), "d.yaml": group("d")}
    )
    for _ in range(2):
        snapshot = load_worktree(repository.path, cache)
        assert names(snapshot) == ["a", "changed", "d"]
        snapshot.cache.save()
    assert names(load_worktree(repository.path / "build")) == []


def test_a_directory_without_git_is_walked(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / ".dot").mkdir()
    for name in ("a", "sub/b", ".dot/c"):
        (tmp_path / f"{name}.yaml").write_text(group(name[-1]))
    assert names(load_worktree(tmp_path)) == ["a", "b"]


def test_the_cache_changes_nothing_but_the_time(repository: GitRepository, tmp_path: Path) -> None:
    files = {f"g/{index}.yaml": group(f"g{index}") for index in range(20)}
    repository.commit({**files, "reconciler.yaml": SETTINGS, "bad.yaml": "a: [\n"})
    cold = loaded(repository, tmp_path)
    cold.cache.save()
    (file,) = tmp_path.glob("blobs-head-*.json")
    before = file.read_bytes()
    warm = loaded(repository, tmp_path)
    warm.cache.save()
    assert warm == cold
    assert not warm.cache.changed
    assert file.read_bytes() == before
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("damage", ["", "{}", "garbage\n{}", "\x00", "[" * 100000])
def test_a_damaged_cache_is_ignored_and_written_anew(
    repository: GitRepository, tmp_path: Path, damage: str
) -> None:
    repository.commit({"a.yaml": group("a")})
    loaded(repository, tmp_path).cache.save()
    (file,) = tmp_path.glob("blobs-head-*.json")
    good = file.read_bytes()
    file.write_text(damage)
    snapshot = loaded(repository, tmp_path)
    assert names(snapshot) == ["a"]
    snapshot.cache.save()
    assert file.read_bytes() == good


def test_a_changed_byte_in_the_cache_is_noticed(repository: GitRepository, tmp_path: Path) -> None:
    repository.commit({"a.yaml": group("a")})
    loaded(repository, tmp_path).cache.save()
    (file,) = tmp_path.glob("blobs-head-*.json")
    file.write_bytes(file.read_bytes().replace(b'"name":"a"', b'"name":"b"'))
    assert names(loaded(repository, tmp_path)) == ["a"]


def test_three_trees_share_a_cache_without_pushing_each_other_out(
    repository: GitRepository, tmp_path: Path
) -> None:
    commits = [repository.commit({"a.yaml": group("a"), "b.yaml": group(f"b{turn}")}) for turn in range(5)]
    for commit in commits[:3]:
        loaded(repository, tmp_path, commit).cache.save()
    for commit in commits[:3] * 2:
        assert not loaded(repository, tmp_path, commit).cache.changed
    for commit in commits[3:]:
        loaded(repository, tmp_path, commit).cache.save()
    (file,) = tmp_path.glob("blobs-head-*.json")
    assert len(json.loads(file.read_bytes().partition(b"\n")[2])["entries"]) == 4


def test_the_trusted_cache_is_a_file_of_its_own(repository: GitRepository, tmp_path: Path) -> None:
    repository.commit({"a.yaml": group("a")})
    there = opened(repository)
    load(there, there.resolve("HEAD"), tmp_path, trusted=True).cache.save()
    assert [file.name[:14] for file in tmp_path.glob("blobs-*")] == ["blobs-trusted-"]


def test_branches_tags_and_parents_are_resolved(repository: GitRepository) -> None:
    first = repository.commit({"a.yaml": "1\n"})
    second = repository.commit({"a.yaml": "2\n"})
    repository.git("tag", "-a", "-m", "x", "v1", first)
    there = opened(repository)
    assert there.resolve("main") == there.resolve("HEAD") == there.resolve(second[:10]) == second
    assert there.resolve("v1") == there.resolve("HEAD~1") == there.resolve("main^") == first
    assert there.first_parent(second) == first
    assert there.first_parent(first) is None
    assert there.is_ancestor(first, second)
    assert not there.is_ancestor(second, first)
    assert not there.is_ancestor("0" * 40, first)
    assert there.changed_paths(first, second) == ("a.yaml",)
    assert there.default_trusted_ref() is None


def test_a_vanished_branch_is_explained(repository: GitRepository) -> None:
    repository.commit({"a.yaml": "1\n"})
    repository.git("branch", "feature")
    with pytest.raises(InvalidRepository) as caught:
        opened(repository).resolve("featur")
    assert "there is no branch, tag or commit 'featur'" in str(caught.value)
    assert "nothing was changed" in str(caught.value)
    assert caught.value.hint == "did you mean feature?"


def test_a_repository_without_a_commit_is_explained(repository: GitRepository) -> None:
    with pytest.raises(InvalidRepository, match="has no commit yet"):
        opened(repository).resolve("HEAD")


def test_dirty_is_said(repository: GitRepository) -> None:
    repository.commit({"a.yaml": "1\n"})
    assert not opened(repository).is_dirty()
    repository.write({"b.yaml": "1\n"})
    assert opened(repository).is_dirty()


def test_a_folder_inside_a_repository_is_not_the_repository(repository: GitRepository) -> None:
    repository.commit({"sub/a.yaml": group("a")})
    with pytest.raises(InvalidRepository, match="a folder inside the repository"):
        open_repository(str(repository.path / "sub"), Path("/nowhere"))
    assert names(load_worktree(repository.path / "sub")) == ["a"]


def test_a_url_is_mirrored_and_fetched_again(repository: GitRepository, tmp_path: Path) -> None:
    repository.commit({"a.yaml": group("a")})
    repository.git("branch", "gone")
    url = f"file://{repository.path}"
    for _ in range(2):
        there = open_repository(url, tmp_path / "cache")
        assert names(load(there, there.resolve("main"), None)) == ["a"]
        assert there.default_trusted_ref() == "HEAD"
        assert not there.is_dirty()
    (mirror,) = (folder for folder in (tmp_path / "cache" / "mirrors").iterdir() if folder.is_dir())
    assert mirror.stat().st_mode & 0o777 == 0o700
    repository.commit({"a.yaml": group("b")})
    repository.git("branch", "-D", "gone")
    for left_by_a_kill in ("packed-refs.lock", "refs/heads/main.lock", "HEAD.lock"):
        (mirror / left_by_a_kill).touch()
    there = open_repository(url, tmp_path / "cache")
    assert names(load(there, there.resolve("HEAD"), None)) == ["b"]
    with pytest.raises(InvalidRepository, match="there is no branch"):
        there.resolve("gone")


def test_many_may_fetch_one_url_at_once(repository: GitRepository, tmp_path: Path) -> None:
    url = f"file://{repository.path}"
    for turn in range(3):
        commit = repository.commit({"a.yaml": group(f"a{turn}")})
        with ThreadPoolExecutor(6) as pool:
            found = list(pool.map(lambda _: open_repository(url, tmp_path).resolve("main"), range(6)))
        assert found == [commit] * 6


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_repository_of_another_user_can_be_read(repository: GitRepository) -> None:
    commit = repository.commit({"a.yaml": group("a")})
    for path in (repository.path, *repository.path.rglob("*")):
        os.chown(path, 12345, 12345)
    there = opened(repository)
    assert there.resolve("HEAD") == commit
    assert not there.is_dirty()  # their filters are not run to find out
    assert names(loaded(repository)) == names(load_worktree(repository.path)) == ["a"]


def test_a_history_that_was_rewritten_is_followed(repository: GitRepository, tmp_path: Path) -> None:
    first = repository.commit({"a.yaml": group("a")})
    second = repository.commit({"a.yaml": group("b")})
    url = f"file://{repository.path}"
    assert open_repository(url, tmp_path).resolve("main") == second
    repository.git("reset", "--quiet", "--hard", first)
    there = open_repository(url, tmp_path)
    assert there.resolve("main") == first
    assert not there.is_ancestor(second, first)


def test_a_clone_trusts_the_head_of_its_remote(repository: GitRepository, tmp_path: Path) -> None:
    repository.commit({"a.yaml": group("a")})
    clone = GitRepository(tmp_path / "clone")
    repository.git("clone", "--quiet", str(repository.path), str(clone.path))
    clone.commit({"a.yaml": group("b")})
    there = opened(clone)
    assert there.default_trusted_ref() == "origin/main"
    assert names(load(there, there.resolve("origin/main"), None)) == ["a"]
