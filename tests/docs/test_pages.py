"""Every page with commands is true: run in an empty home, it prints what it shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.console import DOCS, differences, fits, run, steps

ROOT = DOCS.parent
PAGES = [ROOT / "README.md", *(page for page in sorted(DOCS.rglob("*.md")) if "reference" not in page.parts)]
RUN = [page for page in PAGES if list(steps(page.read_text()))]


@pytest.mark.parametrize("page", RUN, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_shows_what_happens(page: Path, tmp_path: Path) -> None:
    wrong = differences(page.read_text(), tmp_path)
    assert not wrong, "\n\n".join(wrong)


def test_a_wrong_page_is_found(tmp_path: Path) -> None:
    page = "```console\n$ echo one\ntwo\n$ false\n$ echo $?\n1\n$ false\n```\n"
    wrong = differences(page, tmp_path)
    assert [text.split(":")[0] for text in wrong] == ["line 2", "line 7"]


def test_a_session_goes_on_from_block_to_block(tmp_path: Path) -> None:
    blocks = ("cd there; name=x", "echo $name ${PWD##*/}")
    page = "<!-- setup\nmkdir there\n-->\n" + "".join(f"```console\n$ {text}\n```\n" for text in blocks)
    assert [printed.lines for printed in run(page, tmp_path)] == [[], ["x there"]]


def test_a_block_can_be_a_file(tmp_path: Path) -> None:
    page = "<!-- file: a/b.yml -->\n```yaml\n- $x `y`\n```\n```console\n$ cat a/b.yml\n- $x `y`\n```\n"
    assert differences(page, tmp_path) == []


def test_dots_stand_for_anything() -> None:
    assert fits(["a … c", "…", "z"], ["a b c", "1", "2", "z"])
    assert fits(["…"], [])
    assert not fits(["a"], ["a", "b"])
    assert not fits(["a … c"], ["a b"])
