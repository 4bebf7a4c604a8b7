"""The kind SoftwareUpload: what authors may write, what clashes, what it expands into."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from reconciler import resources
from reconciler.construct import build, defaults, filled
from reconciler.drivers.publish.layout import RESERVED as DRIVERS_OWN
from reconciler.kind import World
from reconciler.kinds.software_upload import KIND, RESERVED, SoftwareUploadSpec
from reconciler.library import EMPTY
from reconciler.model import (
    Condition,
    Declared,
    Json,
    Metadata,
    Observed,
    Ref,
    Resource,
    Source,
    State,
    Target,
    Word,
)

SPEC: Mapping[str, Json] = {
    "target": "stratum0",
    "repository": "sw.example.org",
    "path": "root/6.32",
    "source": "root-6.32.tar.gz",
    "sha256": "e3" * 32,
}


def declared(name: str = "root", group: str = "cms", **spec: Json) -> Declared:
    ref = Ref("SoftwareUpload", group, name)
    whole = filled(SoftwareUploadSpec, {**SPEC, **spec})
    return Declared(ref, whole, Source(f"software/{group}/{name}.yaml", 4))


def world(*targets: Target, blind: Mapping[str, str] | None = None) -> World:
    known = {target.name: target for target in targets}
    now = datetime(2026, 6, 1, tzinfo=UTC)
    return World(now, known, {}, {}, blind or {}, lambda _ref, _target: True)


STRATUM0 = Target("stratum0", "publish", "stratum0")


def only(upload: Declared, *targets: Target) -> Resource | Condition:
    found = list(KIND.expand(upload, world(*targets)))
    assert found == list(KIND.expand(upload, world(*targets)))
    assert len(found) == 1
    return found[0]


def test_the_defaults() -> None:
    assert defaults(SoftwareUploadSpec) == {"keepPrevious": 0, "verify": {"how": "checksum", "every": "7d"}}
    typed = build(SoftwareUploadSpec, {**SPEC, "keepPrevious": 2})
    assert (typed.keep_previous, typed.verify.every) == (2, "7d")


def test_kind_and_driver_reserve_the_same_name() -> None:
    assert RESERVED == DRIVERS_OWN


def test_the_primitive() -> None:
    (primitive,) = KIND.parts
    assert primitive.name == KIND.name == "SoftwareUpload"
    assert primitive.immutable == {"repository", "path"}
    assert primitive.replace_order == "create-first"
    assert not primitive.holds_data
    assert primitive.cadence is not None


GOOD_PATHS = ("root", "root/6.32", "a b/c", "ünï/☃", "a/.hidden", "..a", "a..b", "x" * 255)
BAD_PATHS = (
    "/root",
    "/",
    "..",
    ".",
    "a/../b",
    "a/..",
    "./a",
    "a//b",
    "a/",
    "a\\b",
    "a\nb",
    "a\0b",
    "a\u202eb",
    " a",
    "a ",
    "x" * 256,
    "é" * 128,
    "/".join(["y" * 200] * 6),
)


@pytest.mark.parametrize("field", ["path", "source"])
@pytest.mark.parametrize("path", GOOD_PATHS)
def test_good_paths(field: str, path: str) -> None:
    assert list(KIND.check(declared(**{field: path}))) == []


@pytest.mark.parametrize("field", ["path", "source"])
@pytest.mark.parametrize("path", BAD_PATHS)
def test_bad_paths(field: str, path: str) -> None:
    problems = list(KIND.check(declared(**{field: path})))
    assert [where for where, _, _ in problems] == [f"spec.{field}"]
    assert all(message and hint for _, message, hint in problems)


@pytest.mark.parametrize("path", [RESERVED, f"{RESERVED}/store", f"{RESERVED}-mine"])
def test_our_own_folder_is_reserved(path: str) -> None:
    assert [where for where, _, _ in KIND.check(declared(path=path))] == ["spec.path"]
    assert list(KIND.check(declared(path=f"a/{path}"))) == []


@pytest.mark.parametrize("every", ["59m", "0d", "7 days", "-1d"])
def test_bad_cadences(every: str) -> None:
    problems = list(KIND.check(declared(verify={"how": "size", "every": every})))
    assert [where for where, _, _ in problems] == ["spec.verify.every"]


# -- the schema -------------------------------------------------------------------------------------------


def errors(spec: Mapping[str, Any]) -> list[str]:
    schema = resources.bundled("SoftwareUpload")
    metadata = {"name": "root", "group": "cms"}
    whole = {"apiVersion": "reconciler/v1", "kind": "SoftwareUpload", "metadata": metadata, "spec": spec}
    return [error.json_path for error in Draft202012Validator(schema).iter_errors(whole)]


def test_the_schema_takes_what_is_right() -> None:
    assert errors(SPEC) == []
    assert errors({**SPEC, "keepPrevious": 3, "verify": {"how": "size"}}) == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sha256", "E3" * 32),
        ("sha256", "e3" * 31),
        ("sha256", "sha256:" + "e3" * 32),
        ("repository", "single"),
        ("repository", "Sw.example.org"),
        ("repository", "sw..example.org"),
        ("repository", "../sw.example.org"),
        ("repository", "sw.example.org/x"),
        ("repository", ".reconciler"),
        ("repository", "-x.example.org"),
        ("keepPrevious", -1),
        ("keepPrevious", "1"),
        ("keepPrevious", 101),
        ("verify", {"how": "trust"}),
        ("path", ""),
        ("colour", "red"),
    ],
)
def test_the_schema_refuses_what_is_wrong(field: str, value: Json) -> None:
    assert len(errors({**SPEC, field: value})) == 1


@pytest.mark.parametrize("field", sorted(SPEC))
def test_nothing_can_be_left_out(field: str) -> None:
    assert errors({key: value for key, value in SPEC.items() if key != field}) == ["$.spec"]


# -- together ---------------------------------------------------------------------------------------------


def clashes(*uploads: Declared) -> set[tuple[str, str]]:
    """(who is told, the Ref that the message begins with)."""
    found = set()
    for upload, path, message, hint in KIND.check_together(uploads):
        assert path == "spec.path"
        assert hint
        found.add((upload.ref.name, message.split()[0].rpartition("/")[2]))
    return found


def test_two_files_at_one_path_are_both_told_of_the_other() -> None:
    mine, theirs = declared("mine"), declared("theirs", group="atlas")
    assert clashes(mine, theirs) == {("mine", "theirs"), ("theirs", "mine")}
    message = next(iter(KIND.check_together([mine, theirs])))[2]
    assert "software/atlas/theirs.yaml:4" in message or "software/cms/mine.yaml:4" in message


def test_one_inside_the_other() -> None:
    uploads = [
        declared("a", path="x"),
        declared("b", path="x/y/z"),
        declared("c", path="x-y"),
        declared("d", path="xy"),
    ]
    assert clashes(*uploads) == {("a", "b"), ("b", "a")}


def test_everywhere_else_is_free() -> None:
    uploads = (
        declared("a"),
        declared("b", target="other"),
        declared("c", repository="other.example.org"),
        declared("d", path="root/6.3"),
        declared("e", path="root/6.32.1"),
    )
    assert clashes(*uploads) == set()


def test_clashes_are_those_of_all_pairs_and_know_no_order() -> None:
    generator = random.Random(3)
    paths = ["/".join(generator.choices("abc", k=generator.randint(1, 4))) for _ in range(40)]
    uploads = [declared(f"u{number}", path=path) for number, path in enumerate(paths)]
    told = {name for name, _ in clashes(*uploads)}
    assert told == {one.ref.name for one in uploads if any(overlap(one, other) for other in uploads)}
    first = list(KIND.check_together(uploads))
    generator.shuffle(uploads)
    assert list(KIND.check_together(uploads)) == first


def overlap(one: Declared, other: Declared) -> bool:
    mine, its = f"{one.spec['path']}/", f"{other.spec['path']}/"
    return one is not other and (mine.startswith(its) or its.startswith(mine))


# -- expansion --------------------------------------------------------------------------------------------


def test_one_object_is_one_thing() -> None:
    upload = replace(declared(), metadata=Metadata(locked=True))
    resource = only(upload, STRATUM0)
    assert isinstance(resource, Resource)
    assert (resource.ref, resource.kind, resource.target) == (upload.ref, "SoftwareUpload", "stratum0")
    assert resource.spec == {key: value for key, value in upload.spec.items() if key != "target"}
    assert resource.metadata.locked
    assert resource.source == upload.source
    keys = list(KIND.natural_keys(upload, "SoftwareUpload"))
    assert keys == ["sw.example.org:root/6.32"] == [resource.facts["natural"]]
    assert list(KIND.targets(upload)) == [("spec.target", "stratum0")]


@pytest.mark.parametrize("status", ["active", "maintenance", "limited"])
def test_writes_to_a_target_are_the_engines_affair(status: str) -> None:
    assert isinstance(only(declared(), replace(STRATUM0, status=status)), Resource)


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (Target("other", "publish", "other"), "TargetUnknown"),
        (replace(STRATUM0, groups=frozenset({"atlas"})), "TargetNotForGroup"),
        (replace(STRATUM0, status="removed"), "TargetRemoved"),
    ],
)
def test_why_not(target: Target, reason: str) -> None:
    condition = only(declared(), target)
    assert isinstance(condition, Condition)
    assert (condition.word, condition.reason, condition.who) == (Word.FAILED, reason, "author")
    assert target.name in condition.message


def test_a_blind_target_is_the_engines_affair() -> None:
    found = list(KIND.expand(declared(), world(STRATUM0, blind={"stratum0": "time-out"})))
    assert [type(entry) for entry in found] == [Resource]


def test_outputs() -> None:
    upload = declared()
    thing = Observed(upload.ref, KIND.name, "stratum0", upload.spec, "sw.example.org:root/6.32")
    said = {"repository": "sw.example.org", "path": "root/6.32", "sha256": "e3" * 32}
    assert KIND.outputs(upload, [thing], EMPTY) == said
    assert KIND.outputs(upload, [replace(thing, state=State.FAILED)], EMPTY) == {}
    assert KIND.outputs(upload, [], EMPTY) == {}
