"""SIGKILL at every write of an apply of the sample repository: the same world, and a quiet second run.

Two applies are killed: the first one, at every write, and one that changes, heals and removes, at every
sixth unless `make kill-all` says so. Each once with the store kept and once with it deleted.
KILL_STRIDE=n takes every n-th of both.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.model import Plan
from tests.kill.sample import Sample, preload

EMPTY = Plan("", ()).digest
STRIDE = int(os.environ.get("KILL_STRIDE", "1"))
STRIDE_OF_CHANGES = int(os.environ.get("KILL_STRIDE", "6"))
PARTS = 8  # so that processes can share the work


def _memory() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="kill-", dir=_memory(), ignore_cleanup_errors=True) as name:
        yield Path(name)


@pytest.fixture(scope="module")
def begun(folder: Path) -> Sample:
    """Nothing applied yet."""
    preload()
    return Sample.made(folder / "begun")


@pytest.fixture(scope="module")
def changed(begun: Sample) -> Sample:
    """Applied once; then one thing changed, one removed, one replica and one published file damaged."""
    sample = begun.copy()
    assert sample.apply().code == 0
    (sample.repository / "data/cms/calibration.yaml").unlink()
    old, new = (sha256 for name, sha256 in sample.uploads.items() if "basf2" in name)
    upload = sample.repository / "software/belle2/basf2.yaml"
    text = upload.read_text()
    assert old in text
    upload.write_text(text.replace(old, new).replace("basf2-08", "basf2-09"))
    sample.commit("change")
    next(sample.data.glob("sites/**/run-001.root")).write_bytes(b"rotten")
    tampered = next(sample.data.rglob("VERSION"))
    tampered.chmod(0o644)
    tampered.write_text("tampered\n")
    return sample


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("store", ["kept", "deleted"])
def test_killed_first_apply(begun: Sample, store: str, part: int) -> None:
    _every_point(begun, store, part, STRIDE)


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("store", ["kept", "deleted"])
def test_killed_apply_of_changes(changed: Sample, store: str, part: int) -> None:
    _every_point(changed, store, part, STRIDE_OF_CHANGES)


def _every_point(sample: Sample, store: str, part: int, stride: int) -> None:
    whole = sample.copy()
    ended = whole.apply()
    wanted = whole.world()
    whole.remove()
    assert ended.code == 0, ended
    assert ended.writes > 100
    for point in range(1 + part * stride, ended.writes + 1, PARTS * stride):
        _one_point(sample, point, store, wanted)


def _one_point(sample: Sample, point: int, store: str, wanted: dict[str, str]) -> None:
    copy = sample.copy()
    copy.apply(point)
    if store == "deleted":
        copy.forget()
    again = copy.apply()
    second = copy.apply()
    found = copy.world()
    assert found == wanted, (point, sorted(set(found.items()) ^ set(wanted.items()))[:6])
    assert (again.code, second.code, second.digest) == (0, 0, EMPTY), (point, again, second)
    copy.remove()
