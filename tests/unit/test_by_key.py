"""What is found by its natural key belongs to every object that names it, unless it says whose it is."""

from __future__ import annotations

from reconciler.model import Mark, Observed, Ref, State
from reconciler.stages.observe import Observation

HIGGS, COPY = (Ref("DataRule", "cms", name) for name in ("higgs", "higgs-copy"))
KEYED = {("upload", "cms:higgs"): (HIGGS.with_part("main", "upload"), COPY.with_part("main", "upload"))}


def seen(ref: Ref, kind: str, mark: Mark | None = None) -> Observed:
    return Observed(ref, kind, "recas", {}, "1", mark, State.READY)


def by_object(*things: Observed) -> dict[Ref, list[Ref]]:
    found = Observation({"recas": things}, {}).by_object({}, KEYED)
    return {ref: [thing.ref for thing in owned] for ref, owned in found.items()}


def test_two_objects_may_name_one_thing() -> None:
    for mark in (None, Mark("lab", "x" * 20)):
        found = by_object(seen(Ref("upload", "", "cms:higgs"), "upload", mark))
        assert found == {ref: [ref.with_part("main", "upload")] for ref in (HIGGS, COPY)}


def test_what_nobody_names_and_nobody_marked_is_nobodys() -> None:
    assert by_object(seen(Ref("upload", "", "cms:other"), "upload")) == {}


def test_a_mark_with_a_ref_says_more_than_a_key() -> None:
    part = COPY.with_part("main", "rule")
    assert by_object(seen(part, "rule", Mark("lab", "x" * 20, part))) == {COPY: [part]}
