"""SIGKILL of `apply` while it makes local machines and runs a role: the same world, and a quiet second run.

The first write, the last one and ten in between (seeded: KILL_SEED), with the store kept or deleted.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import reconciler.run
from reconciler.line.session import Request
from reconciler.model import Plan, Ref
from reconciler.playbook.processes import processes_of
from tests.kill.sample import SAMPLE, Ended, Sample
from tests.live.trial import FILES, trial

pytestmark = [pytest.mark.live, pytest.mark.machines]

EMPTY = Plan("", ()).digest
SEED = int(os.environ.get("KILL_SEED", "20"))
POINTS = 10
PROVIDER = """\
apiVersion: reconciler/v1
kind: Provider
metadata: {name: lab}
spec:
  location: {site: LAB, country: IT}
  groups: [virgo]
  targets: [{type: hosts, machines: local}]
"""
VOLATILE = ("created", "finished")


class Machines(Sample):
    """Two local machines with the role `trial`, to be killed while they are made."""

    @classmethod
    def made(cls, root: Path) -> Machines:
        machines = cls(root)
        (root / "repository/groups").mkdir(parents=True)
        for name in ("groups/virgo.yaml", "reconciler.yaml"):
            shutil.copy(SAMPLE / name, root / "repository" / name)
        given = trial("two", "lab", {"machines": 2, "text": "kept"})
        for path, text in {**FILES, **given, "providers/lab.yaml": PROVIDER}.items():
            (root / "repository" / path).parent.mkdir(parents=True, exist_ok=True)
            (root / "repository" / path).write_text(text or "")
        machines.git("init", "--quiet", "--initial-branch", "main")
        machines.commit("begin")
        return machines

    def another(self) -> Machines:
        return Machines(self.copy().root)

    @property
    def temporary(self) -> Path:
        return self.root / "t"

    def _apply(self) -> dict[str, Any]:
        for name in ("cache", "data", "state"):
            os.environ[f"XDG_{name.upper()}_HOME"] = str(self.root / name)
        os.environ |= {"HOME": str(self.root), "TMPDIR": str(self.temporary)}
        self.temporary.mkdir(exist_ok=True)
        tempfile.tempdir = None  # read again
        ref = Ref.parse("Deployment/virgo/two")
        request = Request(str(self.repository), only=(ref,), retry=True, wait=timedelta(seconds=60))
        applied = reconciler.run.apply(request)
        left = [str(change.ref) for change in applied.left.changes]
        return {"code": int(applied.exit_code), "digest": applied.plan.digest, "left": left}

    def world(self) -> dict[str, str]:
        """All files of all machines; of the records what does not differ between runs."""
        found: dict[str, str] = {}
        for path in sorted(self.data.rglob("*")):
            if path.is_file():
                text = path.read_text()
                told = (
                    json.dumps(_stable(json.loads(text)), sort_keys=True) if path.suffix == ".json" else text
                )
                found[str(path.relative_to(self.data))] = told
            else:
                found[f"{path.relative_to(self.data)}/"] = ""
        return found


def _stable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _stable(one) for key, one in value.items() if key not in VOLATILE}
    return [_stable(one) for one in value] if isinstance(value, list) else value


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="rk-", dir="/var/tmp") as name:
        yield Path(name)


@pytest.fixture(scope="module")
def begun(folder: Path) -> Machines:
    """Nothing applied yet, but everything read once."""
    return Machines.made(folder / "begun")


@pytest.fixture(scope="module")
def whole(begun: Machines) -> tuple[Ended, dict[str, str]]:
    """How an apply ends that nobody kills, and what is there then."""
    machines = begun.another()
    ended = machines.apply()
    return ended, machines.world()


@pytest.mark.parametrize("number", range(POINTS + 2))
def test_killed_at_a_write(begun: Machines, whole: tuple[Ended, dict[str, str]], number: int) -> None:
    ended, wanted = whole
    assert (ended.code, ended.left) == (0, ())
    assert [text for path, text in wanted.items() if path.endswith("etc/trial/text")] == ["kept", "kept"]
    inner = random.Random(SEED).sample(range(2, ended.writes), POINTS)
    point = [1, *sorted(inner), ended.writes][number]
    stores = ("kept", "deleted") if number in (0, POINTS + 1) else (("kept", "deleted")[number % 2],)
    for store in stores:
        one_point(begun, point, store, wanted)


def one_point(begun: Machines, point: int, store: str, wanted: dict[str, str]) -> None:
    machines = begun.another()
    machines.apply(point)
    if store == "deleted":
        machines.forget()
    again, second = machines.apply(), machines.apply()
    assert (again.code, second.code, second.digest) == (0, 0, EMPTY), (point, store, again, second)
    found = machines.world()
    assert found == wanted, (point, store, sorted(set(found.items()) ^ set(wanted.items()))[:6])
    assert list(machines.temporary.iterdir()) == []
    assert processes_of(str(machines.temporary)) == set()
    machines.remove()
