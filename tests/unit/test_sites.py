"""Where deployments go: order of preference, room, refusals with their reasons, and staying put."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.model import Word
from tests.unit.paper import Paper, deployment, library, site

ABC = (site("a"), site("b"), site("c"))


def plain(*names: str, targets: tuple[str, ...] = ("a", "b", "c")) -> Paper:
    """Deployments of one machine each with 4 cores and 4 GB."""
    return Paper(tuple(deployment(name, "plain", targets) for name in names), targets=ABC)


def refusal(paper: Paper, number: int = 0) -> str:
    found = paper.condition(number)
    assert (found.word, found.reason, found.who) == (Word.WAITING, "NoPlace", "author")
    return found.message


# ── choosing ─────────────────────────────────────────────────────────────────────────────────────


def test_the_order_is_that_of_the_author() -> None:
    assert plain("d").where() == ["a"]
    assert plain("d", targets=("c", "a")).where() == ["c"]
    assert plain("d", targets=("elsewhere", "b")).where() == ["b"]


def test_a_provider_stands_for_its_targets() -> None:
    targets = (site("x1", provider="x"), site("x2", provider="x"), site("y"))
    paper = Paper((deployment("d", "plain", ["x"]),), targets=targets, free={"x1": {"machines": 0}})
    assert paper.where() == ["x2"]


def test_without_a_list_all_are_used_and_others_that_come_move_nothing() -> None:
    many = plain(*(f"d{number}" for number in range(40)), targets=())
    places = many.where()
    assert set(places) == {"a", "b", "c"}
    more = replace(many, targets=(*ABC, site("d")))
    assert all(new in (old, "d") for old, new in zip(places, more.where(), strict=True))


def test_a_rehearsal_stands_in_for_nothing_real_unless_it_is_named() -> None:
    many = replace(plain(*(f"d{n}" for n in range(9)), targets=()), traits={"b": {"rehearsal": True}})
    assert set(many.where()) == {"a", "c"}
    assert replace(plain("d", targets=("b",)), traits=many.traits).where() == ["b"]
    alone = replace(plain("d", targets=()), targets=(site("b"),), traits=many.traits)
    assert alone.where() == ["b"]


def test_only_targets_that_can_run_machines_count() -> None:
    paper = replace(plain("d", targets=("a",)), targets=(site("a", driver="disks"), site("b")))
    assert refusal(paper) == "no target has a place for it (none of a can run machines)"
    nothing = replace(plain("d", targets=()), targets=(site("a", driver="disks"),))
    assert refusal(nothing) == "no target has a place for it (no target can run machines)"


# ── room ─────────────────────────────────────────────────────────────────────────────────────────


def test_new_ones_take_room_from_each_other_in_the_order_of_their_refs() -> None:
    full = {"a": {"machines": 2}, "b": {"cores": 4}, "c": {"memory": 0}}
    paper = replace(plain("d3", "d1", "d2", "d0"), free=full)
    assert paper.where() == ["NoPlace", "a", "b", "a"]
    message = refusal(paper)
    assert "a: no room: 0 machines free, 1 needed" in message
    assert "b: no room: 0 cores free, 4 needed" in message
    assert "c: no room: 0.0 GiB memory free, 3.7 GiB needed" in message


def test_room_counts_all_machines_of_a_deployment() -> None:
    paper = Paper((deployment(workers=3),), traits={"here": {"rootless": True}})
    assert replace(paper, free={"here": {"machines": 4, "cores": 5, "memory": 4 * 10**9}}).where() == ["here"]
    for what, much in (("machines", 3), ("cores", 4), ("memory", 4 * 10**9 - 1)):
        assert replace(paper, free={"here": {what: much}}).where() == ["NoPlace"], what


def test_what_stands_needs_no_room_any_more() -> None:
    paper = plain("d")
    assert replace(paper, things=paper.made(), free={"a": {"machines": 0}}).where() == ["a"]


# ── staying and moving ───────────────────────────────────────────────────────────────────────────


def test_what_stands_stays_though_the_author_prefers_another_now() -> None:
    paper = plain("d")
    later = replace(plain("d", targets=("c", "b", "a")), things=paper.made())
    assert later.where() == ["a"]
    assert later.plan() == []


def test_a_suspended_target_keeps_what_it_has_and_gets_nothing_new() -> None:
    rest = (site("a", suspended="power cut"), *ABC[1:])
    paper = plain("d")
    assert replace(paper, targets=rest).where() == ["b"]
    assert replace(paper, targets=rest, things=paper.made()).where() == ["a"]
    only = replace(plain("d", targets=("a",)), targets=rest)
    assert "a: suspended: power cut" in refusal(only)


@pytest.mark.parametrize("status", ["maintenance", "limited"])
def test_a_provider_that_rests_gets_nothing_new(status: str) -> None:
    rest = (site("a", status=status), *ABC[1:])
    paper = plain("d")
    assert replace(paper, targets=rest).where() == ["b"]
    assert replace(paper, targets=rest, things=paper.made()).where() == ["a"]
    assert f"a: provider in status {status}" in refusal(replace(plain("d", targets=("a",)), targets=rest))


def test_when_its_provider_is_removed_it_moves_and_leaves_nothing_behind() -> None:
    paper = plain("d")
    left = replace(paper, targets=(site("a", status="removed"), *ABC[1:]), things=paper.made())
    assert left.where() == ["b"]
    assert left.plan() == [
        ("create", "machine-base.configuration", "b"),
        ("create", "machine.server", "b"),
        ("delete", "machine.server", "a"),
    ]
    (goes,) = [one for one in left.difference().changes if one.action == "delete"]
    assert (goes.reason, {ref.part for ref in goes.needs}) == ("Moved", {"machine.server"})
    again = replace(left, things=(*left.made(), *left.things))
    assert again.where() == ["b"], "half moved, it goes on in the same direction"


def test_a_target_of_other_groups_is_refused() -> None:
    others = (site("a", groups=frozenset({"atlas"})), *ABC[1:])
    assert replace(plain("d"), targets=others).where() == ["b"]
    assert "a: does not serve group cms" in refusal(replace(plain("d", targets=("a",)), targets=others))


# ── what a target can't do ───────────────────────────────────────────────────────────────────────


def test_roles_that_need_root_are_refused_where_there_is_none() -> None:
    paper = Paper((deployment(),), traits={"here": {"rootless": True}}, known=library(rooted=("queue",)))
    assert refusal(paper).endswith("(here: its machines are without root, which queue needs)")
    assert replace(paper, known=library()).where() == ["here"]
    assert replace(paper, traits={}).where() == ["here"]


def test_a_target_without_volumes_is_refused_when_some_are_needed() -> None:
    traits = {"here": {"volumes": False}}
    assert refusal(Paper((deployment(),), traits=traits)).endswith("(here: its machines have no volumes)")
    assert Paper((deployment("d", "plain"),), traits=traits).where() == ["here"]


def test_a_blind_target_gets_nothing_new_though_it_is_known_to_hold_nothing() -> None:
    dark = replace(plain("d"), blind=("a",), absent=frozenset({"a"}))
    assert dark.where() == ["b"]
    assert "a: blind: no answer" in refusal(replace(dark, declared=plain("d", targets=("a",)).declared))


def test_a_long_list_of_refusals_is_cut() -> None:
    targets = tuple(site(f"t{number}", suspended="holiday") for number in range(11))
    paper = Paper((deployment("d", "plain"),), targets=targets)
    assert refusal(paper).endswith("; and 3 more)")
