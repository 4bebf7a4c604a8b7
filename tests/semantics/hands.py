"""What the tests of the semantics share: objects by name, how one stands, who is there."""

from __future__ import annotations

import json
import time
from typing import Any

from reconciler import run
from reconciler.errors import ExitCode
from reconciler.model import Condition, Plan
from reconciler.report.json import plan_json
from reconciler.run import Applied, Planned
from tests.laws.lab import Files, Lab, ref, upload

EMPTY = Plan("", ()).digest


def uploads(*names: str, group: str = "a", **fields: Any) -> Files:
    """Files with one SoftwareUpload each."""
    return {f"software/{group}-{name}.yaml": upload(name, group, **fields) for name in names}


def standing(lab: Lab, kind: str = "SoftwareUpload") -> set[tuple[str, str]]:
    """(site, Ref) of all marked things of a kind."""
    return {(site, thing.ref) for site, thing in lab.things(kind) if thing.owner == "lab"}


def names(lab: Lab) -> set[str]:
    """The names of the uploads that are there under our mark."""
    return {text.split("/")[2] for _site, text in standing(lab)}


def condition(applied: Applied | Planned, name: str) -> Condition:
    """How one object stands after a run."""
    found = applied.record.conditions if isinstance(applied, Applied) else applied.conditions
    return found[ref(name)]


def word(applied: Applied | Planned, name: str) -> tuple[str, str]:
    """Its status word and reason."""
    entry = condition(applied, name)
    return str(entry.word), entry.reason


def holds(applied: Applied) -> dict[str, str]:
    """Ref → why it is held, of what the run left."""
    return {str(change.ref): change.hold.reason for change in applied.left.held if change.hold}


def changes(planned: Planned | Applied) -> list[tuple[str, str, str]]:
    """(Ref, action, reason) of a plan."""
    return [(str(entry.ref), str(entry.action), entry.reason) for entry in planned.plan.changes]


def patient(lab: Lab, **fields: Any) -> Applied:
    """An ordinary scheduled pass, which leaves alone what is backing off."""
    return run.apply(lab.request(**fields))


def file_of(planned: Planned) -> Any:
    """The plan as `plan --out FILE` writes it."""
    return json.loads(json.dumps(plan_json(planned.plan, {}), default=dict))


def day(offset: int) -> str:
    """The day that many days from today (UTC)."""
    return time.strftime("%Y-%m-%d", time.gmtime(time.time() + offset * 86400))


def quiet(lab: Lab, code: ExitCode = ExitCode.CONVERGED, **fields: Any) -> Applied:
    """Run again and demand silence: nothing written, nothing planned but what is held."""
    written = lab.writes()
    applied = lab.apply(**fields)
    assert lab.writes() == written
    assert not applied.plan.open, applied.plan.open
    assert applied.exit_code is code, applied.record.conditions
    return applied
