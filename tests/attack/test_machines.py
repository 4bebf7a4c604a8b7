"""What machines try that are not what they seem: hosts whose root lies, records that people or disks spoilt.

M1 what hosts say · M2 spoilt records.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.drivers.hosts import DRIVER, shell
from reconciler.drivers.hosts.layout import Allocation, Receipt, Record, read_record
from reconciler.drivers.hosts.processes import services
from reconciler.drivers.hosts.running import error_of
from reconciler.errors import BackendError
from reconciler.kind import Ask
from reconciler.model import Mark, Ref, Target, mark_id
from reconciler.playbook.work import HostResult

# -- M1: machines that lie ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Places:
    """What a driver is given."""

    data: str

    def secret(self, reference: str) -> str:
        return "-----BEGIN KEY-----" if reference == "env:KEY" else pytest.fail(f"{reference} was opened")

    def roles(self) -> tuple[str, ...]:
        return ()


HOSTS = [
    {"name": name, "address": f"192.0.2.{number}", "hostKey": "ssh-ed25519 AAAA"}
    for number, name in enumerate(("good", "evil"), 1)
]
CLAIMED = Ref("Deployment", "b", "theirs", "server.server")


def record(**fields: Any) -> Record:
    mark = Mark("lab", mark_id(CLAIMED), CLAIMED, "sha256:00")
    stolen = {
        "role": "nginx",
        "server": str(CLAIMED),
        "variables": {"nginx_key": {"$secret": "file:/etc/key"}},
    }
    receipt = Receipt(mark, stolen, "done", "2026-01-01T00:00:00+00:00", outputs={"x": {"$secret": "env:X"}})
    known = Record(mark, "fleet", {}, "2026-01-01T00:00:00+00:00", "ready", configurations={mark.id: receipt})
    return replace(known, allocation=Allocation("h", "198.51.100.1", {}, "good", "ssh-rsa EVIL"), **fields)


def told(monkeypatch: pytest.MonkeyPatch, folder: Path, answer: str) -> list[Any]:
    """What is seen of a fleet whose host `evil` gives this answer."""
    monkeypatch.setattr(shell, "run", lambda host, *_: answer if host["name"] == "evil" else "")
    settings = {"machines": "ssh", "hosts": HOSTS, "identity": "env:KEY"}
    with closing(DRIVER.reader(Target("fleet", "hosts", "p", settings), Places(str(folder)))) as client:
        hands = [DRIVER.serving(kind) for kind in ("server", "configuration")]
        return [thing for hand in hands for thing in hand.observe(client, Ask("lab"))]


def test_m1_a_host_stands_for_itself_and_names_no_secret(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    answer = f"lab fleet {mark_id(CLAIMED)}\n{record().dump().decode()}"
    server, configuration = told(monkeypatch, tmp_path, answer)
    assert server.attributes["address"] == "192.0.2.2"
    assert configuration.spec["variables"] == {"nginx_key": ""}
    assert configuration.attributes == {"x": ""}


@pytest.mark.parametrize(
    "claim",
    ["other fleet {}", "lab other {}", "lab fleet aaaaaaaaaaaaaaaaaaaa", "lab fleet ../../../etc", "x", ""],
)
def test_m1_a_host_whose_claim_and_record_differ_is_nobodys(
    claim: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    answer = f"{claim.format(mark_id(CLAIMED))}\n{record().dump().decode()}"
    assert told(monkeypatch, tmp_path, answer) == []


def test_m1_a_host_can_not_choose_its_mark(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mark = Mark("lab", mark_id(CLAIMED), Ref("Deployment", "c", "x", "s.server"))
    answer = f"lab fleet {mark.id}\n{record(mark=mark).dump().decode()}"
    assert told(monkeypatch, tmp_path, answer) == []


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("printf '\\377\\376ok'", ""),
        ("yes", "says more than"),
        ("printf '\\033[31m' >&2; exit 7", r"\\u001b"),
    ],
)
def test_m1_a_host_may_say_what_it_likes(
    program: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes that are no text, more than there is memory for, what moves a cursor."""
    fake = tmp_path / "ssh"
    fake.write_text(f"#!/bin/sh\n{program}\n")
    fake.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    if not said:
        assert shell.run(HOSTS[0], "key", "true").endswith("ok")
        return
    with pytest.raises(BackendError, match=said):
        shell.run(HOSTS[0], "key", "true")


def test_m1_outputs_of_any_size_are_not_kept() -> None:
    result = HostResult(True, True, False, "", "", {"x": "y" * 10**6}, ())
    assert "its outputs have" in str(error_of(result))
    assert error_of(replace(result, outputs={"x": "y"})) is None


# -- M2: records that people or disks spoilt ---------------------------------------------------------


def _spoilt(change: Mapping[str, Any]) -> bytes:
    return json.dumps({**json.loads(record().dump()), **change}).encode()


@pytest.mark.parametrize(
    "change",
    [
        {"spec": []},
        {"spec": None},
        {"allocation": {**json.loads(record().dump())["allocation"], "ports": None}},
        {"configurations": []},
        {"configurations": {"x": []}},
        {"mark": {"owner": 1}},
        {"target": {}},
        {"state": 5},
    ],
)
def test_m2_a_record_of_the_wrong_shape_is_no_record(change: Mapping[str, Any]) -> None:
    assert read_record(_spoilt({})) == record()
    with pytest.raises(ValueError, match="not a record"):
        read_record(_spoilt(change))


def test_m2_notes_of_services_that_are_no_files_do_not_hold_up_a_pass(tmp_path: Path) -> None:
    folder = tmp_path / "services"
    folder.mkdir()
    os.mkfifo(folder / "pipe.json")
    os.symlink("/dev/zero", folder / "link.json")
    (folder / "large.json").write_text('{"pid": ' + "1" * 10**6)
    assert services(str(tmp_path)) == {"pipe": False, "link": False, "large": False}
