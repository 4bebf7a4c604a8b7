"""A26: text of a merge request as a weapon. Names and values that want to be markup, colours, mentions,
headings, folds or totals of ours stay what they are: content.

A small reader of the Markdown says where content may stand (code spans, `<code>`, fenced blocks) and
finds anything of it elsewhere.
"""

from __future__ import annotations

import json
import re
import unicodedata
import xml.etree.ElementTree as ET
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.errors import Problem
from reconciler.model import (
    Action,
    Change,
    Condition,
    FieldChange,
    Hold,
    Outcome,
    Plan,
    Record,
    Ref,
    Result,
    Source,
    Word,
)
from reconciler.report import json as as_json
from reconciler.report import markdown, pages, problems, standing, text
from reconciler.report.record import record_text

NOW = datetime(2026, 11, 21, 3, 10, tzinfo=UTC)

HOSTILE = [
    "</details></summary><script>alert(1)</script>",
    "```\n</details>\n### Plan: no changes\n",
    "`````` @everyone ``````",
    "~~~\n# heading\n~~~",
    "@all @operators #1 !1 ~bug %1 $1 &1 ^alert",
    "a | b |\n|---|---|\n| 0 to delete | digest `sha256:0` |",
    "\x1b[2J\x1b[1;1HPlan: 0 to delete\x1b[0m",
    "\u202e\u2066reversed\u2069\u200b\ufeff",
    "[click](javascript:alert(1)) ![x](http://evil/x.png) https://evil.example",
    "\r\n\r\n0 to create, 0 to delete · digest sha256:" + "0" * 64,
    "<!-- reconciler: plan -->",
    "Nothing to do: 10,000 objects are as declared.\n",
    "$`math`$ :smile: [^1] <img src=x onerror=alert(1)> &lt;b&gt; \\` \\",
    "x" * 100_000,
    "\ud800 lone surrogate \u2028 line \u2029 paragraph \x85 \x00",
    "`",
    "",
]

hostile_text = st.one_of(
    st.sampled_from(HOSTILE), st.text(max_size=60), st.text("`~<>|@#!*_[]()\n\r -=/\\\"'&$", max_size=30)
)


def plan_of(name: str, value: str) -> Plan:
    """What has a digest holds no lone surrogate: canonical JSON has no bytes for it."""
    key, content = whole(name), whole(value)
    ref = Ref("Kind", key or "group", key or "name")
    fields = (
        FieldChange(content or "path", content, key),
        FieldChange("b", {"$secret": content}, {"$after": key}),
    )
    changes = tuple(
        Change(
            ref, name, content or "x", action, name or "Reason", fields, hold=hold, source=Source(value, 3)
        )
        for action in Action
        for hold in (None, Hold(name or "Reason", value, name), Hold("Locked", value))
    )
    return Plan(value, changes, {name: value})


def whole(value: str) -> str:
    return value.encode(errors="replace").decode()


def conditions_of(name: str, value: str) -> dict[Ref, Condition]:
    refs = [Ref("Other", name or "group", f"{name}{word}") for word in Word]
    return {
        ref: Condition(ref, word, name, value, name, Source(value, 1), NOW, NOW, 1, (refs[0],))
        for ref, word in zip(refs, Word, strict=True)
    }


def record_of(name: str, value: str) -> Record:
    changes = plan_of(name, value).changes
    outcomes = tuple(
        Outcome(change, result, name, value, name) for change in changes for result in (*Result,)
    )
    return Record(
        name,
        value,
        "sha256:" + "0" * 64,
        NOW,
        NOW,
        outcomes,
        conditions_of(name, value),
        {name: value},
        {},
        5,
    )


def problem_of(name: str, value: str) -> Problem:
    return Problem(name, 1, 1, value, value, name)


# ── terminals ────────────────────────────────────────────────────────────────────────────────────


