"""Every module stands alone, and starting the command loads nothing heavy."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "reconciler"
HEAVY = (
    "ansible", "ansible_runner", "apscheduler", "cryptography", "git", "jsonschema", "jsonschema_rs",
    "pyrage", "requests", "rucio", "sqlalchemy", "toscaparser", "yaml", "zstandard",
)  # fmt: skip

# One process that knows nothing of ours forks a child for each module: alone, and quick.
ALONE = """
import importlib, os, sys, traceback

def load(name):
    try:
        importlib.import_module(name)
        return 0
    except BaseException:
        traceback.print_exc()
        return 1

def others():  # what of other people's our modules load: read once for all, it is the same for each
    reading, writing = os.pipe()
    if not os.fork():
        with open(os.devnull, "w") as sys.stderr:
            for name in sys.argv[1:]:
                load(name)
        found = (name for name in sys.modules if name.partition(".")[0] != "reconciler")
        os.write(writing, " ".join(found).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as told:
        return told.read().split()

for name in others():
    if name.partition(".")[0] in sys.stdlib_module_names or "." not in name:
        load(name)
bad = []
for name in sys.argv[1:]:
    child = os.fork()
    if not child:
        os._exit(load(name))
    if os.waitpid(child, 0)[1]:
        bad.append(name)
sys.exit(f"do not import alone: {bad}" if bad else 0)
"""

LOADED = """
import json, sys
sys.argv = ["reconciler", *sys.argv[1:]]
from reconciler.cli import main
try:
    main()
except SystemExit:
    pass
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})), file=sys.stderr)
"""


def modules() -> list[str]:
    paths = sorted(PACKAGE.rglob("*.py"))
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths]
    return [name.removesuffix(".__init__") for name in names if not name.endswith("__main__")]


def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)


def test_every_module_imports_alone() -> None:
    done = run(ALONE, *modules())
    assert done.returncode == 0, done.stderr


def test_there_are_modules() -> None:
    assert "reconciler.stages" in modules()
    assert run(ALONE, "reconciler.no_such_module").returncode == 1


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["plan", "--help"]], ids=" ".join)
def test_starting_loads_nothing_heavy(arguments: list[str]) -> None:
    done = run(LOADED, *arguments)
    loaded = set(json.loads(done.stderr.splitlines()[-1]))
    assert loaded & set(HEAVY) == set()
    assert "reconciler" in loaded


@pytest.mark.parametrize("driver", sorted(path.parent.name for path in PACKAGE.glob("drivers/*/__init__.py")))
def test_describing_a_driver_loads_nothing_heavy(driver: str) -> None:
    program = "import sys, importlib; importlib.import_module(sys.argv[1]); print(*sys.modules)"
    done = run(program, f"reconciler.drivers.{driver}")
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) & set(HEAVY) == set()
