"""The example back-end passes the contract that every back-end passes: the very same tests."""

from __future__ import annotations

from tests.contract import test_contract

WHOLE_TREE = {"test_every_hand_of_every_driver_has_a_case"}  # about the drivers of the project

globals().update(
    {
        name: test
        for name, test in vars(test_contract).items()
        if name.startswith("test_") and name not in WHOLE_TREE
    }
)
