from __future__ import annotations

from pathlib import Path

import pytest

from tests.contract.case import Arena, Case, arena_of
from tests.contract.cases import CASES


@pytest.fixture(params=CASES, ids=str)
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.param
    return found


@pytest.fixture
def arena(case: Case, tmp_path: Path) -> Arena:
    return arena_of(case, tmp_path)
