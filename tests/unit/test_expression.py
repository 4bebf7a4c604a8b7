"""RSE expressions: Rucio's grammar, said by what they select."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.placement.expression import parse

ELEMENTS: dict[str, dict[str, Any]] = {
    "bari-disk": {"country": "IT", "tier": 1, "quality": "disk", "gold": True, "free": "12.5"},
    "cnaf-tape": {"country": "IT", "tier": "1", "quality": "tape", "gold": False},
    "lyon-disk": {"country": "FR", "tier": 2, "quality": "disk", "gold": "True"},
    "odd": {"tier": "one", "free": "1_0"},
}
BARI, CNAF, LYON, ODD = sorted(ELEMENTS)


@pytest.mark.parametrize(
    ("text", "selected"),
    [
        ("*", {BARI, CNAF, LYON, ODD}),
        ("bari-disk", {BARI}),
        ("nowhere", set()),
        ("country=IT", {BARI, CNAF}),
        ("tier=1", {BARI, CNAF}),
        ("gold", {BARI, LYON}),
        ("gold=true", {BARI, LYON}),
        ("gold=False", {CNAF}),
        ("country", set()),
        ("tier<2", {BARI, CNAF}),
        ("tier>1", {LYON}),
        ("free>12", {BARI}),
        ("country=IT&quality=disk", {BARI}),
        ("bari-disk|lyon-disk", {BARI, LYON}),
        ("*\\country=IT", {LYON, ODD}),
        # all three bind equally, from left to right
        ("country=FR|country=IT&quality=tape", {CNAF}),
        ("quality=tape&country=IT|country=FR", {CNAF, LYON}),
        ("country=FR|(country=IT&quality=tape)", {CNAF, LYON}),
        ("*\\bari-disk\\lyon-disk", {CNAF, ODD}),
        ("*\\(bari-disk\\bari-disk)", {BARI, CNAF, LYON, ODD}),
        ("*\\bari-disk|bari-disk", {BARI, CNAF, LYON, ODD}),
        ("((country=IT))&((*))", {BARI, CNAF}),
        (" country=IT\n & quality=disk ", {BARI}),
    ],
)
def test_selects(text: str, selected: Any) -> None:
    assert parse(text).select(ELEMENTS) == selected


@pytest.mark.parametrize(
    ("text", "column", "words"),
    [
        ("", 1, "ends where"),
        ("   ", 1, "ends where"),
        ("a|", 3, "ends where"),
        ("|a", 1, "nothing to its left"),
        ("a||b", 3, "nothing to its left"),
        ("a b", 3, "operator is missing"),
        ("a(b)", 2, "operator is missing"),
        ("(a", 1, "never closed"),
        ("a)", 2, "closes nothing"),
        ("()", 2, "is expected"),
        ("(a|)", 4, "is expected"),
        ("IT*", 1, "stands alone"),
        ("country = IT", 9, "neither"),
        ("a=", 1, "follows at once"),
        ("tier<high", 1, "no number"),
        ("tier<nan", 1, "no number"),
        ("a=b=c", 1, "neither"),
        ("a=../b", 1, "neither"),
        ("a|\u00e9", 3, "neither"),
        ("a;b", 2, "neither"),
        ("a\0", 2, "neither"),
        ("-a", 1, "neither"),
    ],
)
def test_refuses_with_a_column_and_a_hint(text: str, column: int, words: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse(text)
    message = str(caught.value)
    assert message.startswith(f"column {column}: ") or not text.strip()
    assert words in message
    assert "; " in message


@pytest.mark.parametrize(
    "text",
    [
        "(" * 10_000 + "a" + ")" * 10_000,
        "a&(" * 10_000 + "a" + ")" * 10_000,
        "|".join(f"a{number}" for number in range(9_000)),
    ],
)
def test_depth_and_length_do_no_harm(text: str) -> None:
    assert parse(text).select({"a": {}, "a7": {}}) <= {"a", "a7"}


@pytest.mark.parametrize("text", ["(" * 30_000, "a" * 60_000 + "!", "a-" * 30_000, "a" * 70_000, ")" * 9])
def test_hostile_text_is_refused_quickly(text: str) -> None:
    started = time.monotonic()
    with pytest.raises(ValueError):
        parse(text)
    assert time.monotonic() - started < 2


def test_without_white_space_it_is_what_rucio_takes() -> None:
    assert str(parse(" country=IT & ( a | b ) ")) == "country=IT&(a|b)"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("a|b", "b | a", True),
        ("a&b|a", "a|(a&b)", True),
        ("(a|b)&c", "a|b&c", True),
        ("a|b&c", "a|(b&c)", False),
        ("*", "a|*", False),
        ("a\\b", "b\\a", False),
        ("a=1", "a=2", False),
    ],
)
def test_meaning(one: str, other: str, same: bool) -> None:
    assert (parse(one).meaning == parse(other).meaning) is same


WORDS = st.sampled_from(["a", "b", "c", "x=1", "x<2", "*"])
TREES: st.SearchStrategy[Any] = st.recursive(
    WORDS, lambda inner: st.tuples(inner, st.sampled_from("|&\\"), inner), max_leaves=12
)
WORLDS = st.dictionaries(
    st.sampled_from(["a", "b", "c", "d"]), st.fixed_dictionaries({"x": st.integers(0, 3)}), max_size=4
)


def written(tree: Any) -> str:
    return tree if isinstance(tree, str) else f"({written(tree[0])}{tree[1]}{written(tree[2])})"


def selected(tree: Any, world: dict[str, dict[str, int]]) -> set[str]:
    if isinstance(tree, str):
        passing = {"*": range(4), "x=1": [1], "x<2": [0, 1]}.get(tree, [])
        return {name for name, attributes in world.items() if name == tree or attributes["x"] in passing}
    left, right = selected(tree[0], world), selected(tree[2], world)
    return left | right if tree[1] == "|" else left & right if tree[1] == "&" else left - right


@given(TREES, WORLDS)
def test_selects_what_sets_say(tree: Any, world: Any) -> None:
    assert parse(written(tree)).select(world) == selected(tree, world)


@given(TREES, TREES, WORLDS)
def test_the_same_meaning_selects_the_same(one: str, other: str, world: Any) -> None:
    first, second = parse(written(one)), parse(written(other))
    if first.meaning == second.meaning:
        assert first.select(world) == second.select(world)


@given(st.text(alphabet="ab1=<>*|&\\() -_.", max_size=30))
def test_any_text_is_parsed_or_refused_with_words(text: str) -> None:
    said = ""
    try:
        parse(text).select(ELEMENTS)
    except ValueError as error:
        said = str(error)
    assert not said or said.startswith("column ")
