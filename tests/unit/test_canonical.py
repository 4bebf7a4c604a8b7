"""Canonical JSON: the fast way and the long way write the same bytes."""

from __future__ import annotations

import math
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from reconciler.canonical import canonical

_NUMBERS = st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)
_LEAVES = st.none() | st.booleans() | _NUMBERS | st.text() | st.from_regex(r"[:\[,]-?[0-9]{1,17}[.eE]?")
_VALUES = st.recursive(
    _LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=12
)


@given(_VALUES)
def test_the_bytes_are_those_of_rfc_8785(value: Any) -> None:
    assert canonical(value) == rfc8785.dumps(value)


@pytest.mark.parametrize("value", [1.0, -0.0, 1e21, [0.5], {"a": -1.5}, {"a": [1, 2.0]}, 2**53 - 1])
def test_numbers_that_the_standard_library_spells_otherwise(value: Any) -> None:
    assert canonical(value) == rfc8785.dumps(value)


@pytest.mark.parametrize("value", [2**53, [math.inf], {"a": -math.inf}, {"a": 10**20}])
def test_what_no_json_can_say_still_has_one_spelling(value: Any) -> None:
    assert canonical(value) == canonical(value)
