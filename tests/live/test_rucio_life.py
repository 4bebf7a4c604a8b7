"""The life of data at a real Rucio: stages, lifetimes, staged copies, last copies, dead daemons.

A real Rucio has a real clock, so time passes here by what we remember of it being moved back: the day in
`from`, and the `begun` of a rule's mark.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from demo.make_uploads import noise
from reconciler.model import Plan
from tests.live.rucio_copies import standings, together
from tests.live.rucio_ground import ARCHIVE, DAEMONS, fill_archive, ground, put_uploads
from tests.live.rucio_lab import AT_RUCIO, Lab, Ran, meta_of

pytestmark = [pytest.mark.live, pytest.mark.machines, pytest.mark.network]

SCOPE = "life"
DISKS = frozenset({"CATANIA-DISK", "CNAF-DISK", "RECAS-DISK"})
DISK, TAPE = "CNAF-DISK", "CNAF-TAPE"
UPLOADED = ("ageing", "ending", "hasty", "broken-off")
ARCHIVED = ("far", "kept", "let-go", "shared", "short", "between")
FILES = {
    name: {f"{name}-{number}": noise(f"{name}/{number}", 2000) for number in range(3)}
    for name in (*UPLOADED, *ARCHIVED)
}
LAST, CONSENT = "LastCopy", "LastCopyApproval"
STAGES = [
    {"after": "0d", "copies": 2, "expression": "quality=disk"},
    {"after": "30d", "copies": 2, "expression": "site=cnaf"},
    {"after": "100d", "copies": 1, "expression": "quality=tape"},
    {"after": "365d", "end": True},
]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Elements; folders to upload; data sets in an archive that is not ours."""
    pytest.importorskip("rucio.client", reason="no Rucio here: install `rucio-clients`")
    with ground(tmp_path_factory.mktemp("life"), SCOPE) as lab:
        put_uploads(lab, {name: FILES[name] for name in UPLOADED})
        account = lab.bed.new_account(admin=True, room=False)
        fill_archive(lab, account, SCOPE, {name: FILES[name] for name in ARCHIVED})
        yield lab


# --- what is done, and what is seen ----------------------------------------------------------------


def declare(lab: Lab, name: str, kind: str = "DataRule", **spec: Any) -> None:
    """An object of the name of its data set."""
    lab.declare(f"data/cms/{name}.yaml", kind, name, {"dataset": f"{SCOPE}:{name}", **spec}, group="cms")
    lab.commit()


def declare_life(lab: Lab, name: str, age: int, stages: Any = STAGES, **spec: Any) -> None:
    """A Lifecycle of data that are so many days old."""
    day = (datetime.now(UTC) - timedelta(days=age)).date().isoformat()
    declare(lab, name, "Lifecycle", **{"from": day, "stages": stages, **spec})


def remove(lab: Lab, name: str) -> None:
    (lab.clone / f"data/cms/{name}.yaml").unlink()
    lab.commit()


def whole(lab: Lab, name: str) -> frozenset[str]:
    """The elements on which a data set lies, byte by byte."""
    return together(standings(lab, {name: FILES[name]}, SCOPE)[name].whole)


def rules(lab: Lab, name: str) -> list[tuple[str, int]]:
    """Expression and copies of our rules for it."""
    return sorted((rule["rse_expression"], rule["copies"]) for rule in lab.standing() if rule["name"] == name)


def pass_and_pump(lab: Lab, times: int = 1) -> Ran:
    for _ in range(times):
        ran = lab.applied()
        lab.bed.pump(1, DAEMONS)
    return ran


def settled(lab: Lab, name: str, at: frozenset[str] | None = None, *, wait: int = 6) -> frozenset[str]:
    """Pass and pump until two in a row change nothing; where the data set lies then."""
    for _ in range(wait):
        before = lab.rows()
        ran = pass_and_pump(lab)
        if not ran.writes[AT_RUCIO] and lab.rows() == before:
            break
    else:
        raise AssertionError(ran)
    found = whole(lab, name)
    assert at is None or found == at
    return found


def held(ran: Ran, name: str) -> str:
    """Why the rule of a data set does not go; empty: nothing is held."""
    return next((why for ref, why in ran.held.items() if f"/{name}/" in ref), "")


def everything(plan: Plan) -> tuple[str, ...]:
    return (plan.digest,) if plan.changes else ()


# --- stages ------------------------------------------------------------------------------------------


