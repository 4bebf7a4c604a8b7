"""The sample repository's data on a real Rucio: pushed, applied, copied, checked; and what the day brings."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from demo.make_uploads import DATASETS, data_files
from tests.live.lake_at_rucio import ELEMENTS, Lake
from tests.live.rucio_bed.bed import opened
from tests.live.rucio_bed.database import DATABASES

pytestmark = [pytest.mark.live, pytest.mark.machines, pytest.mark.network]

DISKS = ("CATANIA-DISK", "CNAF-DISK", "RECAS-DISK")
HIGGS = "data/cms/higgs.yaml"


@pytest.fixture(scope="module", params=DATABASES)
def lake(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    """The sample, pushed; Rucio has its scopes, an account of ours, and nothing else."""
    pytest.importorskip("rucio.client", reason="no Rucio here: install `rucio-clients`")
    with opened(request.param, elements=False) as bed:
        lake = Lake(bed, tmp_path_factory.mktemp("lake"), bed.new_account(admin=True, room=False))
        for scope in ("cms", "belle2", "virgo"):
            bed.client().add_scope(lake.account, scope)
        for element in ELEMENTS:
            (lake.elements / element).mkdir(parents=True)
        lake.take_sample()
        lake.push("the sample, at Rucio")
        yield lake


def of(dataset: str) -> dict[str, bytes]:
    """What the files of a data set are called at the end of their paths, and their bytes."""
    prefix = f"data/{dataset}/"
    return {
        path.removeprefix(prefix): content
        for path, content in data_files().items()
        if path.startswith(prefix)
    }


def holding(lake: Lake, dataset: str) -> list[str]:
    """The elements on which every file of a data set lies, byte by byte."""
    wanted = of(dataset).items()
    return [element for element, files in sorted(lake.files().items()) if wanted <= files.items()]


def converge(lake: Lake) -> None:
    """Apply and let Rucio work, until nothing moves; then once more, for silence."""
    for _ in range(4):
        lake.apply()
        lake.bed.pump(2)
    assert {entry["status"] for entry in lake.status().values()} == {"Ready"}
    before = lake.rules()
    assert lake.plan("--exit-code")["changes"] == []
    assert "nothing to do" in lake.apply().lower()
    assert lake.rules() == before


def test_a_push_brings_files_to_the_elements(lake: Lake) -> None:
    converge(lake)
    assert len(holding(lake, "higgs-2026")) == 2
    assert set(holding(lake, "higgs-2026")) <= set(DISKS)
    assert holding(lake, "calibration-2026") == ["CNAF-DISK"]
    assert holding(lake, "raw-exp35") == ["CNAF-DISK", "CNAF-TAPE"]
    assert holding(lake, "strain-o5") == list(DISKS)
    assert len(holding(lake, "alerts-2026")) == 2
    assert {name for files in lake.files().values() for name in files} == {
        name for dataset in DATASETS for name in of(dataset)
    }


def test_more_copies_are_made_before_the_old_rule_goes(lake: Lake) -> None:
    converge(lake)
    lake.edit(HIGGS, "copies: 2", "copies: 3")
    lake.push("higgs three times")
    lake.bed.fts.hold(".*higgs.*")
    lake.apply()
    lake.bed.pump(2)
    lake.apply()
    assert sorted(rule["copies"] for rule in lake.rules("higgs-2026")) == [2, 3]
    assert len(holding(lake, "higgs-2026")) == 2
    lake.bed.fts.clear()
    converge(lake)
    assert [rule["copies"] for rule in lake.rules("higgs-2026")] == [3]
    assert holding(lake, "higgs-2026") == list(DISKS)


def test_a_reader_account_is_enough_for_a_plan(lake: Lake) -> None:
    converge(lake)
    reader = lake.bed.new_account(room=False)
    mine, lake.account, lake.former = lake.account, reader, [lake.account]
    try:
        lake.take_providers()
        lake.push("somebody who only reads")
        assert lake.plan("--exit-code")["changes"] == []
    finally:
        lake.account, lake.former = mine, []
        lake.take_providers()
        lake.push("we again")
