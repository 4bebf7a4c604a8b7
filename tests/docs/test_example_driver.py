"""The example back-end passes the contract of every back-end: the very same tests, and two of its own."""

from __future__ import annotations

from pathlib import Path

from reconciler.model import PARTIAL, Action, mark_for
from tests.contract import test_contract
from tests.contract.case import OWNER, STRANGER, Arena, adopting, change

WHOLE_TREE = {"test_every_hand_of_every_driver_has_a_case"}  # about the drivers of the project

globals().update(
    {
        name: test
        for name, test in vars(test_contract).items()
        if name.startswith("test_") and name not in WHOLE_TREE
    }
)


def test_what_a_cut_off_write_left_is_seen_and_removed(arena: Arena) -> None:
    board = Path(arena.data, "board")
    board.mkdir()
    (board / f"cms.notice-0.json~{OWNER}").write_text('{"spec": {"te')
    thing = arena.only()
    assert (thing.ref, thing.reason) == (arena.resource().ref, PARTIAL)
    assert arena.seen(owner=STRANGER) == []
    arena.delete(thing)
    assert list(board.iterdir()) == []


def test_what_another_owner_took_over_stays(arena: Arena) -> None:
    resource = arena.resource()
    arena.create(resource)
    ours = arena.only()
    arena.release(ours)
    (unmarked,) = arena.seen("cms.notice-0")
    update = change(adopting(resource), Action.UPDATE, unmarked)
    arena.apply(update, mark_for(STRANGER, resource))
    arena.delete(ours)
    assert len(arena.seen(owner=STRANGER)) == 1