def test_every_stage_is_safe_before_the_one_before_it_ends(lab: Lab) -> None:
    declare_life(lab, "ageing", 0, source="ageing")
    first = settled(lab, "ageing")
    assert len(first) == 2
    assert first <= DISKS
    # a month later: the tape is busy
    declare_life(lab, "ageing", 30, source="ageing")
    lab.bed.fts.hold(f"/{TAPE}/")
    pass_and_pump(lab, 3)
    assert rules(lab, "ageing") == [("quality=disk", 2), ("site=cnaf", 2)]
    assert first <= whole(lab, "ageing")
    # the third stage begins before the second one ever came to be
    declare_life(lab, "ageing", 100, source="ageing")
    pass_and_pump(lab, 3)
    assert first <= whole(lab, "ageing")
    lab.bed.fts.hold(f"/{TAPE}/.*-2$")
    lab.bed.fts.clear(f"/{TAPE}/")
    pass_and_pump(lab, 2)
    assert first <= whole(lab, "ageing")
    lab.bed.fts.clear()
    settled(lab, "ageing", frozenset({TAPE}))
    assert rules(lab, "ageing") == [("quality=tape", 1)]
    (rule,) = (rule for rule in lab.standing() if rule["name"] == "ageing")
    assert rule["locked"]  # by Rucio, because it is on tape
    # back in the middle of life, and on
    declare_life(lab, "ageing", 40, source="ageing")
    settled(lab, "ageing", frozenset({DISK, TAPE}))
    declare_life(lab, "ageing", 100, source="ageing")
    settled(lab, "ageing", frozenset({TAPE}))


def test_the_end_takes_the_last_copy_only_if_the_file_and_a_person_say_so(lab: Lab) -> None:
    declare_life(lab, "ending", 100, source="ending")
    settled(lab, "ending", frozenset({TAPE}))
    declare_life(lab, "ending", 365, source="ending")
    ran = pass_and_pump(lab, 2)
    assert held(ran, "ending") == LAST
    assert whole(lab, "ending") == {TAPE}
    declare_life(lab, "ending", 365, source="ending", lastCopy="delete")
    ran = pass_and_pump(lab, 2)
    assert held(ran, "ending") == CONSENT
    assert whole(lab, "ending") == {TAPE}
    ran = lab.applied(approve=everything)
    lab.bed.pump(2)
    assert (held(ran, "ending"), whole(lab, "ending"), rules(lab, "ending")) == ("", frozenset(), [])
    settled(lab, "ending", frozenset())
    remove(lab, "ending")
    settled(lab, "ending", frozenset())


def test_who_agreed_to_a_plan_did_not_agree_to_what_nobody_could(lab: Lab) -> None:
    """What is held for good is no part of an approval, also not for the time when it is held otherwise."""
    declare_life(lab, "hasty", 100, source="hasty")
    settled(lab, "hasty", frozenset({TAPE}))
    declare_life(lab, "hasty", 365, source="hasty")
    assert held(lab.applied(approve=everything), "hasty") == LAST
    declare_life(lab, "hasty", 365, source="hasty", lastCopy="delete")
    assert held(pass_and_pump(lab, 2), "hasty") == CONSENT
    assert whole(lab, "hasty") == {TAPE}


def test_a_lifetime_that_is_over_leaves_one_copy(lab: Lab) -> None:
    declare(lab, "short", copies=2, expression="quality=disk", lifetime="30d")
    before = settled(lab, "short")
    assert len(before) == 2
    (rule,) = (rule for rule in lab.standing() if rule["name"] == "short")
    long_ago = (datetime.now(UTC) - timedelta(days=31)).isoformat(timespec="seconds")
    lab.client.update_replication_rule(rule["id"], {"meta": {**meta_of(rule), "begun": long_ago}})
    after = settled(lab, "short")
    assert rules(lab, "short") == [("quality=disk", 1)]
    assert len(after) == 1
    assert after <= before
    (rule,) = (rule for rule in lab.standing() if rule["name"] == "short")
    assert meta_of(rule)["begun"] == long_ago  # it does not begin again
    remove(lab, "short")
    ran = pass_and_pump(lab, 2)
    assert (held(ran, "short"), whole(lab, "short")) == (LAST, after)


# --- copies ------------------------------------------------------------------------------------------


def test_staged_copies_cross_the_bottleneck_once(lab: Lab) -> None:
    already = len(lab.bed.fts.jobs())
    declare(lab, "far", copies=3, expression="quality=disk", staged=True)
    lab.bed.fts.hold("/life/")
    pass_and_pump(lab, 2)
    assert rules(lab, "far") == [("quality=disk", 1)]
    lab.bed.fts.clear()
    lab.bed.pump(1)
    assert len(whole(lab, "far")) == 1
    settled(lab, "far", DISKS)
    assert rules(lab, "far") == [("quality=disk", 3)]
    crossed = Counter(
        job["dest_surl"].rpartition("/")[2]
        for job in lab.bed.fts.jobs()[already:]
        if f"/{ARCHIVE}/" in job["source_surl"] and job["file_state"] == "FINISHED"
    )
    assert {name: crossed[name] for name in FILES["far"]} == dict.fromkeys(FILES["far"], 1)


