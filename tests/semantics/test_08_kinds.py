"""Sections 5 and 8 for kinds that we have not got yet: late values, and kinds that are slow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any, ClassVar

import pytest

from reconciler import registry
from reconciler.errors import ExitCode
from reconciler.kind import Kind, Primitive, World
from reconciler.kinds.software_upload import SoftwareUpload, SoftwareUploadSpec
from reconciler.late import after
from reconciler.model import Condition, Declared, Resource
from tests.laws.lab import Lab
from tests.semantics.hands import changes, condition, quiet, uploads, word


class Service(SoftwareUpload):
    """A front with an address, and a back that is told the address of the front."""

    parts: ClassVar[tuple[Primitive, ...]] = (
        Primitive("front", computed={"address": "address"}, immutable=frozenset({"path"})),
        Primitive("back"),
    )

    def expand(self, declared: Declared, world: World) -> Iterable[Resource | Condition]:
        front, back = declared.ref.with_part("one", "front"), declared.ref.with_part("two", "back")
        target, path = declared.spec["target"], declared.spec["path"]
        made = Resource(front, "front", target, {"path": path}, declared.source, declared.metadata)
        peer = {"peer": after(front, "address"), "keep": declared.spec["keepPrevious"]}
        yield made
        yield replace(made, ref=back, kind="back", spec=peer, needs=frozenset((front,)))


class Slow(SoftwareUpload):
    """Tapes."""

    parts: ClassVar[tuple[Primitive, ...]] = (replace(SoftwareUpload.parts[0], slow=True),)


@contextmanager
def kind(made: Kind[SoftwareUploadSpec], patch: pytest.MonkeyPatch) -> Iterator[None]:
    """With this kind in the place of SoftwareUpload."""
    kinds: Mapping[str, Kind[Any]] = {**registry.kinds(), "SoftwareUpload": made}
    parts = {part.name: part for entry in kinds.values() for part in entry.parts}
    with patch.context() as patched:
        patched.setattr(registry, "kinds", lambda: kinds)
        patched.setattr(registry, "primitives", lambda: {name: parts[name] for name in sorted(parts)})
        yield


def peers(lab: Lab) -> list[tuple[str, str]]:
    """(address of the front, what the back was told)."""
    fronts = [thing.attributes["address"] for _s, thing in lab.things("front")]
    return [(address, thing.spec["peer"]) for address in fronts for _s, thing in lab.things("back")]


def test_late_values_are_told_and_quiet_ever_after(monkeypatch: pytest.MonkeyPatch) -> None:
    with kind(Service(), monkeypatch), Lab(uploads("u")) as lab:
        planned = lab.plan()
        back = next(change for change in planned.plan.changes if change.kind == "back")
        told = {entry.path: entry.want for entry in back.fields}
        assert told["peer"] == {"$after": "SoftwareUpload/a/u/one.front#address"}
        lab.weather("alba", buildSeconds="1s")
        applied = lab.apply()
        assert applied.exit_code is ExitCode.CONVERGED, condition(applied, "SoftwareUpload/a/u")
        assert applied.plan.digest == planned.plan.digest
        ((address, peer),) = peers(lab)
        assert address == peer
        quiet(lab)
        lab.forget()
        quiet(lab)


def test_a_late_value_waits_for_what_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    with kind(Service(), monkeypatch), Lab(uploads("u")) as lab:
        lab.weather("alba", buildSeconds="1h")
        applied = lab.apply(wait=timedelta(0))
        assert applied.exit_code is ExitCode.PROGRESSING
        entry = condition(applied, "SoftwareUpload/a/u")
        assert (str(entry.word), [str(ref) for ref in entry.blocked_by]) == (
            "Waiting",
            ["SoftwareUpload/a/u/one.front"],
        )
        assert not lab.things("back")
        lab.world("alba").pass_time(4000)
        lab.clear()
        assert lab.apply().exit_code is ExitCode.CONVERGED
        quiet(lab)


def test_a_late_value_is_told_anew_when_its_source_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    with kind(Service(), monkeypatch), Lab(uploads("u")) as lab:
        lab.apply()
        lab.world("alba").change("SoftwareUpload/a/u/two.back", peer="192.0.2.9")
        assert changes(lab.plan()) == [("SoftwareUpload/a/u/two.back", "update", "Drifted")]
        assert lab.apply().exit_code is ExitCode.CONVERGED
        ((address, peer),) = peers(lab)
        assert address == peer
        lab.commit(uploads("u", path="a/other", keepPrevious=1))
        assert lab.apply().exit_code is ExitCode.CONVERGED
        ((address, peer),) = peers(lab)
        assert address == peer
        quiet(lab)


def test_what_is_slow_holds_up_neither_wait_nor_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    with kind(Slow(), monkeypatch), Lab() as lab:
        lab.apply()
        lab.commit(uploads("u"))
        lab.weather("alba", buildSeconds="1h")
        applied = lab.apply()
        assert applied.exit_code is ExitCode.CONVERGED
        assert word(applied, "SoftwareUpload/a/u") == ("Progressing", "Building")
        quiet(lab)
        assert applied.record.seconds["converge"] < 10


def test_what_is_not_slow_is_waited_for_and_said() -> None:
    with Lab() as lab:
        lab.apply()
        lab.commit(uploads("u"))
        lab.weather("alba", buildSeconds="2s")
        assert lab.apply(wait=timedelta(0)).exit_code is ExitCode.PROGRESSING
        assert lab.apply().exit_code is ExitCode.CONVERGED
        quiet(lab)
