"""The strict YAML reader."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as some

import reconciler.strict_yaml as reader
from reconciler.strict_yaml import YamlError, read
from reconciler.strict_yaml.places import Places
from reconciler.strict_yaml.text import pure_parser_of


def value(text: str) -> object:
    (document,) = read(text.encode())
    return document.value


def refused(data: bytes) -> YamlError:
    with pytest.raises(YamlError) as caught:
        read(data)
    return caught.value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no", "no"),
        ("on", "on"),
        ("yes", "yes"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("012", 12),
        ("0o17", 15),
        ("0x1F", 31),
        ("-5", -5),
        ("+5", 5),
        ("20.04", "20.04"),
        ("1e400", "1e400"),
        (".nan", ".nan"),
        (".inf", ".inf"),
        ("12:30:45", "12:30:45"),
        ("2026-01-01", "2026-01-01"),
        ("1_000", "1_000"),
        ("'5'", "5"),
        ('"true"', "true"),
        ("!!str 5", "5"),
        ("!!int 5", 5),
        ("0b11", "0b11"),
        ("9007199254740991", 2**53 - 1),
    ],
)
def test_scalars_follow_yaml_1_2_and_floats_keep_their_text(text: str, expected: object) -> None:
    found = value(f"a: {text}\n")
    assert found == {"a": expected}
    assert isinstance(found, dict)
    assert type(found["a"]) is type(expected)


def test_documents_know_their_place_and_line() -> None:
    found = read(b"# hello\n---\na: 1\n---\n---\n# x\nb: 2\n...\n")
    assert [(entry.index, entry.line, entry.value) for entry in found] == [(0, 3, {"a": 1}), (2, 7, {"b": 2})]


def test_nothing_is_no_document() -> None:
    assert read(b"") == read(b"# only a comment\n") == ()


def test_a_byte_order_mark_is_passed_over() -> None:
    assert read(b"\xef\xbb\xbfa: 1\n")[0].value == {"a": 1}


def test_aliases_stand_for_what_they_name() -> None:
    assert value("a: &x {b: 1}\nc: *x\nd: [*x, *x]\n") == {"a": {"b": 1}, "c": {"b": 1}, "d": [{"b": 1}] * 2}


@pytest.mark.parametrize(
    ("data", "place", "code", "words"),
    [
        (b"a: 1\nb: 2\na: 3\n", (3, 1), "DuplicateKey", "already in line 1"),
        (b"x: {a: 1, a: 2}\n", (1, 11), "DuplicateKey", "given twice"),
        (b"<<: {a: 1}\n", (1, 1), "MergeKey", "merge keys"),
        (b"1: a\n", (1, 1), "Key", "keys must be strings"),
        (b"? [a]\n: b\n", (1, 3), "Key", "keys must be strings"),
        (b"a: 9007199254740992\n", (1, 4), "IntegerTooLarge", "beyond what JSON"),
        (b"a:\n\tb: 1\n", (2, 1), "Syntax", "a tab"),
        (b"a: b: c\n", (1, 5), "Syntax", "no mapping can begin"),
        (b"a: 'x\n", (2, 1), "Syntax", "never closed"),
        (b"a: [1, 2\n", (2, 1), "Syntax", "never closed"),
        (b"a: |\n  x\n y\n", (3, 2), "Syntax", "does not fit the block"),
        (b"a: @x\n", (1, 4), "Syntax", "no plain value may begin"),
        (b"a: *x\n", (1, 4), "Syntax", "stands for nothing"),
        (b"a: !!bool x\n", (1, 4), "Tag", "not what its tag"),
    ],
)
def test_errors_say_where_and_what(data: bytes, place: tuple[int, int], code: str, words: str) -> None:
    error = refused(data)
    assert ((error.line, error.column), error.code) == (place, code)
    assert words in error.message
    assert error.hint or code in ("Tag", "Syntax")


def test_the_parser_in_python_gives_the_same() -> None:
    text = "a: &x [1, no, 20.04, !!str 5, 'q']\nb: *x\n---\nc: {d: ~}\n"
    slow = tuple(reader._Reader(pure_parser_of(text), careful=False).documents())
    assert slow == read(text.encode())


json_values = some.recursive(
    some.none()
    | some.booleans()
    | some.integers(-(2**53) + 1, 2**53 - 1)
    | some.text(some.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn", "Co"]), max_size=20),
    lambda inner: (
        some.lists(inner, max_size=4) | some.dictionaries(some.text("abcé<.", min_size=1), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(some.dictionaries(some.sampled_from("abc"), json_values, min_size=1))
def test_json_is_read_as_json_reads_it(content: dict[str, object]) -> None:
    assert read(json.dumps(content, ensure_ascii=False).encode())[0].value == content


def outcome(data: bytes) -> object:
    try:
        return read(data)
    except YamlError as error:
        return error


@given(some.binary(max_size=200))
def test_any_bytes_are_a_value_or_an_error_with_a_place(data: bytes) -> None:
    found = outcome(data)
    if isinstance(found, YamlError):
        assert min(found.line, found.column) >= 1
        assert found.message.isprintable()


def test_places_of_keys_and_values() -> None:
    places = Places(b"# x\n---\na:\n  b:\n  - c: 1\n    d: [1, {e: 2}]\n---\nz: &s [1]\ny: *s\n")
    assert places.value(0, ("a", "b", 0, "d", 1, "e")) == (6, 16)
    assert places.key(0, ("a", "b", 0, "d")) == (6, 5)
    assert places.value(0, ("a", "gone", 3)) == (4, 3)
    assert places.key(1, ("z",)) == (8, 1)
    assert places.value(1, ("y", 0)) == (9, 4)
    assert places.value(7, ("a",)) == (1, 1)
