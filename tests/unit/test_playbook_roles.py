"""What a role says of itself, and whether variables fit it: read and judged without running anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reconciler.playbook.arguments import check_arguments
from reconciler.playbook.roles import builtin_roles, files_of, read_role

CANARY = "canary-5d1f0c77b2"

_OPTIONS = b"argument_specs:\n  main:\n    options:\n"
GOOD = {
    "tasks/main.yml": b"[]\n",
    "tasks/remove.yml": b"[]\n",
    "meta/reconciler.yml": b"rootless: true\nremovable: true\ndescription: A page\n",
    "meta/argument_specs.yml": _OPTIONS + b"      web_port: {type: int, default: 80}\n",
}


def test_a_role_is_read() -> None:
    found, problems = read_role("web", GOOD)
    assert problems == []
    assert found is not None
    assert (found.rootless, found.removable, found.description) == (True, True, "A page")
    assert found.options == {"web_port": {"type": "int", "default": 80}}
    assert len(found.content) == 12


def test_content_changes_with_every_name_and_byte() -> None:
    variants: list[dict[str, bytes]] = [GOOD, {**GOOD, "files/a": b""}, {**GOOD, "files/b": b""}]
    variants += [{**GOOD, "files/a": b"b"}, {**GOOD, "tasks/main.yml": b"[] \n"}]
    found = [read_role("web", files)[0] for files in variants]
    assert len({entry.content for entry in found if entry}) == len(variants)
    turned = read_role("web", dict(reversed(GOOD.items())))[0]
    assert turned is not None
    assert found[0] is not None
    assert turned.content == found[0].content


@pytest.mark.parametrize(
    ("file", "text", "place", "message"),
    [
        ("meta/reconciler.yml", b"a: 1\nrootles: true\n", 1, "unknown key a"),
        ("meta/reconciler.yml", b"rootless: maybe\n", 1, "rootless must be true or false"),
        ("meta/reconciler.yml", b"\n- 1\n", 2, "one mapping is expected"),
        ("meta/reconciler.yml", b"x: [\n", 2, "YAML"),
        ("meta/argument_specs.yml", b"argument_specs:\n  man: {}\n", 1, "a mapping main is expected"),
        (
            "meta/argument_specs.yml",
            b"argument_specs:\n  main:\n    options:\n      port: {}\n",
            4,
            "must begin with web_",
        ),
        (
            "meta/argument_specs.yml",
            b"argument_specs:\n  main:\n    options:\n      web_x:\n        type: strr\n",
            5,
            "unknown type strr",
        ),
    ],
)
def test_what_is_wrong_with_a_role_has_its_line(file: str, text: bytes, place: int, message: str) -> None:
    found, problems = read_role("web", {**GOOD, file: text})
    assert found is None
    assert message in problems[0].message or problems[0].code == "Syntax"
    assert (problems[0].path, problems[0].line) == (f"roles/web/{file}", place)


def test_a_role_needs_its_files() -> None:
    files = {name: data for name, data in GOOD.items() if not name.startswith("tasks/")}
    messages = [problem.message for problem in read_role("web", files)[1]]
    assert messages == ["role web has no tasks/main.yml", "the role is removable but has no tasks/remove.yml"]
    assert "no name of a role" in read_role("We b", GOOD)[1][0].message
    assert read_role("web", {"tasks/main.yml": b""})[0] is not None


def test_the_roles_that_ship_are_well_described(tmp_path: Path) -> None:
    for name, found in builtin_roles().items():
        assert found.name == name
        assert found.description


def test_hidden_files_are_no_part_of_a_role(tmp_path: Path) -> None:
    for path in (".git/config", "tasks/main.yml", "meta/.hidden.yml", "files/__pycache__/a.pyc"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("x")
    assert list(files_of(str(tmp_path))) == ["tasks/main.yml"]


OPTIONS: dict[str, dict[str, Any]] = {
    "web_port": {"type": "int", "required": True},
    "web_mode": {"type": "str", "choices": ["fast", "safe"]},
    "web_key": {"type": "str", "no_log": True, "choices": ["k"]},
    "web_on": {"type": "bool"},
    "web_names": {"type": "list", "elements": "str", "choices": ["a", "b"]},
    "web_users": {
        "type": "list",
        "elements": "dict",
        "options": {"name": {"type": "str", "required": True}, "id": {"type": "int"}},
    },
}
LATER = {"$after": "Deployment/a/b/c.server#address"}


def complaints(**variables: Any) -> dict[str, str]:
    return {found.variable: found.message for found in check_arguments(OPTIONS, {"web_port": 1, **variables})}


def test_variables_that_fit() -> None:
    assert complaints() == {}
    fits = {"web_mode": "fast", "web_on": True, "web_names": ["a"], "web_users": [{"name": "n", "id": 3}]}
    assert complaints(**fits) == {}


def test_variables_that_do_not_fit() -> None:
    assert complaints(web_port="many")["web_port"].endswith("cannot be converted to an int")
    assert complaints(web_port=None) == {"web_port": "web_port is required"}
    assert check_arguments(OPTIONS, {})[0].message == "web_port is required"
    assert "must be one of: fast, safe" in complaints(web_mode="slow")["web_mode"]
    assert complaints(web_mode={"a": 1}) == {"web_mode": "web_mode must be text, not a mapping"}
    assert complaints(web_on="yes") == {"web_on": "web_on must be true or false, not text"}
    assert complaints(web_names="a,b") == {"web_names": "web_names must be a list, not text"}
    assert "web_names" in complaints(web_names=["c"])
    assert "missing required arguments: name" in complaints(web_users=[{"id": 1}])["web_users"]
    assert CANARY not in complaints(web_key=CANARY)["web_key"]


def test_an_unknown_variable_is_guessed() -> None:
    [found] = check_arguments(OPTIONS, {"web_port": 1, "web_prot": 2})
    assert (found.message, found.hint) == ("the role has no variable web_prot", "did you mean 'web_port'?")


@pytest.mark.parametrize(
    "late", [LATER, {"$join": ["a", LATER]}, {"$secret": "x"}, {"$attribute": ["a", "b"]}]
)
def test_what_is_not_known_yet_fits(late: dict[str, Any]) -> None:
    assert check_arguments(OPTIONS, {"web_port": late}) == ()
    assert complaints(web_mode=late, web_on=late, web_names=late, web_users=late) == {}
    assert complaints(web_names=["a", late], web_users=[{"name": late, "id": late}, late]) == {}
    assert "web_users" in complaints(web_users=[{"name": late, "id": "x"}])
    assert "web_names" in complaints(web_names=[late, "c"])
