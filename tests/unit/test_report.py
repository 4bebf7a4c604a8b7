"""Reports: the plan says all that will happen, the schema of its JSON holds, nothing secret is shown."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from reconciler import canonical
from reconciler.errors import Problem
from reconciler.guess import closest, did_you_mean
from reconciler.model import (
    ABSENT,
    Action,
    Change,
    Condition,
    Declared,
    FieldChange,
    Hold,
    Observed,
    Outcome,
    Plan,
    Record,
    Ref,
    Result,
    Source,
    State,
    Word,
)
from reconciler.report import history, markdown, pages, problems, reference, standing, text, words
from reconciler.report import json as as_json
from reconciler.report.record import record_text
from reconciler.report.style import Style
from reconciler.stages.case import NEVER_APPROVED
from reconciler.store import Done, Run

NOW = datetime(2026, 11, 21, 3, 10, tzinfo=UTC)
ROOT = Ref("SoftwareUpload", "cms", "root")
BUDGET = Hold("RemovalBudget", "4 removals in group cms are over the limit", "RemovalBudget group cms")


def change(name: str, action: Action = Action.CREATE, **more: object) -> Change:
    found: dict[str, object] = {
        "ref": Ref("SoftwareUpload", "cms", name),
        "kind": "SoftwareUpload",
        "target": "stratum",
        "action": action,
        "reason": {"create": "NotFound", "delete": "Orphaned"}.get(action, "SpecChanged"),
        "source": Source(f"software/cms/{name}.yaml", 3),
    }
    return Change(**{**found, **more})  # type: ignore[arg-type]  # the fields are mixed on purpose


def plan(*changes: Change, **more: object) -> Plan:
    return Plan("4f2c1d8e9a0b", tuple(sorted(changes, key=lambda c: c.ref)), **more)  # type: ignore[arg-type]  # ditto


def condition(name: str, word: Word, **more: object) -> Condition:
    found: dict[str, object] = {"ref": Ref("SoftwareUpload", "cms", name), "word": word, "reason": "Because"}
    return Condition(**{**found, **more})  # type: ignore[arg-type]  # ditto


def conditions(*entries: Condition) -> dict[Ref, Condition]:
    return {entry.ref: entry for entry in entries}


def record(*outcomes: Outcome, stand: dict[Ref, Condition] | None = None, **more: object) -> Record:
    digest = plan(*(outcome.change for outcome in outcomes)).digest
    end = NOW + timedelta(seconds=4)
    found: dict[str, object] = {"blind": {}, "seconds": {}, "exit_code": 0, **more}
    return Record("run-1", "4f2c1d8e9a0b", digest, NOW, end, outcomes, stand or {}, **found)  # type: ignore[arg-type]  # ditto


PATH = FieldChange("path", "root/6.30", "root/6.32")
SECRET = FieldChange("password", {"$secret": "db", "tag": "11111111"}, {"$secret": "db", "tag": "22222222"})
LATE = FieldChange("url", ABSENT, {"$after": "Deployment/cms/a#url"})


# ── plan as text ─────────────────────────────────────────────────────────────────────────────────


def test_a_quiet_plan_is_one_line() -> None:
    assert text.plan_text(plan(), {}, 10_000) == "Nothing to do: 10,000 objects are as declared.\n"
    assert text.plan_text(plan(), {}, 1) == "Nothing to do: 1 object is as declared.\n"


def test_a_change_says_what_where_why_and_from_which_line() -> None:
    shown = text.plan_text(plan(change("root", Action.UPDATE, fields=(PATH,))), {}, 1, style=Style(80))
    lines = shown.splitlines()
    assert lines[0] == "Changes (1)"
    assert lines[1].split() == ["~", "SoftwareUpload/cms/root", "stratum"]
    assert lines[2].strip() == "SpecChanged: the file changed · software/cms/root.yaml:3"
    assert lines[3].strip() == "path: root/6.30 → root/6.32"
    assert shown.endswith(
        f"1 to update · digest {plan(change('root', Action.UPDATE, fields=(PATH,))).digest}\n"
    ) or (f"digest {plan(change('root', Action.UPDATE, fields=(PATH,))).digest}\n" in shown)


@pytest.mark.parametrize(
    ("action", "symbol"),
    [(Action.CREATE, "+"), (Action.UPDATE, "~"), (Action.REPLACE, "±"), (Action.DELETE, "-")],
)
def test_every_action_has_its_symbol(action: Action, symbol: str) -> None:
    assert f"\n  {symbol} SoftwareUpload/cms/root" in text.plan_text(plan(change("root", action)), {}, 1)


def test_what_is_broken_says_how_in_the_back_ends_words() -> None:
    have = Observed(ROOT, "SoftwareUpload", "stratum", {}, "u1", state=State.FAILED, reason="ServiceDown")
    down = change("root", Action.UPDATE, reason="ServiceDown")
    for message, said in (
        ("nginx does not run", "ServiceDown: nginx does not run ·"),
        ("\x1b[2J", r"\x1b[2J ·"),
    ):
        lines = text.plan_text(plan(replace(down, have=replace(have, message=message))), {}, 1).splitlines()
        assert said in lines[2]


def test_secrets_and_late_values_are_words() -> None:
    shown = text.plan_text(plan(change("root", Action.UPDATE, fields=(SECRET, LATE))), {}, 1)
    assert "password: secret db → secret db (its value changed)" in shown
    assert "url: absent → known after apply (Deployment/cms/a#url)" in shown
    assert "2222" not in shown.partition("digest")[0]


def test_what_is_held_comes_with_the_command_that_releases_it() -> None:
    whole = plan(*(change(f"old{i}", Action.DELETE, hold=BUDGET) for i in range(3)), change("new"))
    shown = text.plan_text(whole, {}, 4)
    assert f"release: reconciler apply --approve {whole.buckets()[BUDGET.bucket]}" in shown
    assert "1 to create, 3 to delete, 3 of them held" in shown
    assert shown.index("Changes (1)") < shown.index("Held for a person (3)") < shown.index("3 of them held")


def test_a_hold_without_a_bucket_is_released_by_its_change() -> None:
    held = change("a", Action.DELETE, hold=Hold("Cycle", "these use each other"))
    assert f"--approve {held.digest}" in text.plan_text(plan(held), {}, 1)


def test_holds_without_a_bucket_are_released_one_by_one() -> None:
    held = [change(name, Action.DELETE, hold=Hold("Cycle", "these use each other")) for name in "ab"]
    shown = text.plan_text(plan(*held), {}, 2)
    assert all(f"--approve {entry.digest}\n" in shown for entry in held)


@pytest.mark.parametrize("reason", sorted(NEVER_APPROVED))
def test_what_no_approval_releases_says_what_to_do_instead(reason: str) -> None:
    shown = text.plan_text(plan(change("a", Action.DELETE, hold=Hold(reason, "why"))), {}, 1)
    assert "--approve" not in shown
    assert text.REMEDIES[reason] in shown


def test_blind_targets_bad_files_and_what_waits_are_shown() -> None:
    problem = Problem("a.yaml", 3, 5, "UnknownField", "no field 'x'")
    waiting = condition("w", Word.WAITING, blocked_by=(ROOT,), source=Source("w.yaml", 2))
    shown = text.plan_text(plan(blind={"cnaf": "no answer"}), conditions(waiting), 3, invalid=(problem,))
    assert "? cnaf: no answer" in shown
    assert "! a.yaml:3:5: no field 'x'" in shown
    assert "Waiting     SoftwareUpload/cms/w · w.yaml:2" in shown
    assert "(waits for SoftwareUpload/cms/root)" in shown
    assert "Nothing to do" not in shown


@pytest.mark.parametrize("width", [60, 80, 120])
def test_fields_fit_the_terminal(width: int) -> None:
    long = FieldChange("a/very/" + "long/" * 40 + "path", "x" * 500, "y" * 500)
    shown = text.plan_text(plan(change("root", Action.UPDATE, fields=(long,))), {}, 1, style=Style(width))
    fields = [line for line in shown.splitlines() if "→" in line]
    assert len(fields) == 1
    assert len(fields[0]) <= max(width, 66)


def test_colour_only_paints() -> None:
    whole = plan(change("a"), change("b", Action.DELETE, hold=BUDGET), blind={"x": "y"})
    painted = text.plan_text(whole, {}, 2, style=Style(80, colour=True))
    bare = text.plan_text(whole, {}, 2, style=Style(80))
    assert painted != bare
    assert _without_colour(painted) == bare


def _without_colour(shown: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", shown)


# ── plan as JSON ─────────────────────────────────────────────────────────────────────────────────


def test_the_json_is_the_documented_one() -> None:
    whole = plan(
        change("a", fields=(LATE,), needs=frozenset({ROOT})),
        change("b", Action.REPLACE, order="create-first", fields=(PATH,)),
        change("c", Action.DELETE, hold=BUDGET),
        blind={"cnaf": "no answer"},
    )
    shown = json.loads(as_json.text(as_json.plan_json(whole, {})))
    assert shown["schemaVersion"] == 1
    assert shown["revision"] == "4f2c1d8e9a0b"
    assert shown["digest"] == whole.digest
    assert shown["summary"] == {
        "create": 1,
        "update": 0,
        "replace": 1,
        "delete": 1,
        "held": 1,
        "blind": ["cnaf"],
    }
    first, second, third = shown["changes"]
    assert first == {
        "ref": "SoftwareUpload/cms/a",
        "target": "stratum",
        "action": "create",
        "reason": "NotFound",
        "digest": whole.changes[0].digest,
        "order": None,
        "fields": [{"path": "url", "want": {"$after": "Deployment/cms/a#url"}}],
        "hold": None,
        "needs": ["SoftwareUpload/cms/root"],
        "source": {"path": "software/cms/a.yaml", "line": 3},
    }
    assert second["order"] == "create-first"
    assert second["fields"] == [{"path": "path", "have": "root/6.30", "want": "root/6.32"}]
    assert third["hold"]["reason"] == "RemovalBudget"


def test_the_digests_can_be_made_again_from_the_json() -> None:
    whole = plan(change("a", fields=(LATE, PATH)), change("b", Action.DELETE, hold=BUDGET))
    shown = as_json.plan_json(whole, {})
    again = [
        canonical.digest_of([entry[key] for key in ("ref", "target", "action", "order", "fields")])
        for entry in shown["changes"]
    ]
    assert again == [entry["digest"] for entry in shown["changes"]]
    assert canonical.digest_of(sorted(again)) == shown["digest"]


# ── record ───────────────────────────────────────────────────────────────────────────────────────

FAILED = Outcome(change("b"), Result.FAILED, "Rejected", "the sha256 differs", "author")


def test_a_record_says_what_was_done_and_who_must_act() -> None:
    shown = record_text(record(Outcome(change("a"), Result.APPLIED), FAILED), plan(change("b")))
    assert "Applied (1)" in shown
    assert "Failed (1)" in shown
    assert "Rejected: the sha256 differs" in shown
    assert "must act: author" in shown
    assert shown.splitlines()[-1].startswith("1 applied, 1 failed · 4.0 s · digest sha256:")


def test_a_quiet_record_is_one_line() -> None:
    shown = record_text(record(stand=conditions(condition("a", Word.READY))), plan())
    assert shown == "Nothing to do: 1 object is as declared. 4.0 s\n"


def test_what_the_run_was_not_asked_for_is_counted() -> None:
    shown = record_text(record(Outcome(change("a"), Result.APPLIED)), plan(change("b"), change("c")))
    assert "2 other changes not applied by this run: reconciler plan" in shown


def test_the_record_as_json_and_markdown() -> None:
    whole = record(Outcome(change("a"), Result.APPLIED), FAILED, exit_code=5)
    shown = json.loads(as_json.text(as_json.record_json(whole)))
    assert shown["summary"] == {"applied": 1, "failed": 1, "waiting": 0, "held": 0, "blind": []}
    assert shown["outcomes"][1]["result"] == "Failed"
    assert shown["outcomes"][1]["who"] == "author"
    assert shown["exitCode"] == 5
    assert "### Apply: 1 applied, 1 failed\n" in markdown.record_markdown(whole, plan())


# ── status, explain, history ─────────────────────────────────────────────────────────────────────


def test_status_answers_every_question_about_what_is_not_ready() -> None:
    failed = condition(
        "bad",
        Word.FAILED,
        message="no such archive",
        who="operator",
        attempts=3,
        source=Source("bad.yaml", 2),
        since=NOW - timedelta(hours=2),
        next_try=NOW + timedelta(minutes=5),
    )
    waiting = condition("late", Word.WAITING, blocked_by=(failed.ref,), who="time")
    stand = conditions(failed, waiting, condition("good", Word.READY))
    shown = standing.status_text(stand, record(stand=stand), NOW, unseen=[Ref("DataRule", "cms", "new")])
    for said in (
        "4 objects: 1 Failed · 1 Waiting · 1 Ready · 1 never looked at",
        "SoftwareUpload/cms/bad · bad.yaml:2",
        "Because: no such archive",
        "for 2 hours, since 2026-11-21 01:10 UTC, tried 3 times",
        "an operator must act",
        "next try in 5 minutes (2026-11-21 03:15 UTC)",
        "next: reconciler apply --only SoftwareUpload/cms/bad --retry",
        "waits for SoftwareUpload/cms/bad",
        "next: reconciler explain SoftwareUpload/cms/bad",
        "Unseen      DataRule/cms/new",
    ):
        assert said in shown


@pytest.mark.parametrize("word", [word for word in Word if word not in (Word.READY, Word.SUSPENDED)])
def test_whatever_is_not_ready_has_a_next_command(word: Word) -> None:
    assert words.next_command(condition("a", word)).startswith("reconciler ")


def test_many_ready_objects_are_counted() -> None:
    stand = conditions(*(condition(f"r{i}", Word.READY) for i in range(60)))
    shown = standing.status_text(stand, None, NOW)
    assert "60 objects; all of them: reconciler status --all" in shown
    assert shown.count("SoftwareUpload/cms/r") == 0
    assert standing.status_text(stand, None, NOW, ready=60).count("SoftwareUpload/cms/r") == 60


def test_an_object_is_as_bad_as_its_worst_part() -> None:
    rule = Ref("DataRule", "cms", "higgs")
    part = rule.with_part("recas", "replica")
    stand = {
        part: Condition(part, Word.FAILED, "Denied", "403"),
        rule: Condition(rule, Word.PROGRESSING, "Copying"),
    }
    shown = standing.status_text(stand, None, NOW)
    assert shown.startswith("1 object: 1 Failed\n")
    assert "Copying" in shown
    assert "Failed recas.replica" in shown


def test_explain_shows_file_parts_and_last_changes() -> None:
    stand = conditions(condition("root", Word.FAILED, message="no", since=NOW - timedelta(days=1)))
    declared = Declared(ROOT, {}, Source("root.yaml", 2))
    run = Run("run-1", NOW - timedelta(hours=1), NOW, "4f2c1d8e9a0b", "sha256:0", 5)
    done = Done(
        "run-1", ROOT, "stratum", "update", "Drifted", "Failed", "Denied", "403", "operator", "sha256:1"
    )
    shown = standing.explain_text(ROOT, stand, declared, now=NOW, past=[(run, (done,))])
    assert "declared in root.yaml:2" in shown
    assert "for 1 day, since 2026-11-20 03:10 UTC" in shown
    assert "~ SoftwareUpload/cms/root  stratum  Failed  Drifted: was changed behind our back" in shown
    assert "Denied: 403" in shown


def test_history_says_how_runs_ended() -> None:
    killed = Run("run-2", NOW - timedelta(minutes=3), None, "4f2c1d8e9a0b", "", None)
    quiet = Run("run-1", NOW - timedelta(hours=1), NOW, "4f2c1d8e9a0b", "", 0)
    shown = history.history_text([(killed, ()), (quiet, ())], NOW)
    assert (
        shown.splitlines()[0]
        == "3 minutes ago (2026-11-21 03:07 UTC)  4f2c1d8e9a0b  did not end, changed nothing"
    )
    assert "converged, changed nothing" in shown
    assert history.history_json([(killed, ())])["runs"][0]["exitCode"] is None


def test_outputs_are_a_line_each() -> None:
    shown = standing.outputs_text(ROOT, {"url": "https://x.org/a", "password": {"$secret": "db", "tag": "1"}})
    assert shown == "password  secret db\nurl       https://x.org/a\n"


# ── status pages ─────────────────────────────────────────────────────────────────────────────────


def test_there_is_a_page_a_group() -> None:
    stand = conditions(condition("bad", Word.FAILED, message="no"), condition("good", Word.READY))
    element = Ref("StorageElement", "", "disk")
    stand[element] = Condition(element, Word.READY, "Ready")
    found = pages.status_pages(record(stand=stand), {ROOT: {}})
    assert sorted(found) == sorted(["index.md", "status.json", "groups/cms.md", pages.page("")])
    assert "| [`cms`](groups/cms.md) | 1 | 1 |" in found["index.md"]
    assert "`SoftwareUpload/cms/bad`" in found["groups/cms.md"]
    assert json.loads(found["status.json"])["summary"]["Failed"] == 1
    assert found == pages.status_pages(record(stand=stand), {ROOT: {}})


@pytest.mark.parametrize("group", ["../../etc", "a/b", "everyone", "", "A", "x\n", "-"])
def test_a_group_never_becomes_a_path(group: str) -> None:
    name = pages.page(group)
    assert name.startswith("groups/_" if group else "groups/")
    assert name.count("/") == 1
    assert pages.page("everyone") != pages.page("")


# ── validate ─────────────────────────────────────────────────────────────────────────────────────

PROBLEM = Problem("a.yaml", 3, 5, "UnknownField", "no field 'x' <b>", "did you mean 'y'?")


def test_problems_are_one_line_each_and_a_hint() -> None:
    shown = problems.problems_text([PROBLEM], 12, 10)
    assert shown.startswith("a.yaml:3:5: no field 'x' <b> [UnknownField]\n    hint: did you mean 'y'?\n")
    assert shown.endswith("1 problem in 1 file; 12 objects in 10 files read.\n")
    assert problems.problems_text([], 12, 10) == "Valid: 12 objects in 10 files.\n"


def test_junit_is_xml_with_a_case_per_problem() -> None:
    suite = ET.fromstring(problems.junit([PROBLEM, PROBLEM], 10))  # noqa: S314  our own output
    assert suite.attrib["failures"] == "2"
    assert len(suite.findall("testcase/failure")) == 2
    assert len(ET.fromstring(problems.junit([], 10)).findall("testcase")) == 1  # noqa: S314  ditto


def test_fingerprints_are_stable_and_unique() -> None:
    moved = Problem("a.yaml", 30, 5, PROBLEM.code, PROBLEM.message, PROBLEM.hint)
    [first], [second] = problems.code_quality([PROBLEM]), problems.code_quality([moved])
    assert first["fingerprint"] == second["fingerprint"]
    assert first["location"] == {"path": "a.yaml", "lines": {"begin": 3}}
    found = problems.code_quality([PROBLEM, moved, Problem("b.yaml", 3, 5, PROBLEM.code, PROBLEM.message)])
    assert len({entry["fingerprint"] for entry in found}) == 3


# ── words ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("root/6.32", "root/6.32"),
        ("6.32", '"6.32"'),
        (6, "6"),
        ("true", '"true"'),
        (True, "true"),
        (None, "null"),
        ("", '""'),
        ("a → b", '"a → b"'),
        (ABSENT, "absent"),
        ("absent", '"absent"'),
        ({"b": [1], "a": "x"}, '{"a": "x", "b": [1]}'),
        ("a\nb", '"a\\nb"'),
    ],
)
def test_values_are_said_so_that_types_differ(value: object, said: str) -> None:
    assert words.value(value) == said


@pytest.mark.parametrize("width", [3, 4, 10, 11])
def test_shortened_text_keeps_both_ends(width: int) -> None:
    short = words.shorten("0123456789abcdef", width)
    assert len(short) == width
    assert short[0] == "0"
    assert short[-1] == "f"
    assert "…" in short


@pytest.mark.parametrize(
    ("distance", "said"),
    [
        (timedelta(seconds=1), "just now (2026-11-21 03:09 UTC)"),
        (timedelta(minutes=61), "1 hour ago (2026-11-21 02:09 UTC)"),
        (timedelta(days=3), "3 days ago (2026-11-18 03:10 UTC)"),
        (timedelta(minutes=-5), "in 5 minutes (2026-11-21 03:15 UTC)"),
    ],
)
def test_times_are_relative_and_absolute(distance: timedelta, said: str) -> None:
    assert words.ago(NOW - distance, NOW) == said


def test_a_guess_is_near_or_nothing() -> None:
    assert closest("plam", ["plan", "apply"]) == "plan"
    assert closest("PLAN", ["plan", "apply"]) == "plan"
    assert closest("zzz", ["plan", "apply"]) == ""
    many = [f"SoftwareUpload/g/n{i}" for i in range(20_000)]
    assert did_you_mean("SoftwareUpload/g/n1999x", many).startswith("did you mean 'SoftwareUpload/g/n1999")


# ── explain KIND ─────────────────────────────────────────────────────────────────────────────────

SCHEMA = {
    "title": "Cup",
    "description": "A cup.",
    "required": ["metadata", "spec"],
    "$defs": {"size": {"type": "string", "description": "how big", "examples": ["500MB"]}},
    "properties": {
        "apiVersion": {"const": "reconciler/v1"},
        "metadata": {"type": "object", "properties": {"name": {"type": "string"}}},
        "spec": {
            "type": "object",
            "required": ["size"],
            "properties": {
                "size": {"$ref": "#/$defs/size"},
                "colour": {"enum": ["red", "blue"], "default": "red"},
                "token": {"type": "string", "writeOnly": True},
                "spoons": {
                    "type": "array",
                    "items": {"type": "object", "properties": {"long": {"type": "boolean"}}},
                },
            },
        },
    },
}


def test_a_kind_is_explained_from_its_schema() -> None:
    shown = reference.kind_text(SCHEMA, style=Style(80))
    for said in (
        "  size  string, required\n      how big (for example 500MB)",
        "  colour  red | blue, default red",
        "  token  string, secret: a reference",
        "  spoons  list of object\n    long  boolean",
        "    size: 500MB",
    ):
        assert said in shown
    assert shown.index("spec  object") < shown.index("metadata  object")
    assert max(map(len, shown.splitlines())) <= 80
