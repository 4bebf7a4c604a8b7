"""From documents to valid objects: every problem at once, each with its place and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from reconciler import registry
from reconciler.errors import InvalidRepository, Problem
from reconciler.model import Json, Ref, Suspension
from reconciler.source.git import open_repository
from reconciler.source.snapshot import Snapshot
from reconciler.stages.load import load, load_worktree
from reconciler.stages.validate import Validated, validate, validate_against
from tests.conftest import GitRepository

SETTINGS = "owner: test-1\n"
DRIVER = {
    "type": "object",
    "additionalProperties": False,
    "required": ["path"],
    "properties": {
        "path": {"type": "string", "description": "a folder", "examples": ["disk"]},
        "password": {"type": "string", "writeOnly": True, "pattern": "^env:"},
    },
}
UPLOAD = """apiVersion: reconciler/v1
kind: SoftwareUpload
metadata:
  name: {name}
  group: cms
spec:
  target: {target}
  repository: sw.example.org
  path: root/{name}
  source: root.tar.gz
  sha256: "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
"""


def settings_schema(driver: str) -> Mapping[str, Json] | None:
    return DRIVER if driver == "storage" else None


def provider(name: str = "recas", spec: str = "", metadata: str = "", path: str = "disk") -> str:
    return (
        f"apiVersion: reconciler/v1\nkind: Provider\nmetadata: {{name: {name}{metadata}}}\n"
        f"spec:\n  targets:\n  - {{type: storage, path: {path}}}\n{spec}"
    )


def group(name: str = "cms", metadata: str = "", spec: str = "{}") -> str:
    return f"apiVersion: reconciler/v1\nkind: UserGroup\nmetadata: {{name: {name}{metadata}}}\nspec: {spec}\n"


def upload(name: str = "root", target: str = "recas") -> str:
    return UPLOAD.format(name=name, target=target)


def tree(folder: Path, files: Mapping[str, str]) -> Snapshot:
    for path, text in {"reconciler.yaml": SETTINGS, **files}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return load_worktree(folder)


def checked(folder: Path, files: Mapping[str, str], trusted: Snapshot | None = None) -> Validated:
    snapshot = tree(folder, files)
    return validate(snapshot, trusted or snapshot, registry.kinds(), settings_schema)


def only(found: Validated) -> Problem:
    assert len(found.problems) == 1, [str(problem) for problem in found.problems]
    return found.problems[0]


def test_a_good_repository_is_all_there(tmp_path: Path) -> None:
    found = checked(tmp_path, {"p.yaml": provider(), "g.yaml": group(), "s.yaml": upload()})
    assert found.problems == ()
    assert sorted(map(str, found.declared)) == ["Provider/recas", "SoftwareUpload/cms/root", "UserGroup/cms"]
    assert (found.invalid, found.waiting, found.unreadable, found.notices) == ({}, {}, False, ())
    assert found.settings.owner == "test-1"
    assert found.targets["recas"].settings == {"path": "disk"}
    root = found.declared[Ref("SoftwareUpload", "cms", "root")]
    assert str(root.source) == "s.yaml:1"
    assert root.spec["keepPrevious"] == 0  # a default, written out


def test_metadata_is_read(tmp_path: Path) -> None:
    more = (
        ", labels: {team: x}, suspend: {reason: because, until: 2026-12-01}, locked: true, onRemove: keep,"
        " formerly: UserGroup/old, adopt: true, expires: 2027-01-31"
    )
    found = checked(tmp_path, {"g.yaml": group(metadata=more)})
    assert found.problems == ()
    metadata = found.declared[Ref("UserGroup", "", "cms")].metadata
    assert metadata.suspend == Suspension("because", date(2026, 12, 1))
    assert (metadata.locked, metadata.keep, metadata.adopt) == (True, True, True)
    assert metadata.formerly == Ref("UserGroup", "", "old")
    assert metadata.expires == date(2027, 1, 31)
    assert metadata.labels == {"team": "x"}


@pytest.mark.parametrize(
    ("text", "place", "code", "message", "hint"),
    [
        (
            group(spec="{descripton: x}"),
            (4, 8),
            "UnknownField",
            "unknown field `descripton` in spec; did you mean `description`?",
            "",
        ),
        (
            group(spec="{zzz: x}"),
            (4, 8),
            "UnknownField",
            "unknown field `zzz` in spec",
            "the fields are contacts, description, identity, recipients, slas",
        ),
        (group(spec="[]"), (4, 7), "WrongType", "expected a mapping, found a list", ""),
        (
            group(spec="{description: 5}"),
            (4, 21),
            "WrongType",
            "expected a string, found the number 5",
            'quote it: "5"',
        ),
        (group(spec="{description: ~}"), (4, 21), "WrongType", "expected a string, found nothing", ""),
        (
            group(spec="{contacts: [a@b.c, nobody]}"),
            (4, 26),
            "BadForm",
            "the string 'nobody' does not fit; expected: a mail address, like `higgs@example.org`",
            "",
        ),
        (
            provider(spec="  status: remvoed\n"),
            (7, 11),
            "NotAllowed",
            "expected one of `active`, `maintenance`, `limited`, `removed`; found the string 'remvoed'",
            "did you mean `removed`?",
        ),
        (
            group(metadata=", onRemove: leave"),
            (3, 33),
            "NotAllowed",
            "expected one of `delete`, `keep`; found the string 'leave'",
            "",
        ),
        (
            group(metadata=", suspend: {until: 2026-01-01}"),
            (3, 23),
            "MissingField",
            "the field `reason` is missing in suspend",
            (
                "why the object is left alone, for whoever reads the status;"
                " for example `reason: disk swap at the site`"
            ),
        ),
        (
            group(metadata=", expires: 2026-02-30"),
            (3, 32),
            "BadDate",
            "there is no day 2026-02-30",
            "write a day that exists as YYYY-MM-DD",
        ),
        (
            group(metadata=", formerly: Provider/cms"),
            (3, 33),
            "Formerly",
            "formerly names a Provider; an object keeps its kind, UserGroup",
            "a thing of another kind is deleted and created",
        ),
        (
            group().replace("UserGroup", "UsreGroup"),
            (2, 7),
            "UnknownKind",
            "there is no kind 'UsreGroup'",
            "did you mean 'UserGroup'?",
        ),
        (
            group(spec="{slas: [{id: a, start: 2026-02-01, end: 2026-01-01}]}"),
            (4, 47),
            "Invalid",
            "the agreement ends before it starts",
            "exchange the two dates",
        ),
        (
            group(spec="{slas: [{id: a, start: 2026-01-01, end: 2027-01-01, providers: [reacs]}]}"),
            (4, 71),
            "UnknownReference",
            "there is no Provider/reacs",
            "declare Provider/reacs in this repository",
        ),
    ],
)
def test_every_problem_has_its_place_and_words(
    tmp_path: Path, text: str, place: tuple[int, int], code: str, message: str, hint: str
) -> None:
    problem = only(checked(tmp_path, {"x.yaml": text}))
    assert (problem.path, problem.line, problem.column, problem.code) == ("x.yaml", *place, code)
    assert (problem.message, problem.hint) == (message, hint)


def test_all_problems_come_at_once_sorted_and_twice_the_same(tmp_path: Path) -> None:
    files = {
        "b.yaml": group("b", spec="{x: 1, description: 2}")
        + "---\n"
        + group("b2", metadata=", Locked: true"),
        "a.yaml": "a: [\n",
        "c.yaml": provider("c", path="[]"),
    }
    first = checked(tmp_path, files)
    assert [(p.path, p.line, p.code) for p in first.problems] == [
        ("a.yaml", 2, "Syntax"),
        ("b.yaml", 4, "UnknownField"),
        ("b.yaml", 4, "WrongType"),
        ("b.yaml", 8, "UnknownField"),
        ("c.yaml", 6, "WrongType"),
    ]
    assert checked(tmp_path, files).problems == first.problems
    assert sorted(map(str, first.invalid)) == ["Provider/c", "UserGroup/b", "UserGroup/b2"]


def test_verdicts_are_remembered_and_stay_the_same(repository: GitRepository, tmp_path: Path) -> None:
    repository.commit({"reconciler.yaml": SETTINGS, "g.yaml": group(spec="{x: 1}"), "p.yaml": provider()})
    there = open_repository(str(repository.path), tmp_path)
    found = []
    for _ in range(3):
        snapshot = load(there, there.resolve("HEAD"), tmp_path / "cache")
        found.append(validate(snapshot, snapshot, registry.kinds(), settings_schema))
    assert found[0] == found[1] == found[2]
    assert not load(there, there.resolve("HEAD"), tmp_path / "cache").cache.changed
    other = validate(snapshot, snapshot, registry.kinds(), lambda _name: None)
    assert [problem.code for problem in other.problems] == ["UnknownField", "UnknownDriver"]


@pytest.mark.parametrize(
    "text",
    [
        "apiVersion: reconciler/v1\nkind: UserGroup\nmetadata: {name: Bad_Name}\nspec: {}\n",
        "apiVersion: reconciler/v1\nkind: UserGroup\nmetadata: [x]\nspec: {}\n",
        "apiVersion: reconciler/v1\nkind: SoftwareUpload\nmetadata: {name: x}\nspec: {}\n",
        "apiVersion: reconciler/v1\nmetadata: {name: x}\nspec: {}\n",
        "apiVersion: reconciler/v1\nkind: [a]\n",
        f"apiVersion: reconciler/v1\nkind: UserGroup\nmetadata: {{name: {'a' * 64}}}\nspec: {{}}\n",
    ],
)
def test_an_envelope_that_cannot_be_read_is_unreadable(tmp_path: Path, text: str) -> None:
    found = checked(tmp_path, {"x.yaml": text, "g.yaml": group()})
    assert found.problems
    assert found.unreadable
    assert found.invalid == {}
    assert list(found.declared) == [Ref("UserGroup", "", "cms")]


def test_a_target_must_be_there_and_serve_the_group(tmp_path: Path) -> None:
    files = {
        "p.yaml": provider(spec="  groups: [atlas]\n"),
        "a.yaml": upload("a"),
        "b.yaml": upload("b", "recsa"),
    }
    found = checked(tmp_path, files)
    served, there = found.problems
    assert (str(served.path), served.line, served.code) == ("a.yaml", 7, "TargetRefused")
    assert served.message == "target recas does not serve group cms"
    assert served.hint == "its Provider lists atlas (spec.groups)"
    assert (there.code, there.message, there.hint) == (
        "UnknownTarget",
        "there is no target 'recsa'",
        "did you mean `recas`?",
    )


def test_what_uses_a_bad_provider_waits(tmp_path: Path) -> None:
    found = checked(tmp_path, {"p.yaml": provider(path="[]"), "a.yaml": upload("a")})
    assert only(found).path == "p.yaml"
    ref = Ref("SoftwareUpload", "cms", "a")
    assert found.waiting == {ref: "Provider/recas, which has target recas, is not valid on the trusted ref"}
    assert ref in found.declared
    assert found.unreadable


def test_what_refers_to_a_bad_object_waits(tmp_path: Path) -> None:
    sla = "{slas: [{id: a, start: 2026-01-01, end: 2027-01-01, providers: [recas]}]}"
    found = checked(tmp_path, {"p.yaml": provider(path="[]"), "g.yaml": group(spec=sla)})
    assert found.waiting == {Ref("UserGroup", "", "cms"): "Provider/recas is not valid"}


def test_with_an_unreadable_file_nothing_is_called_missing(tmp_path: Path) -> None:
    sla = "{slas: [{id: a, start: 2026-01-01, end: 2027-01-01, providers: [recas]}]}"
    found = checked(tmp_path, {"p.yaml": "a: [\n", "a.yaml": upload("a"), "g.yaml": group(spec=sla)})
    assert only(found).path == "p.yaml"
    assert found.waiting.keys() == {Ref("SoftwareUpload", "cms", "a"), Ref("UserGroup", "", "cms")}


def test_an_old_name_belongs_to_one_object(tmp_path: Path) -> None:
    files = {
        "a.yaml": group("a", ", formerly: UserGroup/old"),
        "b.yaml": group("b", ", formerly: UserGroup/old"),
        "c.yaml": group("c", ", formerly: UserGroup/a"),
    }
    twice, still = checked(tmp_path, files).problems
    assert twice.message == "UserGroup/a (a.yaml:1) was UserGroup/old already"
    assert still.message == "UserGroup/a is still declared"


def test_settings_that_are_missing_or_bad_stop_everything(tmp_path: Path) -> None:
    (tmp_path / "g.yaml").write_text(group(spec="{x: 1}"))
    snapshot = load_worktree(tmp_path)
    with pytest.raises(InvalidRepository) as missing:
        validate(snapshot, snapshot, registry.kinds(), settings_schema)
    assert [(p.path, p.code) for p in missing.value.problems] == [
        ("g.yaml", "UnknownField"),
        ("reconciler.yaml", "NoSettings"),
    ]
    bad = "owner: Not_A_Label\nfreezs: []\n"
    with pytest.raises(InvalidRepository) as wrong:
        checked(tmp_path, {"reconciler.yaml": bad})
    assert [(p.line, p.column, p.code) for p in wrong.value.problems if p.path == "reconciler.yaml"] == [
        (1, 8, "BadForm"),
        (2, 1, "UnknownField"),
    ]
    with pytest.raises(InvalidRepository) as unread:
        checked(tmp_path, {"reconciler.yaml": "owner: [\n"})
    assert [p.code for p in unread.value.problems if p.path == "reconciler.yaml"] == ["Syntax"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("freezes: [{name: a, timezone: Mars/Base, days: [mon]}]", "there is no time zone 'Mars/Base'"),
        ("freezes: [{name: a, timezone: UTC}]", "either dates or days"),
        ("freezes: [{name: a, timezone: UTC, from: 2026-02-30}]", "there is no day 2026-02-30"),
        ("freezes: [{name: a, timezone: UTC, from: 2026-03-01, until: 2026-02-01}]", "ends before it begins"),
        ("ownership: [{path: 'x/**', kinds: [Providr]}]", "there is no kind 'Providr'"),
        ("ownership: [{path: 'x/{group}/**', kinds: [Provider]}]", "a Provider has no group"),
        ("ownership: [{path: '../x', kinds: [Provider]}]", "without `..`"),
        ("schedule: {cron: '* * * * *', interval: 5m}", "either `interval` or `cron`"),
        ("notify: [{}]", "a webhook or a mail address"),
        ("store: 'postgresql://me:secret@host/db'", "without a password"),
        ("wait: soon", "a duration"),
    ],
)
def test_settings_are_looked_at_closely(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(InvalidRepository) as caught:
        checked(tmp_path, {"reconciler.yaml": f"owner: a\n{text}\n"})
    (problem,) = caught.value.problems
    assert words in problem.message


def test_unknown_groups_are_noticed(tmp_path: Path) -> None:
    found = checked(tmp_path, {"p.yaml": provider(), "g.yaml": group("cmss"), "s.yaml": upload()})
    assert found.problems == ()
    assert found.notices == ("no UserGroup declares the group cms; did you mean cmss?",)


# -- what only a change can break ------------------------------------------------------------


def change(tmp_path: Path, before: Mapping[str, str], after: Mapping[str, str]) -> Any:
    return validate_against(checked(tmp_path / "before", before), checked(tmp_path / "after", after))


@pytest.mark.parametrize(
    ("before", "after", "codes"),
    [
        ({"a.yaml": group("a", ", locked: true")}, {}, ["LockedRemoved"]),
        ({"a.yaml": group("a")}, {}, []),
        ({"p.yaml": provider()}, {}, ["ProviderNotDrained"]),
        ({"p.yaml": provider(spec="  status: removed\n")}, {}, []),
        ({}, {"a.yaml": group("a", ", formerly: UserGroup/b")}, ["Formerly"]),
        ({"x.yaml": group("b")}, {"a.yaml": group("a", ", formerly: UserGroup/b")}, []),
        ({"x.yaml": group("b", ", locked: true")}, {"a.yaml": group("a", ", formerly: UserGroup/b")}, []),
        ({"a.yaml": group("a", ", locked: true")}, {"b.yaml": group("a")}, []),
        ({"a.yaml": group("a", ", locked: true")}, {"a.yaml": group("a", spec="{x: 1}")}, []),
        ({"a.yaml": group("a", ", locked: true")}, {"a.yaml": "a: ["}, []),
        ({}, {"reconciler.yaml": "owner: another\n"}, ["OwnerChanged"]),
        (
            {"p.yaml": provider(), "s.yaml": upload()},
            {"p.yaml": provider(), "s.yaml": upload().replace("cms", "atlas")},
            ["GroupMoved"],
        ),
    ],
)
def test_a_change_is_judged_against_what_was(
    tmp_path: Path, before: Mapping[str, str], after: Mapping[str, str], codes: list[str]
) -> None:
    assert [problem.code for problem in change(tmp_path, before, after).problems] == codes


def test_a_likely_rename_is_hinted(tmp_path: Path) -> None:
    found = change(tmp_path, {"a.yaml": group("a")}, {"b.yaml": group("b")})
    assert found.problems == ()
    (notice,) = found.notices
    assert "for a rename add `metadata.formerly: UserGroup/a`" in notice
    assert change(tmp_path / "same", {"a.yaml": group("a")}, {"b.yaml": group("a")}).notices == ()