def test_daemons_that_are_killed_half_way_are_made_up_for(lab: Lab) -> None:
    declare(lab, "broken-off", source="broken-off", copies=1, expression="quality=disk")
    (first,) = settled(lab, "broken-off")
    declare(lab, "broken-off", source="broken-off", copies=3, expression="quality=disk")
    lab.applied()
    lab.bed.fts.hold("/broken-off-1$")
    lab.bed.pump(1, ("conveyor-submitter", "conveyor-poller"))
    lab.bed.stop_daemons()
    lab.bed.fts.clear()
    for _ in range(2):  # Rucio answers, and nobody works
        ran = lab.applied()
        assert (ran.writes[AT_RUCIO], ran.blind) == (0, ()), ran
    assert first in whole(lab, "broken-off")
    lab.bed.start_daemons()
    settled(lab, "broken-off", DISKS)
    assert rules(lab, "broken-off") == [("quality=disk", 3)]


def test_a_move_that_is_killed_and_turned_back_loses_nothing(lab: Lab) -> None:
    declare(lab, "between", copies=2, expression="quality=disk")
    before = settled(lab, "between")
    declare(lab, "between", copies=2, expression="site=cnaf")
    lab.bed.fts.fail(f"/{TAPE}/")
    pass_and_pump(lab, 5)
    assert ("site=cnaf", 2) in rules(lab, "between")
    assert before <= whole(lab, "between")
    lab.bed.stop_daemons()
    declare(lab, "between", copies=2, expression="quality=disk")
    lab.applied()
    lab.bed.start_daemons()
    assert before <= whole(lab, "between")
    lab.bed.fts.clear()
    settled(lab, "between", before)
    assert rules(lab, "between") == [("quality=disk", 2)]


# --- last copies --------------------------------------------------------------------------------------


def test_keep_is_for_good(lab: Lab) -> None:
    declare(lab, "kept", copies=2, expression="quality=disk")
    before = settled(lab, "kept")
    remove(lab, "kept")
    for approve in (None, everything, None):
        ran = lab.applied(approve=approve)
        lab.bed.pump(1)
        assert (held(ran, "kept"), whole(lab, "kept")) == (LAST, before)


def test_what_may_go_goes_when_a_person_agrees(lab: Lab) -> None:
    declare(lab, "let-go", copies=2, expression="quality=disk")
    before = settled(lab, "let-go")
    remove(lab, "let-go")
    assert held(pass_and_pump(lab), "let-go") == LAST
    declare(lab, "let-go", copies=2, expression="quality=disk", lastCopy="delete")
    settled(lab, "let-go", before)
    remove(lab, "let-go")
    assert held(pass_and_pump(lab, 2), "let-go") == CONSENT
    assert whole(lab, "let-go") == before
    lab.applied(approve=everything)
    lab.bed.pump(2)
    assert (rules(lab, "let-go"), whole(lab, "let-go")) == ([], frozenset())
    assert lab.bed.files(ARCHIVE, SCOPE).items() >= FILES["let-go"].items()  # not ours


def test_what_another_rule_of_ours_protects_may_go_unasked(lab: Lab) -> None:
    declare(lab, "shared", copies=2, expression="quality=disk")
    other = {"dataset": f"{SCOPE}:shared", "copies": 1, "expression": "quality=tape"}
    lab.declare("data/cms/other.yaml", "DataRule", "other", other, group="cms")
    lab.commit()
    lab.bed.fts.hold(f"/{TAPE}/")
    pass_and_pump(lab, 2)
    remove(lab, "shared")
    ran = pass_and_pump(lab, 2)
    assert (held(ran, "shared"), len(whole(lab, "shared"))) == (LAST, 2)  # the other one is not OK yet
    lab.bed.fts.clear()
    settled(lab, "shared", frozenset({TAPE}))
    assert rules(lab, "shared") == [("quality=tape", 1)]


def test_an_object_says_when_its_data_began(lab: Lab) -> None:
    """Every rule of ours remembers it, so that a lifetime can be told."""
    texts = [json.dumps(meta_of(rule)) for rule in lab.standing()]
    assert texts
    assert all('"begun"' in text for text in texts)
