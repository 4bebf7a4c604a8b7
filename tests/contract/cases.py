"""All cases: the hands of every driver, then every kind in a simulated world."""

from __future__ import annotations

from tests.contract import hosts_cases, publish_cases, rucio_cases, storage_cases
from tests.contract.simulated_cases import simulated

EMBEDDED = (*storage_cases.CASES, *publish_cases.CASES, *hosts_cases.CASES)
CASES = (*EMBEDDED, *simulated((*EMBEDDED, *rucio_cases.ON_PAPER)))
