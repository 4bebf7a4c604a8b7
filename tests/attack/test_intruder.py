"""What somebody tries who may commit to the folders of one group (b), and not to reconciler.yaml.

U1 names of others · U2 their files · U3 their places · U4 rules · U5 size · U6 words.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from reconciler.errors import ExitCode
from reconciler.model import Word
from reconciler.run import Planned
from tests.laws.lab import GENEROUS, Lab, base, rule, upload

OWNERSHIP = """ownership:
  - {path: 'providers/*.yaml', kinds: [Provider]}
  - {path: 'groups/*.yaml', kinds: [UserGroup]}
  - {path: 'elements/*.yaml', kinds: [StorageElement]}
  - {path: 'data/{group}/*.yaml', kinds: [DataRule], fields: {adopt: deny}}
  - {path: 'software/{group}/*.yaml', kinds: [SoftwareUpload], fields: {adopt: deny}}
"""
HOSTILE = "\\u202Eabc<script>alert(1)</script>\\n::error::x"


@pytest.fixture
def lab() -> Iterator[Lab]:
    """Group a has software and data; the rules of paths hold."""
    files = {"software/a/u.yaml": upload("u"), "data/a/r.yaml": rule("r", copies=2)}
    with Lab({**base(GENEROUS + OWNERSHIP), **files}) as found:
        assert found.apply().exit_code == ExitCode.CONVERGED
        yield found


def touched(planned: Planned) -> set[str]:
    """What is about to change and not held."""
    return {str(change.ref.object) for change in planned.plan.open}


def unharmed(lab: Lab) -> None:
    """Things of group a stay through two passes, and their author can still change them."""
    before = set(lab.digest())
    assert not {ref for ref in touched(lab.plan()) if "/a/" in ref}
    for _ in range(2):
        lab.apply()
    assert set(lab.digest()) == before
    lab.commit({"software/a/u.yaml": upload("u", source="newer.tar")})
    assert "SoftwareUpload/a/u" in touched(lab.plan())


# -- U1: names of others ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", [upload("u"), upload("u", source="evil.tar"), upload("u", metadata="locked: true")]
)
def test_u1_a_second_file_of_a_name_blocks_nobody(text: str, lab: Lab) -> None:
    lab.commit({"software/b/u.yaml": text})
    assert lab.plan().exit_code == ExitCode.INVALID
    unharmed(lab)


@pytest.mark.parametrize(
    "text",
    [
        base()["groups/a.yaml"].replace("name: a", "name: a, suspend: {reason: mine}"),
        base()["providers/alba.yaml"].replace("spec:", "spec:\n  status: maintenance"),
        base()["elements/alba.yaml"].replace("ES", "IT"),
    ],
    ids=["UserGroup", "Provider", "StorageElement"],
)
def test_u1_nobody_suspends_or_moves_others(text: str, lab: Lab) -> None:
    lab.commit({"software/b/x.yaml": text})
    planned = lab.plan()
    assert [problem.path for problem in planned.invalid] == ["software/b/x.yaml"]
    unharmed(lab)


def test_u1_nobody_makes_a_site_of_his_own(lab: Lab) -> None:
    """A Provider in a group's folder would be a target with settings of the author's choice."""
    mine = base()["providers/alba.yaml"].replace("name: alba", "name: mine")
    lab.commit({"software/b/p.yaml": mine, "software/b/v.yaml": upload("v", "b", target="mine")})
    planned = lab.plan()
    assert [problem.path for problem in planned.invalid] == ["software/b/p.yaml"]
    assert not touched(planned)
    unharmed(lab)


def test_u1_a_provider_in_a_strange_place_holds_its_things(lab: Lab) -> None:
    provider = lab.files.pop("providers/alba.yaml")
    lab.commit({**lab.files, "software/b/alba.yaml": provider}, whole=True)
    before = lab.digest()
    for _ in range(2):
        assert lab.apply().exit_code == ExitCode.INVALID
    assert lab.digest() == before


def test_u1_a_group_can_not_be_named_in_the_folder_of_another(lab: Lab) -> None:
    lab.commit({"software/b/v.yaml": upload("v", "a")})
    planned = lab.plan()
    assert [problem.code for problem in planned.invalid] == ["Ownership"]
    assert not touched(planned)


def test_u1_a_name_of_another_group_is_never_inherited(lab: Lab) -> None:
    """`formerly` of what another group has just removed: its data would change hands."""
    lab.drop("data/a/r.yaml")
    lab.commit({"data/b/x.yaml": rule("x", "b", 2, metadata="formerly: DataRule/a/r")})
    planned = lab.plan()
    assert [problem.code for problem in planned.invalid] == ["Formerly"]
    assert "hint: a name stays in its group" in str(planned.invalid[0])
    lab.apply()
    assert not {thing.ref for _site, thing in lab.things("replica") if thing.ref.startswith("DataRule/b/")}


def test_u1_a_strange_heir_takes_no_inheritance_away(lab: Lab) -> None:
    lab.drop("software/a/u.yaml")
    heir = upload("new", metadata="formerly: SoftwareUpload/a/u", path="a/u", source="u.tar")
    strange = upload("evil", metadata="formerly: SoftwareUpload/a/u")
    lab.commit({"software/a/z.yaml": heir, "software/0/first.yaml": strange})
    planned = lab.plan()
    assert {problem.path for problem in planned.invalid} == {"software/0/first.yaml"}
    assert [change.reason for change in planned.plan.changes] == ["Renamed"]


# -- U2, U3: files and places of others --------------------------------------------------------------


@pytest.mark.parametrize("field", ["source", "path", "repository"])
@pytest.mark.parametrize("value", ["../a", "/etc/passwd", "x/../../y", "./x", "x//y", "~/x", "\\u0000"])
def test_u2_no_path_leads_out(field: str, value: str, lab: Lab) -> None:
    if (field, value) in {("source", "~/x"), ("path", "~/x")}:
        pytest.skip("a folder of that name: nothing expands it")
    hostile = upload("w", "b", **{field: "REPLACE"}).replace("'REPLACE'", f'"{value}"')
    lab.commit({"software/b/w.yaml": hostile})
    planned = lab.plan()
    assert [problem.path for problem in planned.invalid] == ["software/b/w.yaml"]
    assert not touched(planned)


def test_u3_a_place_that_is_given_up_is_not_taken_while_it_is_there(lab: Lab) -> None:
    lab.drop("software/a/u.yaml")
    lab.commit({"software/b/w.yaml": upload("w", "b", path="a/u"), "software/a/k.yaml": upload("k")})
    lab.apply()
    lab.apply()
    standing = [thing.ref for _site, thing in lab.things("SoftwareUpload")]
    assert sorted(standing) == ["SoftwareUpload/a/k", "SoftwareUpload/b/w"]  # one owner at a time


# -- U4: rules ---------------------------------------------------------------------------------------


def test_u4_a_change_is_not_judged_by_its_own_rules(lab: Lab) -> None:
    lab.git("branch", "trusted")
    settings = lab.files["reconciler.yaml"].replace("fields: {adopt: deny}", "")
    settings = settings.replace("owner: lab", "owner: evil").replace("'software/{group}/*.yaml'", "'**'")
    provider = lab.files["providers/alba.yaml"].replace("2s", "2s, world: /nowhere")
    strange = upload("v", "a")
    lab.commit({"reconciler.yaml": settings, "software/b/v.yaml": strange, "providers/alba.yaml": provider})
    planned = lab.plan(trusted_ref="trusted")
    assert [problem.code for problem in planned.invalid] == ["Ownership"]
    assert not planned.plan.changes
    assert not planned.plan.blind


# -- U5: size ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        rule("r", "b", expression="|".join(["tier=1"] * 50_000)),
        rule("r", "b", expression="(" * 70_000 + "tier=1" + ")" * 70_000),
        rule("r", "b", copies=10_000),
        rule("r", "b").replace("copies: 1", "copies: " + "9" * 500_000),
        rule("r", "b") + "  lifetime: " + "9" * 400 + "w\n",
        rule("r", "b") + "  verify: {every: 99999999999d}\n",
        rule("r", "b") + "  x: [" + "1," * 1_000_000 + "1]\n",
        rule("r", "b") + "  x: " + "[" * 100_000 + "\n",
        rule("r", "b", metadata="annotations: {x: '" + "y" * 1_040_000 + "'}"),
        "---\n".join(rule(f"r{number}", "b") for number in range(3000)),
    ],
    ids=["operators", "brackets", "copies", "number", "duration", "every", "list", "deep", "line", "many"],
)
def test_u5_what_is_too_big_is_refused_quickly(text: str, lab: Lab) -> None:
    lab.commit({"data/b/r.yaml": text})
    began = time.monotonic()
    planned = lab.plan()
    assert time.monotonic() - began < 10
    assert {problem.path for problem in planned.invalid} == {"data/b/r.yaml"}
    assert not touched(planned)


@pytest.mark.parametrize("depth", [10, 3000])
def test_u5_brackets_do_not_end_us(depth: int, lab: Lab) -> None:
    lab.commit({"data/b/r.yaml": rule("r", "b", expression="(" * depth + "tier=1" + ")" * depth)})
    assert touched(lab.plan()) == {"DataRule/b/r"}


# -- U6: words -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "field", ["target", "repository", "path", "source", "sha256", "kind", "name", "group"]
)
def test_u6_no_problem_carries_what_a_terminal_or_a_page_would_obey(field: str, lab: Lab) -> None:
    text = upload("w", "b", path="w", source="w")
    olds = {"kind": "kind: SoftwareUpload", "name": "name: w", "group": "group: b"}
    old = olds.get(field) or next(line.strip() for line in text.split("\n") if line.startswith(f"  {field}:"))
    lab.commit({"software/b/w.yaml": text.replace(old, f'{field}: "{HOSTILE}"', 1)})
    planned = lab.plan()
    assert planned.invalid
    assert all((problem.message + problem.hint).isprintable() for problem in planned.invalid)
    failed = [entry for entry in planned.conditions.values() if entry.word is Word.FAILED]
    assert all(entry.message.isprintable() for entry in failed)