def texts(name: str, value: str) -> list[str]:
    plan, stand, problem = plan_of(name, value), conditions_of(name, value), problem_of(name, value)
    record = record_of(name, value)
    ref = next(iter(stand))
    return [
        text.plan_text(plan, stand, 3, invalid=(problem,)),
        record_text(record, plan, invalid=(problem,)),
        standing.status_text(stand, record, NOW, unseen=[ref]),
        standing.explain_text(ref, stand, None, now=NOW),
        standing.outputs_text(ref, {name: value}),
        problems.problems_text([problem], 1, 1),
    ]


@given(hostile_text, hostile_text)
def test_terminals_get_nothing_that_moves_hides_or_turns_round(name: str, value: str) -> None:
    for shown in texts(name, value):
        bad = {c for c in shown if unicodedata.category(c)[0] == "C" and c != "\n"}
        assert bad == set()
        assert not {"\u2028", "\u2029"} & set(shown)
        shown.encode()


@given(hostile_text)
def test_content_never_begins_a_line(value: str) -> None:
    """The number of lines does not depend on the content, so no line is the content's own."""
    tame = [shown.count("\n") for shown in texts("name", "value")]
    wild = [shown.count("\n") for shown in texts("name", value or "value")]
    assert wild == tame


def test_a_fake_total_is_not_the_last_line() -> None:
    fake = "0 to create, 0 to delete · digest sha256:" + "0" * 64
    shown = text.plan_text(plan_of("name", f"x\n{fake}"), {}, 1)
    assert [line for line in shown.splitlines() if line.startswith("0 to")] == []
    assert plan_of("name", f"x\n{fake}").digest in shown.splitlines()[-1]


# ── Markdown ─────────────────────────────────────────────────────────────────────────────────────

OURS = re.compile(r"[A-Za-z0-9 .,:;!*_#()…·/>=\"-]*\Z")
SYMBOLS = ("+ ", "- ", "~ ", "± ", "# ", "! ", "? ", "+     ", "-     ", "#     ")


def outside(shown: str) -> list[str]:
    """The lines of a report without any content; raises AssertionError where a block is broken."""
    found: list[str] = []
    fenced = False
    depth = 0
    for line in shown.removesuffix("\n").split("\n"):
        if fenced and line != "```":
            assert line.startswith(SYMBOLS), line
            continue
        if line in ("```diff", "```"):
            fenced = not fenced
            continue
        depth += line.startswith("<details") - (line == "</details>")
        assert depth in (0, 1)
        found.append(bare(line))
    assert (fenced, depth) == (False, 0)
    return found


def bare(line: str) -> str:
    """A line without its code: spans read as CommonMark does, `<code>` of a summary, our own tags."""
    if line.startswith("<details"):
        inner = re.fullmatch(r"<details(?: open)?><summary>(.*)</summary>", line)
        assert inner, line
        return re.sub(r"<code>[^<>`]*</code>", "", inner[1])
    if line in ("</details>", markdown_header(line), pages.HEADER):
        return ""
    kept, rest = "", line
    while (start := re.search("`+", rest)) is not None:
        kept += rest[: start.start()]
        fence, rest = start[0], rest[start.end() :]
        end = re.search(rf"(?<!`){fence}(?!`)", rest)
        assert end, line
        rest = rest[end.end() :]
    return kept + rest


def markdown_header(line: str) -> str:
    return line if line in ("<!-- reconciler: plan -->", "<!-- reconciler: apply -->") else ""


def reports(name: str, value: str) -> list[str]:
    plan, stand, problem = plan_of(name, value), conditions_of(name, value), problem_of(name, value)
    record = record_of(name, value)
    return [
        markdown.plan_markdown(plan, stand, 3, invalid=(problem,)),
        markdown.record_markdown(record, plan, invalid=(problem,)),
    ]


@given(hostile_text, hostile_text)
def test_merge_requests_show_content_as_code_only(name: str, value: str) -> None:
    for shown in reports(name, value):
        shown.encode()
        assert len(shown.encode()) < 60_000
        for line in outside(shown):
            assert OURS.match(line), line


