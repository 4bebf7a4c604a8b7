"""The laws of data at a real Rucio: random rules, edits, removals, operators, failures. Seeded: LAWS_SEED.

After every step: of no data set there are fewer copies, on elements, whole, byte by byte, than there were and
are declared, before the step and after it. What operators take by hand, and what Rucio loses, is accounted
for by what our rules kept when the step began. Rules of others stay as they are. When the failures end, what
is declared is there, and then two runs change nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest

from demo.make_uploads import noise
from reconciler.model import Plan
from reconciler.stages.case import NEVER_APPROVED
from tests.live.rucio_copies import Standing, copies, standings, together
from tests.live.rucio_ground import DAEMONS, fill_archive, ground, put_uploads
from tests.live.rucio_lab import AT_RUCIO, Lab, Ran, Row, meta_of
from tests.live.rucio_people import EXPRESSIONS, Author, Operator, weather

pytestmark = [pytest.mark.live, pytest.mark.machines, pytest.mark.network]

SEED = int(os.environ.get("LAWS_SEED", "1"))
STEPS = int(os.environ.get("LAWS_STEPS", "14"))  # for one seed; then it has to converge
PASSES = 14  # in which that must happen
SCOPE = "laws"
LAST_COPY = "LastCopyApproval"
DATASETS = {
    name: {f"{name}-{number}": noise(f"{name}/{number}", 300) for number in range(3)}
    for name in ("d0", "d1", "d2", "up")
}
UPLOADED = "up"


@dataclass
class Story:
    """One random sequence: who takes part, what was done, and how all stood after the last step."""

    lab: Lab
    random: Random
    author: Author
    operator: Operator
    done: list[str] = field(default_factory=list)
    at: dict[str, Standing] = field(default_factory=dict)
    owed: dict[str, int] = field(default_factory=dict)

    def look(self) -> dict[str, Standing]:
        return standings(self.lab, DATASETS, SCOPE)

    # -- steps -------------------------------------------------------------------------------

    def step(self) -> None:
        """One of all that can happen; then the law."""
        kind = self.random.choice(("author",) * 5 + ("operator",) * 4 + ("weather",) * 2 + ("daemons",) * 4)
        if kind == "author":
            self.author_works()
            self.pass_over(approve=self.random.random() < 0.4)
        elif kind == "daemons":
            self.daemons_work()
        else:
            for _ in range(2 if kind == "operator" else 1):
                self.note(self.operator.step() if kind == "operator" else weather(self.lab, self.random))
            self.hold_files(kept=False)
            if self.random.random() < 0.5:
                self.pass_over(approve=False)

    def author_works(self) -> None:
        for _ in range(self.random.randint(1, 2)):
            self.note(self.author.step())

    def pass_over(self, *, approve: bool) -> Ran:
        """One apply, after which rules of others are as they were."""
        before = self.others()
        ran = self.lab.applied(approve=every if approve else None)
        self.note(f"apply{' --approve' if approve else ''}: {ran}")
        assert self.others() == before, self.told()
        self.hold_files(approved=approve)
        return ran

    def daemons_work(self) -> None:
        whole: tuple[str, ...] = self.random.choice((DAEMONS, ()))
        only = whole if self.random.random() < 0.75 else (self.random.choice(DAEMONS),)
        self.note(f"pump {only}")
        self.lab.bed.pump(1, only)
        self.hold_files()

    def others(self) -> dict[str, Any]:
        return {uid: rule for uid, rule in self.lab.rows().items() if not self.lab.is_ours(rule)}

    # -- the law -----------------------------------------------------------------------------

    def hold_files(self, *, approved: bool = False, kept: bool = True) -> None:
        """Fewer copies than there were and are owed: never. `kept`: nor fewer that rules keep."""
        before, self.at = self.at, self.look()
        owed_before = self.owed
        self.owed = {name: self.due(name, before[name], approved=approved) for name in DATASETS}
        for name, now in self.at.items():
            then = before[name]
            loose = then.loose or now.loose
            floor = min(copies(then.kept, loose=loose), owed_before[name], self.owed[name])
            assert copies(now.whole, loose=loose) >= floor, f"{name}: fewer than {floor}\n{self.told()}"
            if kept:
                assert copies(now.kept, loose=loose) >= floor, f"{name}: {floor} not kept\n{self.told()}"

    def due(self, name: str, then: Standing, *, approved: bool = False) -> int:
        """How many copies of a data set are owed: those of git, else those that nobody let go on purpose."""
        wanted = self.author.wanted(name)
        if wanted:
            return max(where.copies for where in wanted)
        staying = [rule for rule in then.rules if not (approved and self.may_go(rule))]
        return max((rule["copies"] for rule in staying), default=0)

    def may_go(self, rule: Row) -> bool:
        """Did its file say that its copies may go? Where the file is there still, it says so now."""
        meta = meta_of(rule)
        for entry in self.author.objects.values():
            if f"{entry.ref}/main.rule" in meta["refs"].values():
                return bool(entry.common["lastCopy"] == "delete")
        return bool(meta.get("last") == "delete")

    def begin(self) -> None:
        """Every data set has a rule, and its copies: else little could be lost."""
        for name in DATASETS:
            self.note(self.author.add(name))
        self.lab.commit()
        for _ in range(2):
            self.note(f"begin: {self.lab.applied()}")
            self.lab.bed.pump(1, DAEMONS)
        self.at = self.look()
        self.owed = {name: self.due(name, self.at[name]) for name in DATASETS}

    # -- the end -----------------------------------------------------------------------------

    def converge(self) -> None:
        """The failures end: all that is declared comes to be, and then nothing moves."""
        self.lab.bed.fts.clear()
        self.operator.relent()
        self.at = self.look()
        for _ in range(PASSES):
            ran = self.lab.applied(approve=not_last)
            self.note(f"converge: {ran}")
            self.hold_files()
            before = self.lab.rows()
            self.lab.bed.pump(1, DAEMONS)
            self.hold_files()
            if not ran.writes[AT_RUCIO] and self.lab.rows() == before and self.is_whole():
                break
        self.hold_declared()
        for _ in range(2):
            before = self.lab.rows()
            ran = self.lab.applied()
            assert (ran.left, self.lab.rows() == before) == ((), True), f"{ran}\n{self.told()}"

    def is_whole(self) -> bool:
        rules = [rule for rule in self.lab.rows().values() if self.lab.is_ours(rule)]
        return all(rule["state"] == "OK" and rule["expires_at"] is None for rule in rules)

    def hold_declared(self) -> None:
        """Every object has exactly one rule, and its copies where it says."""
        rules = self.lab.standing()
        for wanted in self.author.objects.values():
            where = wanted.now
            found = [rule for rule in rules if f"{wanted.ref}/main.rule" in meta_of(rule)["refs"].values()]
            if where is None:
                continue
            assert [rule["copies"] for rule in found] == [where.copies], f"{wanted}\n{self.told()}"
            whole = self.at[wanted.dataset].whole
            there = {file: elements & where.among for file, elements in whole.items()}
            loose = found[0]["grouping"] == "NONE"
            assert copies(there, loose=loose) >= where.copies, f"{wanted} {there}\n{self.told()}"

    # -- what a failure says -----------------------------------------------------------------

    def note(self, what: str) -> None:
        self.done.append(what)

    def told(self) -> str:
        rules = [
            {
                key: rule[key]
                for key in ("name", "copies", "rse_expression", "state", "comments", "expires_at")
            }
            for rule in self.lab.rows().values()
        ]
        lines = [*self.done, "rules:", *map(str, rules), "owed:", str(self.owed)]
        places = {name: sorted(together(now.whole)) for name, now in self.at.items()}
        return "\n".join([*lines, "whole:", str(places)])


def every(plan: Plan) -> tuple[str, ...]:
    """Agree to all."""
    return (plan.digest,) if plan.changes else ()


def not_last(plan: Plan) -> tuple[str, ...]:
    """Agree to all but last copies: those who only want it to go on."""
    refused = {*NEVER_APPROVED, LAST_COPY}
    return tuple(change.digest for change in plan.held if change.hold and change.hold.reason not in refused)


@contextmanager
def story(root: Path, seed: int) -> Iterator[Story]:
    """Our elements, data in an archive of its operators, and no rule of ours yet."""
    with ground(root, SCOPE) as lab:
        put_uploads(lab, {UPLOADED: DATASETS[UPLOADED]})
        # what is uploaded has no other copy: what operators would take of it could not come back
        others = {name: files for name, files in DATASETS.items() if name != UPLOADED}
        account = lab.bed.new_account(admin=True, room=False)
        fill_archive(lab, account, SCOPE, others)
        random = Random(seed)
        author = Author(lab, random, SCOPE, tuple(DATASETS), frozenset({UPLOADED}))
        yield Story(lab, random, author, Operator(lab, random, SCOPE, tuple(others), account))


@pytest.mark.parametrize("seed", range(SEED, SEED + 3))
def test_never_fewer_copies_than_declared(seed: int, tmp_path: Path) -> None:
    pytest.importorskip("rucio.client", reason="no Rucio here: install `rucio-clients`")
    with story(tmp_path, seed) as told:
        told.begin()
        for _ in range(STEPS):
            told.step()
        told.converge()


def test_families_never_want_the_same() -> None:
    """Else two objects would be one rule to Rucio, and one of them Failed."""
    assert not EXPRESSIONS["a"].keys() & EXPRESSIONS["b"].keys()
