"""Where copies go: sticky, blind-safe, spread, and every refusal with its reason."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model import Ref
from reconciler.placement.choose import (
    BAD,
    GOOD,
    NOTHING_THERE,
    PROGRESSING,
    UNPROVEN,
    UNSEEN,
    Candidate,
    choose,
)

RULE = Ref("DataRule", "cms", "higgs")


def empty(*names: str) -> list[Candidate]:
    return [Candidate(name) for name in names]


def test_picks_as_many_as_wanted_and_says_why_not_the_others() -> None:
    choice = choose(RULE, empty("a", "b", "c"), 2)
    assert len(choice.chosen) == 2
    assert list(choice.refused.values()) == ["not needed"]
    assert choice == choose(RULE, empty("c", "b", "a"), 2)


def test_every_refusal_has_its_reason() -> None:
    candidates = [
        Candidate("barred", barred="provider removed"),
        Candidate("closed", closed="target suspended: disks"),
        Candidate("full", room=10),
        Candidate("unseen", holds=UNSEEN),
    ]
    choice = choose(RULE, candidates, 3, needed=11)
    assert choice.chosen == ("unseen",)
    assert choice.assumed == {"unseen"}
    assert choice.refused == {
        "barred": "provider removed",
        "closed": "target suspended: disks",
        "full": "no room: 10 bytes free, 11 needed",
    }
    assert choose(RULE, [Candidate("full", room=0)], 1).refused == {
        "full": "no room: 0 bytes free, more needed"
    }
    assert choose(RULE, [Candidate("full", room=11)], 1, needed=11).chosen == ("full",)


@pytest.mark.parametrize("holds", [GOOD, UNPROVEN, PROGRESSING, BAD])
def test_where_a_copy_lies_it_stays(holds: str) -> None:
    here = Candidate("here", holds=holds, closed="target suspended: disks", room=0)
    choice = choose(RULE, [*empty("a", "b", "c"), here], 1, needed=5)
    assert choice.chosen == ("here",)


def test_a_barred_copy_moves() -> None:
    gone = Candidate("gone", holds=GOOD, barred="provider removed")
    assert choose(RULE, [gone, Candidate("new")], 1).chosen == ("new",)


def test_good_copies_stay_before_others() -> None:
    order = [UNSEEN, BAD, PROGRESSING, UNPROVEN, GOOD]
    candidates = [Candidate(f"e{number}", holds=holds) for number, holds in enumerate(order)]
    for copies in range(1, 6):
        kept = choose(RULE, candidates, copies).chosen
        assert kept == tuple(f"e{number}" for number in range(5 - copies, 5))


def test_what_is_not_seen_counts_as_a_copy_when_creating() -> None:
    candidates = [Candidate("dark", holds=UNSEEN), Candidate("here", holds=GOOD), *empty("new")]
    assert choose(RULE, candidates, 2).chosen == ("dark", "here")
    assert choose(RULE, candidates, 3).chosen == ("dark", "here", "new")


def test_the_load_spreads_and_a_new_element_moves_little() -> None:
    names = [f"e{number}" for number in range(10)]
    rules = [Ref("DataRule", "cms", f"r{number}") for number in range(1000)]
    before = {rule: choose(rule, empty(*names), 1).chosen[0] for rule in rules}
    counted = Counter(before.values())
    assert min(counted.values()) > 60
    assert max(counted.values()) < 140
    after = {rule: choose(rule, empty(*names, "e10"), 1).chosen[0] for rule in rules}
    moved = [rule for rule in rules if before[rule] != after[rule]]
    assert {after[rule] for rule in moved} == {"e10"}
    assert 50 < len(moved) < 140


CANDIDATES = st.lists(
    st.builds(
        Candidate,
        st.sampled_from("abcdefgh"),
        st.sampled_from([NOTHING_THERE, GOOD, UNPROVEN, PROGRESSING, BAD, UNSEEN]),
        st.sampled_from(["", "", "", "barred"]),
        st.sampled_from(["", "", "closed"]),
        st.sampled_from([None, 0, 5, 100]),
    ),
    unique_by=lambda candidate: candidate.element,
)


@given(CANDIDATES, st.integers(1, 5), st.integers(0, 50), st.randoms(use_true_random=False))
def test_what_always_holds(
    candidates: list[Candidate], copies: int, needed: int, chance: random.Random
) -> None:
    choice = choose(RULE, candidates, copies, needed)
    known = {candidate.element: candidate for candidate in candidates}
    assert len(choice.chosen) <= copies
    assert set(choice.chosen) | set(choice.refused) == set(known)
    assert not set(choice.chosen) & set(choice.refused)
    assert all(choice.refused.values())
    for name in choice.chosen:
        candidate = known[name]
        assert not candidate.barred
        assert candidate.holds or not candidate.closed
    kept = [candidate for candidate in candidates if candidate.holds and not candidate.barred]
    assert len(kept) >= copies or {candidate.element for candidate in kept} <= set(choice.chosen)
    chance.shuffle(candidates)
    assert choose(RULE, candidates, copies, needed) == choice
    settled = [
        replace(candidate, holds=GOOD if candidate.element in choice.chosen else candidate.holds)
        for candidate in candidates
        if candidate.element in choice.chosen or not candidate.holds
    ]
    assert set(choose(RULE, settled, copies, needed).chosen) >= set(choice.chosen)