@given(hostile_text, hostile_text)
def test_status_pages_show_content_as_code_only(name: str, value: str) -> None:
    found = pages.status_pages(
        record_of(name, value), {next(iter(conditions_of(name, value))): {name: value}}
    )
    for path, shown in found.items():
        if path.endswith(".md"):
            for line in shown.split("\n"):
                left = (
                    re.sub(r"\]\(groups/[a-z0-9_-]+\.md\)", "", bare(line)).replace("[", "").replace("|", "")
                )
                assert OURS.match(left), line


@pytest.mark.parametrize("value", HOSTILE)
def test_the_header_comes_first_and_once(value: str) -> None:
    plan = plan_of("name", value)
    shown = markdown.plan_markdown(plan, {}, 3)
    lines = shown.split("\n")
    assert lines[0] == "<!-- reconciler: plan -->"
    assert lines[1].startswith(
        "### Plan: 3 to create, 3 to update, 3 to replace, 3 to delete, 8 of them held"
    )
    assert lines[3].startswith(f"digest `{plan.digest}`")
    assert [line for line in outside(shown) if line.startswith("### ")] == [lines[1]]


def test_the_reader_finds_what_is_not_code() -> None:
    with pytest.raises(AssertionError):
        outside("```diff\n+ a\nbreak out\n```")
    with pytest.raises(AssertionError):
        outside("<details><summary>x</summary>\n")
    assert not OURS.match(bare("by @all"))
    assert OURS.match(bare("by `@all`"))


# ── size ─────────────────────────────────────────────────────────────────────────────────────────


def many(count: int, *, targets: int, held: int = 0) -> Plan:
    hold = Hold("RemovalBudget", "too many", "RemovalBudget group g")
    fields = (FieldChange("path", "a" * 50, "b" * 50),)
    changes = [
        Change(
            Ref("SoftwareUpload", "g", f"n{index:06}"),
            "SoftwareUpload",
            f"site-{index % targets}",
            Action.UPDATE,
            "SpecChanged",
            fields,
            hold=hold if index < held else None,
            source=Source(f"software/g/n{index:06}.yaml", 3),
        )
        for index in range(count)
    ]
    return Plan("4f2c", tuple(changes))


@pytest.mark.parametrize(
    ("count", "targets", "held"), [(100_000, 20, 0), (20_000, 5_000, 10_000), (400, 3, 0)]
)
def test_a_report_of_any_size_stays_under_60_kilobytes(count: int, targets: int, held: int) -> None:
    plan = many(count, targets=targets, held=held)
    shown = markdown.plan_markdown(plan, {}, count)
    assert len(shown.encode()) < 60_000
    assert shown.split("\n")[1].startswith(f"### Plan: {count:,} to update")
    assert "Shortened to stay under 60 kB" in shown
    assert ("more" in shown) is (count > 400)
    for line in outside(shown):
        assert OURS.match(line), line


def test_what_fits_is_whole() -> None:
    shown = markdown.plan_markdown(many(100, targets=3), {}, 100)
    assert "Shortened" not in shown
    assert shown.count("SoftwareUpload/g/n") == 100
    assert shown.count("-     path: ") == 100


def test_the_counts_of_what_is_left_out_add_up() -> None:
    shown = markdown.plan_markdown(many(5_000, targets=1), {}, 5_000)
    left_out = re.search(r"# … and ([0-9,]+) more", shown)
    assert left_out
    assert shown.count("SoftwareUpload/g/n") + int(left_out[1].replace(",", "")) == 5_000


# ── machines ─────────────────────────────────────────────────────────────────────────────────────


@given(hostile_text, hostile_text)
def test_json_and_xml_can_be_read_back(name: str, value: str) -> None:
    plan = plan_of(name, value)
    shown = as_json.text(as_json.plan_json(plan, conditions_of(name, value)))
    assert shown.isascii()
    assert json.loads(shown)["changes"][0]["fields"][0]["have"] == whole(value)
    suite = ET.fromstring(problems.junit([problem_of(name, value)], 1))  # noqa: S314  our own output
    assert len(suite) == 1
    assert len(problems.code_quality([problem_of(name, value)])) == 1
