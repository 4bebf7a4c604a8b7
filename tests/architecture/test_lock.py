"""The locks hold all that pyproject.toml asks for, with hashes, and say nothing about any registry."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = ("requirements.lock", "requirements-dev.lock")
PIN = re.compile(r"^(?P<name>[a-z0-9.-]+)(?:\[[a-z,]+\])?==(?P<version>[^ ;]+)(?P<rest>.*)$", re.MULTILINE)
NAME_END = re.compile(r"[^A-Za-z0-9._-]")


def pins(lock: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for pin in PIN.finditer((ROOT / lock).read_text()):
        found.setdefault(pin["name"], set()).add(pin["version"])
    return found


def wanted(*groups: str) -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    asked = list(project["project"]["dependencies"])
    for group in groups:
        asked += [entry for entry in project["dependency-groups"][group] if isinstance(entry, str)]
    return {NAME_END.split(entry)[0].lower().replace("_", "-") for entry in asked}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_hashes(lock: str) -> None:
    blocks = re.split(r"\n(?=\S)", (ROOT / lock).read_text().strip())
    assert [block.splitlines()[0] for block in blocks if "--hash=sha256:" not in block] == []
    assert len(blocks) > 10


@pytest.mark.parametrize("lock", LOCKS)
def test_no_address_is_in_it(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert "://" not in text
    assert "--index" not in text


def test_everything_asked_for_is_pinned() -> None:
    assert wanted("build") - set(pins("requirements.lock")) == set()
    assert wanted("build", "dev", "bench") - set(pins("requirements-dev.lock")) == set()


def test_both_locks_agree() -> None:
    run, dev = pins("requirements.lock"), pins("requirements-dev.lock")
    assert {name: versions for name, versions in run.items() if dev.get(name) != versions} == {}
