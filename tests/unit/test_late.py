"""Late values: what is known only when something else stands."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.late import after, attribute_of, fits, is_late, late_values, resolve
from reconciler.model import Json, Ref

HEAD = Ref("Deployment", "cms", "d", "head.server")
ADDRESS, PORT = after(HEAD, "address"), after(HEAD, "ports.http")
SECRET = {"$secret": "env:TOKEN", "tag": "0123abcd"}
ATTRIBUTES = {"address": "192.0.2.1", "ports": {"http": 8080}, "hosts": ["a", "b"], "none": None}


def told(ref: Ref, attribute: str) -> Json:
    return attribute_of(ATTRIBUTES, attribute) if ref == HEAD else None


def untold(_ref: Ref, _attribute: str) -> Json:
    return None


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("address", "192.0.2.1"),
        ("ports.http", 8080),
        ("hosts.1", "b"),
        ("ports", {"http": 8080}),
        ("hosts.2", None),
        ("hosts.-1", None),
        ("hosts.x", None),
        ("ports.ssh", None),
        ("address.0", None),
        ("none", None),
        ("nothing.at.all", None),
    ],
)
def test_a_path_leads_into_an_attribute(path: str, expected: Json) -> None:
    assert attribute_of(ATTRIBUTES, path) == expected
    assert resolve(after(HEAD, path), told) == (after(HEAD, path) if expected is None else expected)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"$join": ["http://", ADDRESS, ":", PORT, "/"]}, "http://192.0.2.1:8080/"),
        ({"$join": ["a", {"$join": [ADDRESS, "b"]}]}, "a192.0.2.1b"),
        ({"$join": []}, ""),
        ({"$join": [True, 1, "x"]}, "True1x"),
        ([{"deep": ({"$join": [PORT]},)}], [{"deep": ["8080"]}]),
        ({"a": ADDRESS, "b": 1, "c": None}, {"a": "192.0.2.1", "b": 1, "c": None}),
    ],
)
def test_text_is_joined_once_all_of_it_is_known(spec: Json, expected: Json) -> None:
    assert resolve(spec, told) == expected
    assert resolve(resolve(spec, told), untold) == expected


def test_what_is_not_known_keeps_its_form_and_the_rest_is_filled_in() -> None:
    other = after(HEAD._replace(name="e"), "address")
    assert resolve({"$join": ["x", ADDRESS, other]}, told) == {"$join": ["x", "192.0.2.1", other]}
    assert resolve({"$join": ["x", ADDRESS]}, untold) == {"$join": ["x", ADDRESS]}


def test_a_secret_inside_of_a_text_stays_closed() -> None:
    joined = {"$join": ["http://:", SECRET, "@", ADDRESS]}
    assert resolve(joined, told) == {"$join": ["http://:", SECRET, "@", "192.0.2.1"]}
    assert resolve(SECRET, told) == SECRET
    assert list(late_values(resolve(joined, told))) == []


@pytest.mark.parametrize(
    ("value", "late"),
    [
        (ADDRESS, True),
        ({"$join": ["a", ADDRESS]}, True),
        ({"$join": ["a", {"$join": [ADDRESS]}]}, True),
        ({"$join": ["a", SECRET]}, False),
        (SECRET, False),
        ({**ADDRESS, "more": 1}, False),
        ("$after", False),
        ({}, False),
    ],
)
def test_what_is_late(value: Any, late: bool) -> None:
    assert is_late(value) is late


def test_all_late_values_of_a_spec_are_found() -> None:
    spec = {"a": [ADDRESS, {"b": {"$join": ["x", PORT, SECRET]}}], "c": "Deployment/x#address", "d": (PORT,)}
    assert list(late_values(spec)) == [(HEAD, "address"), (HEAD, "ports.http"), (HEAD, "ports.http")]


@pytest.mark.parametrize(
    ("wish", "real", "fit"),
    [
        ({"a": ADDRESS}, {"a": "192.0.2.9"}, True),
        ({"a": {"$join": ["x", ADDRESS]}}, {"a": "anything"}, True),
        ([ADDRESS, 1], ["x", 1], True),
        ([ADDRESS, 1], ["x", 2], False),
        ([ADDRESS], ["x", "y"], False),
        ({"a": ADDRESS}, {"a": "x", "b": 1}, False),
        ({"a": ADDRESS}, {}, False),
        ({"a": 1}, {"a": 2}, False),
        ({"a": {"$join": ["x", SECRET]}}, {"a": "x"}, False),
        ("ab", ["a", "b"], False),
    ],
)
def test_what_is_not_known_fits_whatever_is_there(wish: Json, real: Json, fit: bool) -> None:
    assert fits(wish, real) is fit
