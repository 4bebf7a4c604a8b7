"""Every ```yaml block that people may copy is valid: objects by schema and kind; settings; else as YAML."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from reconciler import registry
from reconciler.checks.envelope import metadata_of
from reconciler.checks.schema import compiled, explained
from reconciler.checks.settings import check_settings
from reconciler.construct import filled
from reconciler.model import Declared, Ref, Source
from reconciler.resources import bundled
from reconciler.strict_yaml import read

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks() -> Iterator[Any]:
    for page in PAGES:
        text = page.read_text()
        for block in BLOCK.finditer(text):
            line = text.count("\n", 0, block.start()) + 1
            yield pytest.param(block[1], id=f"{page.relative_to(ROOT)}:{line}")


def problems(text: str) -> list[str]:
    """What is wrong with a block; what is none of ours must at least be YAML."""
    if not re.search(r"^(apiVersion|owner):", text, re.MULTILINE):
        yaml.safe_load(text)
        return []
    return [problem for found in read(text.encode()) for problem in _problems(found.value)]


def _problems(value: Any) -> Iterator[str]:
    if "owner" in value:
        yield from (finding.message for finding in check_settings(value, registry.kinds()))
        return
    schema = bundled(value["kind"])
    if not compiled(schema)(value):
        yield from (finding.message for finding in explained(schema, value))
        return
    kind, metadata = registry.kinds()[value["kind"]], value["metadata"]
    ref = Ref(value["kind"], metadata.get("group", ""), metadata["name"])
    declared = Declared(ref, filled(kind.spec, value["spec"]), Source("page"), metadata_of(metadata))
    yield from (message for _path, message, _hint in kind.check(declared))


@pytest.mark.parametrize("text", list(blocks()))
def test_a_block_is_valid(text: str) -> None:
    assert problems(text) == []


def test_a_wrong_block_is_found() -> None:
    element = (
        "apiVersion: reconciler/v1\nkind: StorageElement\nmetadata: {name: x}\nspec: {target: y, size: 1}\n"
    )
    assert problems(element)
    assert problems("owner: Not A Label\n")
    assert not problems("stages: [check]\n")
