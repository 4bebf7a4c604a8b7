"""The row about faults: what a hanging site and failing objects cost those that are well."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.command import Sample
from bench.ground import Ground
from reconciler.drivers.simulated.client import calls_path
from reconciler.drivers.simulated.weather import Failure, Request
from reconciler.drivers.simulated.world import Thing, open_world

KIND = "SoftwareUpload"
SHARE = 50  # percent of all uploads, which are 60 % of all objects
HANGING = "site-01"
INTERVAL = timedelta(minutes=10)  # between two passes, as by default; what failed is tried again by then
FAILED = (5, 7)  # some objects failed, some targets could not be read
Retag = Callable[[str, str], str]


@dataclass(frozen=True, slots=True)
class Found:
    """`samples` are of the passes with faults, their seconds up to the last healthy change in the world."""

    samples: list[Sample]
    ratios: list[float]
    blocked: int


def compare(calm: Ground, stormy: Ground, repeat: int, changes: int, retag: Retag) -> Found:
    """Passes A B A B …: A all well, B with faults and from its third pass on; the same changes in both."""
    sites = {thing.ref: site for site, thing in _uploads(calm)}
    failing = [ref for ref in sorted(sites) if _fails(ref)]
    well = [ref for ref in sorted(sites) if not _fails(ref) and sites[ref] != HANGING]
    _change(calm, failing, "all of these will fail", retag)
    calm.apply()
    began = datetime.now(UTC)
    _storm(stormy, failing, began, retag)
    samples, ratios, blocked = [], [], 0
    for number in range(repeat):
        chosen = well[number :: max(1, len(well) // changes)][:changes]
        when = began + (number + 2) * INTERVAL
        first, _ = _pass(calm, chosen, when, retag, (0,))
        second, missed = _pass(stormy, chosen, when, retag, FAILED)
        samples.append(second)
        ratios.append(second.seconds / first.seconds)
        blocked += missed
    return Found(samples, ratios, blocked)


def _fails(ref: str) -> bool:
    """Will the world refuse this one? The same draw as the world's own."""
    return Failure("Rejected", share=SHARE).hits(Request("update", KIND, ref), 0, "")


def _uploads(ground: Ground) -> Iterator[tuple[str, Thing]]:
    for site, path in ground.sites():
        with open_world(path) as world:
            for thing in world.things(KIND):
                yield site, thing


def _storm(ground: Ground, failing: list[str], began: datetime, retag: Retag) -> None:
    """30 % of all objects fail for good, one site hangs whatever the time-out; two passes over that."""
    ground.weather(failures=[{"error": "Rejected", "operation": "update", "kind": KIND, "share": SHARE}])
    with open_world(dict(ground.sites())[HANGING]) as world:
        world.set_weather(hang="hard")
    _change(ground, failing, "all of these will fail", retag)
    ground.apply(began, expect=FAILED)
    ground.apply(began + INTERVAL, expect=FAILED)


def _change(ground: Ground, refs: Iterable[str], note: str, retag: Retag) -> dict[str, str]:
    """Commit another tarball for each; the wanted text by Ref."""
    texts = {}
    for ref in refs:
        _, group, name = ref.split("/")
        path = f"software/{group}/{name}.yaml"
        texts[path] = retag((ground.repository / path).read_text(), note)
    ground.commit(texts, note)
    return {f"{KIND}/{Path(path).parent.name}/{Path(path).stem}": text for path, text in texts.items()}


def _pass(
    ground: Ground, refs: list[str], when: datetime, retag: Retag, expect: tuple[int, ...]
) -> tuple[Sample, int]:
    """One pass over fresh changes of what is well: the time to the last of them, and how many it missed."""
    wanted = _change(ground, refs, f"changed for {when:%H:%M}", retag)
    began = {path: calls_path(path).stat().st_size for _, path in ground.sites()}
    sample = ground.apply(when, expect=expect)
    done = [moment for path, offset in began.items() for moment in _updates(path, offset, wanted)]
    standing = {thing.ref: thing for thing in ground.things(KIND)}
    missed = [ref for ref, text in wanted.items() if str(standing[ref].spec["sha256"]) not in text]
    last = max(done, default=sample.started + sample.seconds)
    return replace(sample, seconds=last - sample.started), len(missed)


def _updates(world: Path, offset: int, wanted: dict[str, str]) -> Iterable[float]:
    """When the site was asked to change one of these, seconds since 1970, by its access log."""
    with calls_path(world).open("rb") as log:
        log.seek(offset)
        lines = [line.decode().split() for line in log]
    return [float(line[0]) for line in lines if line[1] == "update" and line[3] in wanted]
