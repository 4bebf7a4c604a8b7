"""The status pages in a folder, and on a branch of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from reconciler.errors import Conflict, ReconcilerError, Transient, UsageError
from reconciler.model import Condition, Record, Ref, Source, Word
from reconciler.report.pages import HEADER
from reconciler.telling.status_branch import commit_status, push_status
from reconciler.telling.status_pages import our_pages, write_pages, write_status
from tests.conftest import GitRepository

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(minutes=10)
RECORD = Record("r-1", "c0ffee", "sha256:00", NOW, NOW, (), {}, {"dead": "timed out"}, {}, 5)
RULE = Ref("DataRule", "cms", "higgs")
TOOL = Ref("SoftwareUpload", "atlas", "root")
SITE = Ref("Provider", "", "recas")


def standing(
    ref: Ref, word: Word = Word.READY, reason: str = "", message: str = "", who: str = ""
) -> Condition:
    return Condition(ref, word, reason, message, who, Source("data/higgs.yaml", 3), NOW)


def conditions(*entries: Condition) -> Mapping[Ref, Condition]:
    return {entry.ref: entry for entry in entries}


SOME = conditions(
    standing(SITE),
    standing(TOOL),
    replace(standing(RULE, Word.FAILED, "Denied", "403 Forbidden", "author"), next_try=LATER),
)


def content(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


# --- the folder ---


def test_there_is_an_index_a_page_a_group_and_data(tmp_path: Path) -> None:
    changed = write_status(RECORD, SOME, tmp_path / "status")
    pages = content(tmp_path / "status")
    assert set(changed) == set(pages) == set(our_pages(tmp_path / "status"))
    assert {"index.md", "status.json", "groups/cms.md", "groups/atlas.md"} <= set(pages)
    assert len(pages) == 5
    assert json.loads(pages["status.json"])["summary"]["Failed"] == 1


def test_a_page_says_what_a_tired_person_must_know(tmp_path: Path) -> None:
    write_status(RECORD, SOME, tmp_path)
    index, page = (tmp_path / "index.md").read_text(), (tmp_path / "groups" / "cms.md").read_text()
    for said in ("1 Failed", "2 Ready", "dead", "timed out", "cms", "atlas"):
        assert said in index
    for said in ("Denied", "403 Forbidden", "data/higgs.yaml:3", "2026-03-01 12:00", "12:10", "author"):
        assert said in page
    assert str(TOOL) not in page


def test_a_quiet_pass_rewrites_nothing(tmp_path: Path) -> None:
    write_status(RECORD, SOME, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    later = replace(RECORD, run="r-2", started=LATER, finished=LATER)
    assert write_status(later, SOME, tmp_path) == ()
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_only_what_changed_is_rewritten(tmp_path: Path) -> None:
    write_status(RECORD, SOME, tmp_path)
    changed = write_status(RECORD, {**SOME, TOOL: standing(TOOL, Word.HELD, "Locked")}, tmp_path)
    assert "groups/atlas.md" in changed
    assert "index.md" in changed
    assert "groups/cms.md" not in changed
    assert write_status(replace(RECORD, revision="beef"), SOME, tmp_path)


def test_pages_of_groups_that_are_gone_go_and_others_stay(tmp_path: Path) -> None:
    write_status(RECORD, SOME, tmp_path)
    (tmp_path / "README.md").write_text("mine")
    (tmp_path / "groups" / "notes.md").write_text("mine too")
    changed = write_status(RECORD, conditions(standing(TOOL)), tmp_path)
    assert "groups/cms.md" in changed
    assert not (tmp_path / "groups" / "cms.md").exists()
    assert (tmp_path / "README.md").read_text() == "mine"
    assert (tmp_path / "groups" / "notes.md").read_text() == "mine too"


def test_a_link_is_replaced_never_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    (tmp_path / "status").mkdir()
    (tmp_path / "status" / "index.md").symlink_to(precious)
    write_status(RECORD, SOME, tmp_path / "status")
    assert precious.read_text() == "precious"
    assert not (tmp_path / "status" / "index.md").is_symlink()


HOSTILE = (
    "x`y\n# Plan: 0 to delete\n<script>alert(1)</script> @all ![i](http://e/i) | \x1b[31m\u202e</details> #1"
)


@pytest.mark.parametrize("name", [HOSTILE, "../../escape", "index", "status.json", "", "a" * 300, "Ünï"])
def test_a_hostile_group_stays_text_in_the_folder(tmp_path: Path, name: str) -> None:
    ref = Ref("DataRule", name, "rule")
    folder = tmp_path / "deep" / "status"
    write_status(RECORD, conditions(standing(ref, Word.FAILED, "Denied", HOSTILE, HOSTILE)), folder)
    found = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(found) == 3
    assert all(folder in path.parents for path in found)
    for path in (path for path in found if path.suffix == ".md"):
        harmless(path.read_text())
    assert json.loads((folder / "status.json").read_text())["conditions"][0]["message"] == HOSTILE


def harmless(page: str) -> None:
    """Outside of code spans there is none of the hostile text, and no line is what it wanted to be."""
    assert "\x1b" not in page
    assert "\u202e" not in page
    for line in page.splitlines():
        assert not line.startswith(("# Plan", "</details", "<script"))
    outside = "".join(_outside_code(page))
    assert "<script" not in outside
    assert "@all" not in outside
    assert "](http" not in outside


def _outside_code(page: str) -> Iterator[str]:
    """What is not in a code span: a run of ticks up to the next run of the same length."""
    position = 0
    while (start := page.find("`", position)) >= 0:
        yield page[position:start]
        length = len(page[start:]) - len(page[start:].lstrip("`"))
        end = start + length
        while (end := page.find("`" * length, end)) >= 0:
            run = len(page[end:]) - len(page[end:].lstrip("`"))
            if run == length:
                break
            end += run
        if end < 0:
            position = start + length
            continue
        position = end + length
    yield page[position:]


def test_many_objects_stay_readable(tmp_path: Path) -> None:
    refs = [Ref("DataRule", "cms", f"rule-{number}") for number in range(10_000)]
    write_status(
        RECORD, conditions(*(standing(ref, Word.FAILED, "Denied", "x" * 4000) for ref in refs)), tmp_path
    )
    assert all(path.stat().st_size < 500_000 for path in tmp_path.rglob("*.md"))


KILLED = """
import os, sys
from pathlib import Path
from reconciler.telling import status_pages
folder, stop = Path(sys.argv[1]), int(sys.argv[2])
left = stop
def audit(event, arguments):
    global left
    if event in ("open", "os.rename", "os.remove", "os.mkdir", "tempfile.mkstemp", "os.chmod"):
        left -= 1
        if left < 0:
            os._exit(9)
