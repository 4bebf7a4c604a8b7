"""Ansible checks the arguments of an entry only where `tasks_from` is its very name, without `.yml`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
ENTRIES = yaml.safe_load((ROOT / "ansible/roles/platform/meta/argument_specs.yml").read_text())
PLACES = [*sorted(ROOT.glob("ansible/roles/**/*.yml")), *sorted(ROOT.glob("ansible/roles/*/README.md"))]
PLACES += sorted(ROOT.glob("docs/**/*.md"))
ASKS = re.compile(r"name: platform, tasks_from: ([^\s,}]+)")


@pytest.mark.parametrize(
    "place",
    [place for place in PLACES if ASKS.search(place.read_text())],
    ids=lambda place: str(place.relative_to(ROOT)),
)
def test_whoever_asks_platform_names_an_entry_whose_arguments_are_checked(place: Path) -> None:
    asked = ASKS.findall(place.read_text())
    assert [entry for entry in asked if entry not in ENTRIES["argument_specs"]] == []


def test_what_is_required_has_no_default() -> None:
    defaults = yaml.safe_load((ROOT / "ansible/roles/platform/defaults/main.yml").read_text())
    options = [entry["options"] for entry in ENTRIES["argument_specs"].values()]
    required = {name for option in options for name, said in option.items() if said.get("required")}
    assert required & defaults.keys() == set()
