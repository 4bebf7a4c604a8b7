"""Links between pages lead somewhere, and the map of the source in README.md is the source."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    links = [link for link in LINK.findall(page.read_text()) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_page_is_on_the_map() -> None:
    linked = {
        (ROOT / "docs" / link).resolve() for link in LINK.findall((ROOT / "docs/README.md").read_text())
    }
    folders = ("tutorial", "how-to", "explanation")
    pages = {page for folder in folders for page in (ROOT / "docs" / folder).glob("*.md")}
    assert sorted(pages - linked) == []


def test_the_map_of_the_source_is_the_source() -> None:
    text = (ROOT / "README.md").read_text()
    listed = set(re.findall(r"^  (\w+)/ ", text, re.MULTILINE))
    folders = {path.parent.name for path in (ROOT / "reconciler").glob("*/__init__.py")}
    assert listed == folders
    top = set(re.findall(r"^([\w-]+)/ +\S", text, re.MULTILINE))
    assert [name for name in sorted(top) if not (ROOT / name).is_dir()] == []


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


def test_laws_name_tests_that_exist() -> None:
    page = (ROOT / "docs/explanation/laws.md").read_text()
    source = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    named = set(re.findall(r"`(test_\w+)(?:…)?`", page))
    assert [name for name in sorted(named) if f"def {name}" not in source] == []
    laws = set(re.findall(r"def (test_law_\w+)", source))
    assert sorted(laws - named) == []