sys.addaudithook(audit)
status_pages.write_pages({"index.md": status_pages.HEADER + " new", "status.json": "{}"}, folder)
"""


def test_a_kill_at_any_moment_leaves_whole_pages(tmp_path: Path) -> None:
    killed = 0
    for moment in range(60):
        folder = tmp_path / str(moment)
        write_pages({"index.md": HEADER + " old", "groups/a.md": HEADER, "status.json": "[]"}, folder)
        done = subprocess.run([sys.executable, "-c", KILLED, folder, str(moment)], check=False)
        assert (folder / "index.md").read_text() in (HEADER + " old", HEADER + " new")
        killed += done.returncode == 9
        write_pages({"index.md": HEADER + " end", "status.json": "1"}, folder)
        assert content(folder) == {"index.md": HEADER + " end", "status.json": "1"}
        if done.returncode == 0:
            break
    assert killed > 5


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="file"):
        write_status(RECORD, SOME, tmp_path / "file")
    assert not isinstance(UsageError("x"), Transient)


# --- the branch ---


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_status(RECORD, SOME, tmp_path / "status")
    return tmp_path / "status"


def commit(repository: GitRepository, folder: Path, branch: str = "status", *reading: str) -> str:
    return commit_status(repository.path, branch, folder, owner="lab", now=NOW, reading=reading)


def test_the_pages_are_committed_once(repository: GitRepository, folder: Path) -> None:
    head = repository.commit({"a.yaml": "a: 1"})
    (folder / "private.txt").write_text("not ours")
    done = commit(repository, folder)
    assert done == repository.git("rev-parse", "status")
    assert commit(repository, folder) == ""
    listed = repository.git("ls-tree", "-r", "--name-only", "status").splitlines()
    assert tuple(listed) == our_pages(folder)
    assert repository.git("show", "status:index.md") == (folder / "index.md").read_text().strip()
    assert repository.git("rev-parse", "HEAD") == head
    assert repository.git("status", "--porcelain") == ""
    assert repository.git("rev-list", "--max-parents=0", "status") == done


def test_a_change_is_a_commit_on_top(repository: GitRepository, folder: Path) -> None:
    repository.commit({"a.yaml": "a: 1"})
    first = commit(repository, folder)
    write_status(RECORD, conditions(standing(TOOL)), folder)
    second = commit(repository, folder)
    assert repository.git("rev-parse", f"{second}^") == first
    assert repository.git("log", "-1", "--format=%an|%aI|%s", second) == (
        "Reconciler lab|2026-03-01T12:00:00+00:00|Status"
    )
    assert "groups/cms.md" not in repository.git("ls-tree", "-r", "--name-only", "status")


def test_no_hook_of_the_repository_runs(repository: GitRepository, folder: Path) -> None:
    repository.commit({"a.yaml": "a: 1"})
    for name in ("reference-transaction", "post-commit", "pre-commit"):
        hook = repository.path / ".git" / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\ntouch {repository.path}/ran\n")
        hook.chmod(0o755)
    commit(repository, folder)
    assert not (repository.path / "ran").exists()


@pytest.mark.parametrize("branch", ["main", "production", "release"])
def test_a_branch_that_is_read_or_not_ours_is_refused(
    repository: GitRepository, folder: Path, branch: str
) -> None:
    head = repository.commit({"a.yaml": "a: 1"})
    repository.git("branch", "release")
    with pytest.raises(UsageError, match=branch):
        commit(repository, folder, branch, "refs/heads/production", "main")
    assert repository.git("rev-parse", "main", "release").split() == [head, head]
    assert repository.git("branch", "--list", "production") == ""


def test_the_branch_of_another_owner_is_refused(repository: GitRepository, folder: Path) -> None:
    repository.commit({"a.yaml": "a: 1"})
    first = commit_status(repository.path, "status", folder, owner="other", now=NOW)
    write_status(RECORD, conditions(standing(TOOL)), folder)
    with pytest.raises(UsageError, match="lab"):
        commit(repository, folder)
    assert repository.git("rev-parse", "status") == first


@pytest.mark.parametrize(
    "branch", ["", "-f", "--upload-pack=x", "a b", "a..b", "x.lock", "a\nb", "@{-1}", "a:b"]
)
def test_no_option_is_taken_for_a_branch(repository: GitRepository, folder: Path, branch: str) -> None:
    repository.commit({"a.yaml": "a: 1"})
    before = repository.git("for-each-ref")
    with pytest.raises(UsageError):
        commit(repository, folder, branch)
    assert repository.git("for-each-ref") == before


@pytest.fixture
def remote(tmp_path: Path, repository: GitRepository) -> GitRepository:
    """A bare repository behind a URL, and `repository` as our private mirror of it."""
    path = tmp_path / "remote.git"
    subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch", "main", path], check=True)
    repository.commit({"a.yaml": "a: 1"})
    repository.git("push", "--quiet", str(path), "main")
    return GitRepository(path)


def push(mirror: GitRepository, remote: GitRepository, folder: Path) -> str:
    return push_status(mirror.path, f"file://{remote.path}", "status", folder, owner="lab", now=NOW)


def test_the_branch_behind_a_url_is_pushed(
    repository: GitRepository, remote: GitRepository, folder: Path
) -> None:
    done = push(repository, remote, folder)
    assert remote.git("rev-parse", "status") == done
    assert push(repository, remote, folder) == ""
    assert repository.git("branch", "--list") == "* main"
    write_status(RECORD, conditions(standing(TOOL)), folder)
    second = push(repository, remote, folder)
    assert remote.git("rev-parse", "status", "status^").split() == [second, done]


def test_two_mirrors_push_on_top_of_each_other(
    tmp_path: Path, repository: GitRepository, remote: GitRepository, folder: Path
) -> None:
    other = GitRepository(tmp_path / "other")
    subprocess.run(["git", "clone", "--quiet", "--bare", remote.path, other.path], check=True)
    first = push(repository, remote, folder)
    write_status(RECORD, conditions(standing(TOOL)), folder)
    push(other, remote, folder)
    assert remote.git("rev-parse", "status^") == first


def test_a_foreign_branch_behind_a_url_is_left_alone(
    repository: GitRepository, remote: GitRepository, folder: Path
) -> None:
    repository.git("push", "--quiet", str(remote.path), "main:refs/heads/status")
    before = remote.git("for-each-ref")
    with pytest.raises(UsageError, match="not the status branch"):
        push(repository, remote, folder)
    assert remote.git("for-each-ref") == before


def test_a_remote_that_refuses_is_said(
    repository: GitRepository, remote: GitRepository, folder: Path
) -> None:
    hook = remote.path / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho s3cret >&2\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(Transient) as error:
        push(repository, remote, folder)
    assert "s3cret" not in str(error.value)
    assert remote.git("branch", "--list", "status") == ""


@pytest.mark.parametrize("url", ["ext::sh -c id", "--upload-pack=x", "https://user:s3cret@example.org/x"])
def test_dangerous_urls_are_refused(repository: GitRepository, folder: Path, url: str) -> None:
    repository.commit({"a.yaml": "a: 1"})
    with pytest.raises(ReconcilerError) as error:
        push_status(repository.path, url, "status", folder, owner="lab", now=NOW)
    assert "s3cret" not in str(error.value)


def test_a_repository_that_cannot_be_written_is_said(repository: GitRepository, folder: Path) -> None:
    repository.commit({"a.yaml": "a: 1"})
    lock = repository.path / ".git" / "refs" / "heads" / "status.lock"
    lock.write_text("")
    with pytest.raises(Conflict):
        commit(repository, folder)
    lock.unlink()
    assert commit(repository, folder)
    assert os.listdir(folder)
