"""The wheel is whole: installed elsewhere, run from an empty folder, it has all it needs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

import reconciler

ROOT = Path(__file__).parents[2]


def run(*command: str | Path, cwd: Path, home: Path) -> subprocess.CompletedProcess[str]:
    """With a new environment: nothing of this process leaks but the search path of programs."""
    environment = {"HOME": str(home), "PATH": os.environ["PATH"], "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    return subprocess.run(
        command, cwd=cwd, env=environment, check=False, capture_output=True, text=True, timeout=120
    )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with our wheel, that sees the dependencies but not the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    built = run(
        sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=ROOT, home=folder
    )
    assert built.returncode == 0, built.stderr
    venv.create(folder / "venv", symlinks=True)
    packages = folder / "venv" / Path(sysconfig.get_path("purelib")).relative_to(sys.prefix)
    python, [wheel] = str(folder / "venv/bin/python"), [str(path) for path in folder.glob("*.whl")]
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet"]
    done = run(*pip, "--no-deps", "--no-index", wheel, cwd=folder, home=folder)
    assert done.returncode == 0, done.stderr
    # A path that is added late: our own wheel comes first, and no editable install is followed.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "venv"


def command(installed: Path, tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    empty = tmp_path / "empty"
    empty.mkdir(exist_ok=True)
    return run(installed / "bin" / "reconciler", *arguments, cwd=empty, home=tmp_path)


def test_it_runs_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    where = run(
        installed / "bin/python",
        "-c",
        "import reconciler; print(reconciler.__file__)",
        cwd=tmp_path,
        home=tmp_path,
    )
    assert where.stdout.startswith(str(installed))


def test_it_says_its_version(installed: Path, tmp_path: Path) -> None:
    done = command(installed, tmp_path, "--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert reconciler.__version__ in done.stdout


def test_it_has_its_schemas(installed: Path, tmp_path: Path) -> None:
    done = command(installed, tmp_path, "schema", "Provider")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["title"]


def test_it_writes_all_schemas(installed: Path, tmp_path: Path) -> None:
    done = command(installed, tmp_path, "schema", "--write", str(tmp_path / "schemas"))
    assert done.returncode == 0, done.stderr
    names = {path.stem for path in (tmp_path / "schemas").glob("*.json")}
    assert names >= {path.stem for path in (ROOT / "schemas").glob("*.json")} - {"metadata"}


def test_it_has_its_drivers(installed: Path, tmp_path: Path) -> None:
    program = (
        "from reconciler import registry; print(*[registry.driver(n).name for n in registry.driver_names()])"
    )
    done = run(installed / "bin/python", "-c", program, cwd=tmp_path, home=tmp_path)
    assert {"publish", "simulated", "storage"} <= set(done.stdout.split()), done.stderr


def test_it_has_its_roles_and_types(installed: Path, tmp_path: Path) -> None:
    asked = (
        "from reconciler.playbook.roles import builtin_roles;"
        "from reconciler.source.catalogue import own_types;"
        "print(sorted(builtin_roles()), bool(own_types()))"
    )
    done = run(installed / "bin/python", "-c", asked, cwd=tmp_path, home=tmp_path)
    roles = sorted(path.parents[1].name for path in (ROOT / "ansible" / "roles").glob("*/tasks/main.yml"))
    assert done.stdout.strip() == f"{roles} True", done.stderr
