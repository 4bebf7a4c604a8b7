"""The fixture: one bed per process of tests and database, however many modules use it.

    from tests.live.rucio_bed.fixture import bed  # noqa: F401  a fixture

Tests that take `bed` run on every database. They make scopes and accounts of their own, so they don't meet;
what they told the transfer service is forgotten after each.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.live.rucio_bed.bed import Bed, opened
from tests.live.rucio_bed.database import DATABASES

_BEDS = pytest.StashKey[dict[str, Bed]]()


@pytest.fixture(scope="session", params=DATABASES)
def started_bed(request: pytest.FixtureRequest) -> Bed:
    """A fixture of a module that imports it would start a bed for each; the session has them all."""
    pytest.importorskip("rucio.client", reason="no Rucio here: install `rucio-clients`")
    beds = request.config.stash.setdefault(_BEDS, {})
    if request.param not in beds:
        stack = ExitStack()
        beds[request.param] = stack.enter_context(opened(request.param))
        request.config.add_cleanup(stack.close)
    return beds[request.param]


@pytest.fixture
def bed(started_bed: Bed) -> Iterator[Bed]:
    """A Rucio whose server and daemons run, and whose transfers just happen."""
    yield started_bed
    started_bed.fts.clear()
