"""The rows of the table: what is measured, how, and what is to be reached."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import replace

from bench import faults, real
from bench.command import Sample
from bench.field import Field, Goal, Measured, Row
from bench.fleet import NOTE, STEPS, Fleet
from bench.generate import BRANCH
from bench.ground import Ground
from bench.lake import Lake, compare_checks, compare_copies
from bench.machines import Machines, by_hand
from bench.rucio import POSTGRESQL, SQLITE, Found, compare_creation, imported, opened, planned
from bench.rucio import Lake as Lakes
from bench.rucio_reading import compare_quiet

TOUCHED = 5


def start(*words: str) -> Callable[[Field], Measured]:
    def measure(place: Field) -> Measured:
        ground = place.ground("validate", 10_000)
        ground.reconciler(*words)
        return Measured(0, [ground.reconciler(*words) for _ in place.times()])

    return measure


def plan_warm(place: Field) -> Measured:
    ground = place.converged(10_000)
    return Measured(ground.size.objects, [ground.plan() for _ in place.times()])


def plan_cold(place: Field) -> Measured:
    ground = place.converged(10_000)
    samples = []
    for _ in place.times():
        ground.forget_cache()
        samples.append(ground.plan())
    return Measured(ground.size.objects, samples)


def plan_parts(place: Field) -> Measured:
    ground = place.converged(2_500, copies=4)
    return Measured(ground.size.objects, [ground.plan() for _ in place.times()])


def plan_deployments(place: Field) -> Measured:
    ground = place.converged(0, deployments=2_500)
    return Measured(ground.size.deployments, [ground.plan() for _ in place.times()])


def validate_cold(place: Field) -> Measured:
    ground = place.ground("validate", 10_000)
    samples = []
    for _ in place.times():
        ground.forget_cache()
        samples.append(ground.validate())
    return Measured(ground.size.objects, samples)


def validate_merge(*words: str) -> Callable[[Field], Measured]:
    """A branch with five files that no run has seen, on top of a main branch that one has."""

    def measure(place: Field) -> Measured:
        ground = place.ground("validate", 10_000)
        ground.validate()
        paths = ground.tracked("software")
        samples = []
        for number in place.times():
            touched = paths[number :: len(paths) // TOUCHED][:TOUCHED]
            note = f"merge request {number} {' '.join(words)}"
            texts = {path: retagged((ground.repository / path).read_text(), note) for path in touched}
            ground.commit(texts, note, branch="merge-request")
            samples.append(ground.validate(*words))
            ground.commit_back(BRANCH)
        return Measured(ground.size.objects, samples)

    return measure


def retagged(text: str, note: str) -> str:
    """The same upload with another tarball."""
    fresh = hashlib.sha256(f"{note}{text}".encode()).hexdigest()
    return re.sub(r"sha256: \w+", f"sha256: {fresh}", text)


def create(place: Field) -> Measured:
    ground = place.ground("create", 1_000)
    return Measured(ground.size.objects, [created(ground) for _ in place.times()])


def created(ground: Ground) -> Sample:
    """From nothing to all: no worlds, no store; what was parsed before is known."""
    ground.validate()
    ground.forget_worlds()
    ground.forget_store()
    sample = ground.apply()
    size = ground.size
    made, wanted = len(ground.things()), size.objects * size.copies + size.sites
    if made != wanted:
        raise AssertionError(f"{made} things were made, {wanted} were wanted")
    return sample


def growth_plan(place: Field) -> Measured:
    small, large = place.converged(1_000), place.converged(10_000)
    return _growth([(small.plan(), large.plan()) for _ in place.times()], large)


def growth_create(place: Field) -> Measured:
    small, large = place.ground("create", 1_000), place.ground("create", 10_000)
    return _growth([(created(small), created(large)) for _ in place.times()], large)


def _growth(pairs: list[tuple[Sample, Sample]], large: Ground) -> Measured:
    ratios = [great.seconds / little.seconds for little, great in pairs]
    return Measured(large.size.objects, [great for _, great in pairs], ratios)


def healthy(place: Field) -> Measured:
    """Pairs of passes over the same 300 changes: everything well, and a hanging site with failing objects."""
    calm = place.converged(10_000, purpose="calm")
    stormy = place.converged(10_000, purpose="stormy")
    found = faults.compare(calm, stormy, place.repeat, int(300 * place.scale), retagged)
    return Measured(calm.size.objects, found.samples, found.ratios, found.blocked)


def role_20(place: Field) -> Measured:
    """One change of what a role is told on all machines: our whole run, and a bare playbook, A B A B …"""
    machines = Machines(place.folder / "role", Fleet(STEPS, 1, place.objects(20)))
    machines.open()
    by_hand(machines, "nothing yet")
    samples, ratios = [], []
    for number in place.times():
        text = f"round {number}"
        machines.say(text)
        samples.append(machines.reconciler("apply"))
        if machines.told() != [text] * machines.fleet.machines:
            raise AssertionError("the machines do not say what was committed")
        ratios.append(samples[-1].seconds / by_hand(machines, text).seconds)
    return Measured(machines.fleet.machines, samples, ratios)


def quiet_200(place: Field) -> Measured:
    machines = Machines(place.folder / "quiet", Fleet(NOTE, 10, place.objects(20)))
    machines.open()
    ansible, lists = machines.watched()
    samples = [replace(machines.quiet(), calls=lists) for _ in place.times()]
    return Measured(10 * machines.fleet.machines, samples, ansible=ansible)


def commit_to_200(place: Field) -> Measured:
    samples, ratios = real.compare(place.repeat)
    return Measured(2, samples, ratios)


def lake(
    compare: Callable[[Lake, int], tuple[list[Sample], list[float]]], files: int, kibibytes: int
) -> Callable[[Field], Measured]:
    """So many files of such a size; fewer bytes when it is tried out, not fewer files."""

    def measure(place: Field) -> Measured:
        folder = place.folder / f"{compare.__name__}-{files}"
        samples, ratios = compare(Lake(folder, files, place.objects(kibibytes) * 1024), place.repeat)
        return Measured(files, samples, ratios)

    return measure


def rucio(
    measure: Callable[[Lakes, int, int], Found], rules: int, database: str = POSTGRESQL
) -> Callable[[Field], Measured]:
    """A real Rucio for this row alone, with so many rules."""

    def measure_there(place: Field) -> Measured:
        folder = place.folder / f"{measure.__name__}-{database}"
        with opened(folder, database) as lakes:
            return Measured(*measure(lakes, place.objects(rules), place.repeat))

    return measure_there


_MANY, _LARGE = (20_000, 64), (4, 256 * 1024)  # files, KiB each
_AS_BARE = Goal(ratio=1.25)  # at least 0.8 of what the bare programs do in the same time
_AS_BULK = Goal(ratio=1.2)
_QUIET = Goal(seconds=1.5, mib=150, calls=300)
ROWS = (
    Row("start-version", "reconciler --version", Goal(0.15), start("--version")),
    Row("start-help", "reconciler --help", Goal(0.15), start("--help")),
    Row("validate-cold", "validate, 10,000 files, cold", Goal(3.0), validate_cold),
    Row("validate-merge", "validate, 5 of 10,000 changed, warm", Goal(1.0), validate_merge()),
    Row(
        "validate-against",
        "validate --against main, 5 of 10,000 changed, warm",
        Goal(1.0),
        validate_merge("--against", BRANCH),
    ),
    Row("create-1000", "create 1,000 objects on 20 sites", Goal(10.0), create),
    Row("plan-warm", "quiet plan, 10,000 objects, warm", _QUIET, plan_warm),
    Row("plan-cold", "quiet plan, 10,000 objects, nothing cached", Goal(4.0), plan_cold),
    Row("plan-parts", "quiet plan, 2,500 objects of four parts, warm", _QUIET, plan_parts),
    Row("plan-deployments", "quiet plan, 2,500 deployments of four parts, warm", _QUIET, plan_deployments),
    Row("growth-plan", "quiet plan, 10,000 against 1,000 objects", Goal(ratio=11.0), growth_plan),
    Row("growth-create", "create 10,000 against 1,000 objects", Goal(ratio=11.0), growth_create),
    Row(
        "healthy",
        "300 healthy changes beside a hanging site and 30 % failing",
        Goal(ratio=1.1, blocked=0),
        healthy,
    ),
    Row("role-20", "a change on 20 machines against a bare playbook", Goal(ratio=1.1), role_20),
    Row("quiet-200", "quiet pass over 200 configured machines", Goal(calls=4, ansible=0), quiet_200),
    Row(
        "commit-to-200", "from commit to page on new machines against by hand", Goal(ratio=1.3), commit_to_200
    ),
    Row("lake-copy", "copy 4 × 256 MiB against cp and sha256sum", _AS_BARE, lake(compare_copies, *_LARGE)),
    Row(
        "lake-copy-small",
        "copy 20,000 × 64 KiB against cp and sha256sum",
        _AS_BARE,
        lake(compare_copies, *_MANY),
    ),
    Row("lake-verify", "verify 4 × 256 MiB against sha256sum", _AS_BARE, lake(compare_checks, *_LARGE)),
    Row(
        "lake-verify-small",
        "verify 20,000 × 64 KiB against sha256sum",
        _AS_BARE,
        lake(compare_checks, *_MANY),
    ),
    Row(
        "rucio-quiet",
        "read 1,000 rules at Rucio against one bare list",
        Goal(calls=4, ratio=2.0),
        rucio(compare_quiet, 1_000),
    ),
    Row(
        "rucio-create",
        "create 1,000 rules at Rucio against bare bulk calls",
        _AS_BULK,
        rucio(compare_creation, 1_000),
    ),
    Row(
        "rucio-create-sqlite",
        "the same where Rucio is on SQLite",
        _AS_BULK,
        rucio(compare_creation, 1_000, SQLITE),
    ),
    Row("rucio-import", "import 1,000 rules, 64 elements, 102 accounts", Goal(60.0), rucio(imported, 1_000)),
    Row("rucio-plan", "quiet plan of the same import", Goal(5.0), rucio(planned, 1_000)),
)
