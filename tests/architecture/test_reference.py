"""docs/reference is generated, fresh, and leaves nothing out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from reconciler import registry
from reconciler.cli import COMMANDS
from reconciler.errors import ExitCode

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"


def generate(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "docs" / "generate.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_the_reference_is_fresh() -> None:
    done = generate("--check")
    assert done.returncode == 0, done.stderr


def test_every_kind_is_documented() -> None:
    pages = {path.stem for path in (REFERENCE / "kinds").glob("*.md")} - {"README"}
    assert pages == set(registry.kinds())


def test_every_exit_code_is_documented() -> None:
    text = (REFERENCE / "exit-codes.md").read_text()
    assert [code for code in ExitCode if f"| {code.value} |" not in text] == []


def test_every_command_is_documented() -> None:
    text = (REFERENCE / "cli.md").read_text()
    assert "plan" in COMMANDS
    assert [command for command in COMMANDS if f"## {command}\n" not in text] == []
