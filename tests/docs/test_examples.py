"""The example kind and back-end work where the how-to guides put them: in the source, and in a package."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import GitRepository

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "how-to" / "examples"
FILES = {
    "reconciler.yaml": "owner: example-x1\n",
    "recas.yaml": """\
apiVersion: reconciler/v1
kind: Provider
metadata:
  name: recas
spec:
  targets:
    - {name: board, type: noticeboard, path: board}
    - {name: rehearsal, type: simulated}
---
apiVersion: reconciler/v1
kind: UserGroup
metadata:
  name: cms
spec: {}
---
apiVersion: reconciler/v1
kind: Notice
metadata:
  name: stays
  group: cms
spec:
  target: recas.rehearsal
  text: So that the repository is never empty.
""",
}


def notice(target: str, text: str) -> str:
    return (
        "apiVersion: reconciler/v1\nkind: Notice\nmetadata:\n  name: cooling\n  group: cms\n"
        f"spec:\n  target: {target}\n  text: {text}\n"
    )


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A copy of the source with the example kind in it, and the example back-end as an installed package."""
    source = tmp_path / "source"
    shutil.copytree(ROOT / "reconciler", source / "reconciler", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "schemas", source / "schemas")
    shutil.copy(EXAMPLES / "notice.py", source / "reconciler" / "kinds")
    shutil.copy(EXAMPLES / "Notice.json", source / "schemas")
    shutil.copy(EXAMPLES / "noticeboard.py", source)
    package = source / "noticeboard-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: noticeboard\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text("[reconciler.drivers]\nnoticeboard = noticeboard:DRIVER\n")
    return source


def reconciler(source: Path, repository: GitRepository, *words: str) -> tuple[int, str]:
    """The command, from the copy of the source."""
    done = subprocess.run(
        [sys.executable, "-m", "reconciler", *words], cwd=repository.path, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(source)}, capture_output=True, timeout=60,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("target", ["recas.board", "recas.rehearsal"])
def test_a_notice_comes_changes_and_goes(
    source: Path, repository: GitRepository, home: Path, target: str
) -> None:
    def apply(change: str | None) -> str:
        repository.commit({"notice.yaml": change})
        code, told = reconciler(source, repository, "apply")
        assert code == 0, told
        again, quiet = reconciler(source, repository, "apply")
        assert (again, "Nothing to do" in quiet) == (0, True), quiet
        return told

    repository.commit(FILES)
    board = home / ".local/share/reconciler/example-x1/board"
    shown = target == "recas.board"
    assert "+ Notice/cms/cooling" in apply(notice(target, "No jobs on Sunday."))
    assert [path.name for path in board.glob("*")] == (["cms.cooling.json"] if shown else [])
    assert "text: No jobs on Sunday. → Jobs again." in apply(notice(target, "Jobs again."))
    assert not shown or "Jobs again." in (board / "cms.cooling.json").read_text()
    assert "- Notice/cms/cooling" in apply(None)
    assert list(board.glob("*")) == []


def test_what_somebody_else_wrote_stays(source: Path, repository: GitRepository, home: Path) -> None:
    file = home / ".local/share/reconciler/example-x1/board/cms.cooling.json"
    file.parent.mkdir(parents=True)
    file.write_text('{"spec": {"text": "by hand", "urgent": false}, "since": ""}')
    repository.commit({**FILES, "notice.yaml": notice("recas.board", "No jobs on Sunday.")})
    code, told = reconciler(source, repository, "apply")
    assert (code, "NotOurs" in told) == (5, True), told
    assert "by hand" in file.read_text()


def test_mistakes_are_found_offline(source: Path, repository: GitRepository) -> None:
    wrong = {"a.yaml": notice("recas.bord", "x"), "b.yaml": notice("recas.board", "' '")}
    for text, expected in ((wrong["a.yaml"], "recas.board"), (wrong["b.yaml"], "says nothing")):
        repository.commit({**FILES, "notice.yaml": text})
        code, told = reconciler(source, repository, "validate")
        assert (code, expected in told) == (3, True), told
