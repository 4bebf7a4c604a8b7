"""The laws once more, for deployments: random services, scale and places at simulated sites."""

from __future__ import annotations

import base64
import os
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.laws.lab import SITES, Files, Lab, base, refs
from tests.laws.strategies import blinding, sites
from tests.laws.test_laws import EMPTY, anchors, few, killed
from tests.laws.test_laws import converge as converge_with
from tests.semantics.machines import catalogue, deployment

some = settings(few, max_examples=max(3, int(os.environ.get("LAWS_EXAMPLES", "10")) // 3))
PARTS = ("server", "volume", "configuration")

_places = st.lists(st.sampled_from(SITES), unique=True, max_size=2)
_one = st.tuples(st.sampled_from("ab"), st.integers(0, 3), _places)
_deployments = st.dictionaries(st.sampled_from(["d0", "d1", "d2"]), _one, max_size=2)


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The instance key, the same for all examples."""
    monkeypatch.setenv("RECONCILER_KEY", base64.b64encode(bytes(range(32))).decode())


@st.composite
def clouds(draw: st.DrawFn) -> Files:
    """What two groups want to run. A deployment of one name has always the same group."""
    files: Files = {}
    for name, (group, workers, places) in draw(_deployments).items():
        files[f"deployments/{group}-{name}.yaml"] = deployment(name, group, places, workers=workers)
    return files


def converge(lab: Lab, files: Files) -> None:
    """These deployments, of a service that is there, until all of them are Ready."""
    ready = converge_with(lab, {**catalogue(), **files})
    assert {name.rsplit("/", 1)[1] for name in expected(files)} <= ready


def expected(files: Files) -> Counter[str]:
    """How many machines each deployment has: the head and its workers."""
    found: Counter[str] = Counter()
    for path, text in files.items():
        if path.startswith("deployments/"):
            group, name = path.removeprefix("deployments/").removesuffix(".yaml").split("-")
            found[f"Deployment/{group}/{name}"] = 1 + int(text.split('"workers": ')[1].split("}")[0])
    return found


def whole(lab: Lab, files: Files) -> None:
    """Each deployment has all of its machines, once, at one site, and there is nothing else."""
    things = [(site, thing) for site, thing in lab.things() if thing.kind in PARTS]
    assert all(count == 1 for count in Counter(thing.ref for _site, thing in things).values())
    assert not [thing for _site, thing in things if thing.partial]
    servers = Counter(_object(thing.ref) for _site, thing in things if thing.kind == "server")
    assert servers == expected(files)
    places = {(_object(thing.ref), site) for site, thing in things}
    assert len(places) == len(servers)
    volumes = Counter(_object(thing.ref) for _site, thing in things if thing.kind == "volume")
    assert volumes == +Counter({name: count - 1 for name, count in servers.items()})
    roles = Counter(_object(thing.ref) for _site, thing in things if thing.kind == "configuration")
    assert roles == Counter({name: 2 * count for name, count in servers.items()})


def _object(ref: str) -> str:
    return ref.rsplit("/", 1)[0]


@some
@given(st.lists(clouds(), min_size=2, max_size=2))
def test_law_2_and_5_deployments_are_quiet_with_and_without_the_store(history: list[Files]) -> None:
    with Lab() as lab:
        for files in history:
            converge(lab, files)
            whole(lab, files)
        written, kept = lab.writes(), lab.digest()
        assert lab.apply().plan.digest == EMPTY
        lab.forget()
        again = lab.apply()
        assert again.plan.digest == EMPTY, refs(again)
        assert (lab.writes(), lab.digest()) == (written, kept)


@some
@given(clouds(), clouds(), sites, blinding, st.booleans())
def test_law_3_a_blind_site_costs_no_machine_and_makes_none_twice(
    first: Files, second: Files, site: str, dark: dict[str, Any], forget: bool
) -> None:
    with Lab() as lab:
        converge(lab, first)
        lab.weather(site, **dark)
        if forget:
            lab.forget()
        before = lab.digest()
        applied = lab.apply()
        if site in applied.record.blind:
            assert (refs(applied), lab.digest()) == ([], before)
        lab.commit({**base(), **anchors(), **catalogue(), **second}, whole=True)
        here = lab.world(site).digest()
        if site in lab.apply().record.blind:
            assert lab.world(site).digest() == here
        converge(lab, second)
        whole(lab, second)


@some
@given(clouds(), clouds(), st.integers(0, 14), st.booleans(), st.booleans())
def test_law_6_a_kill_leaves_no_machine_behind(
    first: Files, second: Files, point: int, after: bool, forget: bool
) -> None:
    with Lab() as lab:
        converge(lab, first)
        lab.commit({**base(), **anchors(), **catalogue(), **second}, whole=True)
        killed(lab.apply, point, after)
        if forget:
            lab.forget()
        converge(lab, second)
        whole(lab, second)
        assert lab.apply().plan.digest == EMPTY
