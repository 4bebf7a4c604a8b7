"""The example back-end of docs/how-to/examples, as a case of the contract suite."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from reconciler.model import Ref, Resource, Target
from tests.contract.case import Arena, Case, arena_of, made

EXAMPLES = Path(__file__).parents[2] / "docs" / "how-to" / "examples"


def example(name: str) -> ModuleType:
    """One file of the examples, as a module."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def notice(target: Target, number: int) -> Resource:
    spec = {"text": "No jobs on Sunday.", "urgent": False}
    return made(Ref("Notice", "cms", f"notice-{number}"), "Notice", target, spec)


def put_unmarked(arena: Arena, resource: Resource) -> str:
    """A notice that somebody wrote by hand."""
    key = f"{resource.ref.group}.{resource.ref.name}"
    file = Path(arena.data, "board", f"{key}.json")
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps({"spec": {"text": "by hand", "urgent": True}, "since": ""}))
    return key


CASE = Case(
    driver=example("noticeboard").DRIVER,
    primitive="Notice",
    prepare=lambda _folder: Target("board", "noticeboard", "here", {"path": "board"}),
    resource=notice,
    variants={"text": "Jobs again.", "urgent": True},
    spacious={"text": "ünï ☃ 𝄞 \\ \" ' \n" + "x" * 20000},
    foreign=put_unmarked,
)


@pytest.fixture
def case() -> Case:
    return CASE


@pytest.fixture
def arena(case: Case, tmp_path: Path) -> Arena:
    return arena_of(case, tmp_path)
