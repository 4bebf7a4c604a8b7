"""The row about reading rules: by our hand, and as the bare list that Rucio streams, in this process."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from bench.command import Sample
from bench.rucio import ELEMENT, Found, Lake

_PAIRS: Final = 4  # per repetition: one takes a quarter of a second, and noise is large in that
_NOTHING: Final[frozenset[str]] = frozenset()


def compare_quiet(lake: Lake, rules: int, repeat: int) -> Found:
    """Our reading of the rules, and how much longer it took than the bare list after it, A B A B …

    Both by one session of HTTP in this process. `calls` are those of a whole reading of the target, every
    kind of thing among them; they have to be as many for a tenth of the rules.
    """
    places = {number: _standing(lake, number) for number in (max(1, rules // 10), rules)}
    few, calls = (place.calls() for place in places.values())
    if few != calls:
        raise AssertionError(f"{calls} calls for {rules} rules, {few} for a tenth of them")
    place = places[rules]
    samples, ratios = [], []
    place.timed(place.ours), place.timed(place.bare)
    for _ in range(_PAIRS * repeat):
        samples.append(replace(place.timed(place.ours), calls=calls))
        ratios.append(samples[-1].seconds / place.timed(place.bare).seconds)
    place.reader.close()
    return rules, samples, ratios


@dataclass(slots=True)
class Place:
    """Rules of one owner that stand as declared, and a connection of ours to them."""

    owner: str
    rules: int
    reader: Any
    natural: frozenset[str]

    def ours(self) -> int:
        """The rules as a plan reads them: marks, states, and the keys at which others' would matter."""
        from reconciler.drivers.rucio.rule import RuleHand  # noqa: PLC0415  only rows about Rucio load it
        from reconciler.kind import Ask  # noqa: PLC0415  ditto

        things = RuleHand().observe(self.reader, Ask(self.owner, self.natural))
        return sum(1 for thing in things if thing.mark is not None)

    def bare(self) -> int:
        """The list as Rucio streams it, each line through json.loads, by the same session."""
        with self.reader.rucio("the bare list") as rucio:
            told = {"params": {"comments": f"rc1.{self.owner}"}, "stream": True}
            headers = {"X-Rucio-Auth-Token": rucio.token.value}
            with rucio.session.get(f"{rucio.host}/rules/", headers=headers, **told) as answer:
                answer.raise_for_status()
                return len([json.loads(line) for line in answer.iter_lines()])

    def timed(self, read: Callable[[], int]) -> Sample:
        """One reading; its time, and nothing else of this process."""
        started, began, worked = time.time(), time.perf_counter(), time.process_time()
        found = read()
        seconds, cpu = time.perf_counter() - began, time.process_time() - worked
        if found != self.rules:
            raise AssertionError(f"{found} rules were read, {self.rules} stand")
        return Sample(seconds, cpu, 0.0, 0, started)

    def calls(self) -> int:
        """Requests of one whole reading of the target, as a plan makes it; we are logged in already."""
        from reconciler.drivers.rucio import DRIVER  # noqa: PLC0415  see above
        from reconciler.kind import Ask  # noqa: PLC0415  ditto

        asked: list[str] = []
        with self.reader.rucio("counted") as rucio:
            rucio.session.hooks["response"].append(lambda answer, **_: asked.append(answer.url))
            for name, hand in DRIVER.hands.items():
                list(hand.observe(self.reader, Ask(self.owner, self.natural if name == "rule" else _NOTHING)))
            rucio.session.hooks["response"].clear()
        return len(asked)


def _standing(lake: Lake, rules: int) -> Place:
    """Make so many rules by our command, see that all is quiet, and connect."""
    names = lake.datasets(rules)
    owner, repository = lake.repository(names)
    lake.reconciler("apply", str(repository))
    lake.reconciler("plan", str(repository), "--exit-code")
    reader = _reader(lake)
    with reader.rucio("login") as rucio:
        rucio.get_account(lake.account)
    keys = frozenset(f"|{lake.scope}:{name}|1|{ELEMENT}" for name in names)
    return Place(owner, rules, reader, keys)


def _reader(lake: Lake) -> Any:
    from reconciler.drivers.rucio.client import Reader  # noqa: PLC0415  see above
    from reconciler.model import Target  # noqa: PLC0415  ditto

    return Reader(Target("rucio", "rucio", "rucio", lake.settings(), timeout=60), _Secrets(lake))


@dataclass(frozen=True, slots=True)
class _Secrets:
    """The password of our account, and no other places."""

    lake: Lake
    data: str = "/nowhere"

    def secret(self, reference: str) -> str:
        return self.lake.environment[reference.removeprefix("env:")]

    def roles(self) -> tuple[str, ...]:
        return ()
