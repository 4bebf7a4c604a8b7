"""Who changes a lake from one moment to the next, at random: authors in git, operators at Rucio, the weather.

What authors want is kept here as they wrote it, so that what is owed can be told without asking our code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final

from tests.live.lake_at_rucio import ELEMENTS
from tests.live.rucio_lab import Lab

DISKS: Final = frozenset({"CATANIA-DISK", "CNAF-DISK", "RECAS-DISK"})
ALL: Final = frozenset(ELEMENTS)
# what authors write → where copies may then lie; objects of one family never want the same as the other's
EXPRESSIONS: Final[Mapping[str, Mapping[str, frozenset[str]]]] = {
    "a": {
        "quality=disk": DISKS,
        "country=IT": ALL,
        "cnaf-disk|recas-disk": frozenset({"CNAF-DISK", "RECAS-DISK"}),
    },
    "b": {
        "site=cnaf|site=catania": frozenset({"CATANIA-DISK", "CNAF-DISK", "CNAF-TAPE"}),
        "country=IT\\site=cnaf": frozenset({"CATANIA-DISK", "RECAS-DISK"}),
        "site=cnaf": frozenset({"CNAF-DISK", "CNAF-TAPE"}),
        "quality=tape": frozenset({"CNAF-TAPE"}),
    },
}
LATENCIES: Final = {"1s": DISKS, "4h": ALL}  # of QualityClasses that are declared
AGES: Final = (0, 40, 400)  # days: one in each stage of a Lifecycle
GROUPINGS: Final = ("DATASET",) * 5 + ("ALL", "NONE")


@dataclass(frozen=True, slots=True)
class Where:
    """What a file says of copies, as it says it, how many these are, and where they may lie."""

    said: Mapping[str, Any]
    copies: int
    among: frozenset[str]


@dataclass(frozen=True, slots=True)
class Wanted:
    """One object of git. `stages`: one for a DataRule, two for a Lifecycle, which then has an end."""

    family: str
    dataset: str
    stages: tuple[Where, ...]
    common: Mapping[str, Any]
    age: int = 0

    @property
    def ref(self) -> str:
        return f"{'Lifecycle' if len(self.stages) > 1 else 'DataRule'}/cms/{self.family}-{self.dataset}"

    @property
    def path(self) -> str:
        return f"data/cms/{self.family}-{self.dataset}.yaml"

    @property
    def now(self) -> Where | None:
        """What is wanted today; None: nothing any more."""
        if len(self.stages) == 1:
            return self.stages[0]
        return dict(zip(AGES, (*self.stages, None), strict=True))[self.age]


@dataclass
class Author:
    """Writes objects, and remembers which there are."""

    lab: Lab
    random: Random
    scope: str
    datasets: tuple[str, ...]
    sources: frozenset[str]  # data sets that come from a folder of their name
    objects: dict[str, Wanted] = field(default_factory=dict)

    def wanted(self, dataset: str) -> list[Where]:
        """What is wanted of a data set now."""
        found = (entry.now for entry in self.objects.values() if entry.dataset == dataset)
        return [where for where in found if where is not None]

    def step(self) -> str:
        """Some change, committed. What it was."""
        changes: list[Callable[[], str]] = [self.add, self.add, self.edit, self.edit, self.edit, self.age]
        done = self.random.choice([*changes, self.remove, self.remove])()
        self.lab.commit(done)
        return done

    def add(self, dataset: str = "") -> str:
        family, dataset = self.random.choice("ab"), dataset or self.random.choice(self.datasets)
        new = Wanted(family, dataset, self._stages(family), self._common())
        return self.edit() if new.path in self.objects else self._write(new)

    def edit(self) -> str:
        """Other copies, another place, other words."""
        if not self.objects:
            return self.add()
        old = self.objects[self.random.choice(sorted(self.objects))]
        which = self.random.choice(("stages", "common", "both"))
        new = old
        if which != "common":
            stages = self._stages(old.family)
            while len(stages) != len(old.stages):
                stages = self._stages(old.family)
            new = replace(new, stages=stages)
        return self._write(new if which == "stages" else replace(new, common=self._common()))

    def age(self) -> str:
        """The data grow older: their first day was longer ago."""
        young = [entry for entry in self.objects.values() if len(entry.stages) > 1 and entry.age < AGES[-1]]
        if not young:
            return self.edit()
        old = self.random.choice(sorted(young, key=lambda entry: entry.path))
        return self._write(replace(old, age=AGES[AGES.index(old.age) + 1]))

    def remove(self) -> str:
        if not self.objects:
            return self.add()
        path = self.random.choice(sorted(self.objects))
        del self.objects[path]
        (self.lab.clone / path).unlink()
        return f"removed {path}"

    def _stages(self, family: str) -> tuple[Where, ...]:
        number = self.random.choice((1, 1, 2))
        return tuple(self._where(family) for _ in range(number))

    def _where(self, family: str) -> Where:
        if family == "a" and self.random.random() < 0.3:
            latency = self.random.choice(sorted(LATENCIES))
            copies = self.random.randint(1, len(LATENCIES[latency]))
            said = {"quality": {"latency": latency, "redundancy": copies, "placement": ["IT"]}}
            return Where(said, copies, LATENCIES[latency])
        expression = self.random.choice(sorted(EXPRESSIONS[family]))
        among = EXPRESSIONS[family][expression]
        copies = self.random.randint(1, min(3, len(among)))
        return Where({"expression": expression, "copies": copies}, copies, among)

    def _common(self) -> dict[str, Any]:
        random = self.random
        return {
            "grouping": random.choice(GROUPINGS),
            "lastCopy": random.choice(("keep", "keep", "delete")),
            "staged": random.random() < 0.2,
            "priority": random.randint(2, 4),
            "repairs": 100,
        }

    def _write(self, new: Wanted) -> str:
        self.objects[new.path] = new
        spec: dict[str, Any] = {"dataset": f"{self.scope}:{new.dataset}", **new.common}
        if new.dataset in self.sources:
            spec["source"] = new.dataset
        if len(new.stages) == 1:
            spec |= new.stages[0].said
            if self.random.random() < 0.2:
                spec["lifetime"] = "30d"
        else:
            first, second = new.stages
            spec["from"] = (datetime.now(UTC) - timedelta(days=new.age)).date().isoformat()
            spec["stages"] = [
                {"after": "0d", **first.said},
                {"after": "30d", **second.said},
                {"after": "365d", "end": True},
            ]
        self.lab.declare(
            new.path, new.ref.partition("/")[0], f"{new.family}-{new.dataset}", spec, group="cms"
        )
        return f"{new.ref}: {spec}"


@dataclass
class Operator:
    """Works at Rucio by hand, beside us."""

    lab: Lab
    random: Random
    scope: str
    datasets: tuple[str, ...]
    account: str
    made: list[str] = field(default_factory=list)
    closed: set[str] = field(default_factory=set)
    taken: set[str] = field(default_factory=set)  # our rules that are theirs for a while

    def step(self) -> str:
        """Something is done at once. What it was."""
        ours = self.lab.standing()
        own = [self.add_own, self.drop_own, self.close, self.rename]
        if not ours:
            return self.random.choice(own)()
        rule = self.random.choice(ours)
        hands = (self.drop_softly, self.drop_hard, self.suspend, self.lock, self.hurry, self.take)
        if self.random.random() < 0.35:
            return self.random.choice(own)()
        return f"{self.random.choice(hands)(rule['id'])} {rule['name']} {rule['rse_expression']}"

    def add_own(self) -> str:
        name, element = self.random.choice(self.datasets), self.random.choice(ELEMENTS)
        if element in self.closed or not list(self.lab.client.list_dids(self.scope, {"name": name})):
            return "nothing"
        try:
            did = [{"scope": self.scope, "name": name}]
            (uid,) = self.lab.client.add_replication_rule(
                did, 1, element, account=self.account, comment="own"
            )
        except Exception as error:  # noqa: BLE001  Rucio has a class for each: they did it before
            assert "Duplicate" in type(error).__name__, error  # noqa: PT017  no test of an error
            return "nothing"
        self.made.append(uid)
        return f"own rule for {name} on {element}"

    def drop_own(self) -> str:
        if not self.made:
            return self.add_own()
        uid = self.made.pop(self.random.randrange(len(self.made)))
        self._expire(uid)
        return f"own rule {uid} dropped"

    def close(self) -> str:
        """Close an element for writing, or open it."""
        element = self.random.choice(ELEMENTS)
        self.closed ^= {element}
        self.lab.client.update_rse(element, {"availability_write": element not in self.closed})
        return f"{'closed' if element in self.closed else 'opened'} {element}"

    def rename(self) -> str:
        """Another value of an attribute that expressions compare, and that our files say."""
        element, word = self.random.choice(ELEMENTS), self.random.choice(("disk", "tape", "paper"))
        self.lab.client.add_rse_attribute(element, "quality", word)
        return f"quality={word} at {element}"

    def drop_softly(self, uid: str) -> str:
        self.lab.client.update_replication_rule(uid, {"locked": False})
        self.lab.client.delete_replication_rule(uid)
        return "soft delete of ours"

    def drop_hard(self, uid: str) -> str:
        self._expire(uid)
        return "hard delete of ours"

    def suspend(self, uid: str) -> str:
        self.lab.client.update_replication_rule(uid, {"state": "SUSPENDED"})
        return "ours suspended"

    def lock(self, uid: str) -> str:
        self.lab.client.update_replication_rule(uid, {"locked": True})
        return "ours locked"

    def hurry(self, uid: str) -> str:
        self.lab.client.update_replication_rule(uid, {"priority": 5})
        return "ours first"

    def take(self, uid: str) -> str:
        """Make it one of theirs, for the time being."""
        self.taken.add(uid)
        self.lab.client.update_replication_rule(uid, {"comment": "mine now"})
        return "ours taken over"

    def relent(self) -> None:
        """All elements are open again, and what was taken is given back."""
        for element in sorted(self.closed):
            self.lab.client.update_rse(element, {"availability_write": True})
        self.closed.clear()
        there = self.lab.rows()
        for uid in sorted(self.taken & there.keys()):
            self.lab.client.update_replication_rule(uid, {"comment": f"rc1.{self.lab.owner}"})
        self.taken.clear()

    def _expire(self, uid: str) -> None:
        if uid in self.lab.rows():
            self.lab.client.update_replication_rule(uid, {"locked": False, "lifetime": 0})


def weather(lab: Lab, random: Random) -> str:
    """Something happens to transfers to one element, or it clears up."""
    fts, pattern = lab.bed.fts, f"/{random.choice(ELEMENTS)}/"
    what = random.choice(("hold", "fail", "corrupt", "clear", "clear"))
    if what == "clear":
        fts.clear()
    else:
        getattr(fts, what)(pattern)
    return f"{what} {pattern}"
