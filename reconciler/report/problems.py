"""What `validate` found → text, JSON, JUnit XML, GitLab code quality."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from xml.sax.saxutils import escape, quoteattr

from reconciler.errors import Problem
from reconciler.model import Json
from reconciler.report import words
from reconciler.report.json import VERSION, problems_json
from reconciler.report.style import PLAIN, Style


def problems_text(problems: Sequence[Problem], objects: int, files: int, *, style: Style = PLAIN) -> str:
    """Every problem as `path:line:column: message` and its hint, then one line that counts."""
    read = f"{words.counted(objects, 'object')} in {words.counted(files, 'file')}"
    if not problems:
        return style.paint("Valid:", "green") + f" {read}.\n"
    lines = [line for problem in problems for line in _problem_lines(problem, style)]
    broken = words.counted(len({problem.path for problem in problems}), "file")
    total = style.bold(f"{words.counted(len(problems), 'problem')} in {broken}")
    return "\n".join([*lines, "", f"{total}; {read} read."]) + "\n"


def _problem_lines(problem: Problem, style: Style) -> list[str]:
    where = style.bold(words.plain(f"{problem.path}:{problem.line}:{problem.column}:"))
    code = style.dim(f" [{words.plain(problem.code)}]") if problem.code else ""
    lines = [f"{where} {words.plain(problem.message)}{code}"]
    return lines + ([f"    hint: {words.plain(problem.hint)}"] if problem.hint else [])


def problems_report(problems: Sequence[Problem], objects: int, files: int) -> dict[str, Json]:
    """The same as JSON."""
    return {
        "schemaVersion": VERSION,
        "valid": not problems,
        "objects": objects,
        "files": files,
        "problems": problems_json(problems),
    }


def junit(problems: Sequence[Problem], files: int) -> str:
    """JUnit XML as GitLab's `artifacts:reports:junit` reads it: a failed case per problem.

    Format: https://docs.gitlab.com/ci/testing/unit_test_reports/. One passed case stands for a
    valid repository, because an empty suite counts as a missing report.
    """
    cases = [_case(problem) for problem in problems]
    cases = cases or [f'  <testcase classname="repository" name="valid ({files} files)"/>']
    head = f'<testsuite name="reconciler validate" tests="{len(cases)}" failures="{len(problems)}">'
    return "\n".join(['<?xml version="1.0" encoding="UTF-8"?>', head, *cases, "</testsuite>"]) + "\n"


def _case(problem: Problem) -> str:
    where = f"{problem.path}:{problem.line}:{problem.column}"
    name = quoteattr(words.plain(f"{where} {problem.code}"))
    said = escape(words.plain(problem.message) + (f" ({words.plain(problem.hint)})" if problem.hint else ""))
    place = f"classname={quoteattr(words.plain(problem.path))} name={name}"
    kind = quoteattr(words.plain(problem.code))
    return f"  <testcase {place}>\n    <failure type={kind}>{said}</failure>\n  </testcase>"


def code_quality(problems: Sequence[Problem]) -> list[dict[str, Json]]:
    """GitLab's code quality report: https://docs.gitlab.com/ci/testing/code_quality/.

    The fingerprint does not hold the line: a problem that only moved is not a new one.
    """
    seen: Counter[str] = Counter()
    return [_finding(problem, seen) for problem in problems]


def _finding(problem: Problem, seen: Counter[str]) -> dict[str, Json]:
    identity = f"{problem.path}\0{problem.code}\0{problem.message}"
    seen[identity] += 1
    fingerprint = hashlib.sha256(f"{identity}\0{seen[identity]}".encode(errors="replace")).hexdigest()
    said = problem.message + (f" ({problem.hint})" if problem.hint else "")
    return {
        "description": words.plain(said),
        "check_name": problem.code,
        "fingerprint": fingerprint,
        "severity": "major",
        "location": {"path": problem.path, "lines": {"begin": problem.line}},
    }
