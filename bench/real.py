"""The row about real machines: from a commit to the first answer, against the same things done by hand.

It needs root on a Debian host, and what the tests of real machines share.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.command import Sample, run_program
from bench.ground import DONE, LIMIT
from bench.machines import ANSIBLE

_PATH = "deployments/virgo/alerts.yaml"
_REF = "Deployment/virgo/alerts"
_PAGE = "<h1>No alert since Tuesday</h1>"
_WEB = f"""\
apiVersion: reconciler/v1
kind: Deployment
metadata: {{name: alerts, group: virgo}}
spec:
  service: web
  placement: {{targets: [lab]}}
  inputs: {{title: Public alerts, page: "{_PAGE}"}}
"""


class NotHere(Exception):
    """Real machines can't be made on this host; the text says why."""


def compare(repeat: int) -> tuple[list[Sample], list[float]]:
    """Our passes on fresh machines, and how much longer each took than the same by hand, A B A B …"""
    samples, ratios = [], []
    with _cloud() as cloud:
        _ours(cloud)  # the first one makes caches, as the first boot of a base tree does
        for _ in range(repeat):
            sample, there = _ours(cloud)
            samples.append(sample)
            ratios.append(sample.seconds / _by_hand(cloud, there))
    return samples, ratios


@contextmanager
def _cloud() -> Iterator[Any]:
    """A repository and a network of its own; all machines are ended with it."""
    import pytest  # noqa: PLC0415  what is shared with the tests says by pytest that it can't work here

    from tests.live.cloud import open_cloud  # noqa: PLC0415  ditto

    try:
        with open_cloud() as cloud:
            yield cloud
    except pytest.skip.Exception as error:
        raise NotHere(str(error)) from error


@dataclass(frozen=True, slots=True)
class _There:
    """What one of our passes made: the records of its machines by node, and where the page is."""

    records: Mapping[str, Any]
    url: str


def _ours(cloud: Any) -> tuple[Sample, _There]:
    """From the commit to the page, with machines that were not there before; all is removed afterwards."""
    cloud.commit({_PATH: _WEB})
    command = [sys.executable, "-m", "reconciler", "apply", str(cloud.repository), "--target", "lab"]
    sample = run_program(command, cloud.folder, cloud.environment, expect=DONE, limit=LIMIT)
    url = cloud.outputs(_REF)["url"]
    _await_page(url)
    found = {ref.rpartition("/")[2].partition(".")[0]: entry for ref, (_, entry) in cloud.records().items()}
    there = _There(found, url)
    cloud.commit({_PATH: None})
    cloud.apply()
    if cloud.records():
        raise AssertionError("there are machines left")
    return sample, there


def _await_page(url: str) -> None:
    """Until the address answers with the page. After a pass of ours it does so at once."""
    from tests.live.cloud import fetched  # noqa: PLC0415  see above

    limit = time.monotonic() + LIMIT
    while fetched(url) != (200, _PAGE):
        if time.monotonic() > limit:
            raise AssertionError(f"{url} does not give the page")
        time.sleep(0.05)


def _by_hand(cloud: Any, there: _There) -> float:
    """Seconds for the same machines, started without us, one playbook for all roles, and the page."""
    from reconciler.drivers.hosts import nspawn  # noqa: PLC0415  see above
    from tests.live.cloud import TREES  # noqa: PLC0415  ditto
    from tests.live.nspawn_host import wait_until  # noqa: PLC0415  ditto

    folder = cloud.folder / "by-hand"
    folder.mkdir()
    settings = replace(cloud.host.settings, path=str(folder), cache=str(TREES))
    machines = list(_machines(cloud, settings, there))
    addresses = {there.records[one.id]["allocation"]["address"]: one.address for one in machines}
    try:
        began = time.perf_counter()
        keys = {one.id: nspawn.create(settings, one) for one in machines}
        for one in machines:
            nspawn.start(settings, one.id)
        for one in machines:
            wait_until(lambda name=one.id: nspawn.look(settings, name) == "running")  # type: ignore[misc]
        _play(cloud, there, keys, addresses)
        _await_page(_with(there.url, addresses))
        return time.perf_counter() - began
    finally:
        for one in machines:
            nspawn.remove(settings, one.id, patience=0.0)
        nspawn.remove_network(settings)
        shutil.rmtree(folder)


def _machines(cloud: Any, settings: Any, there: _There) -> Iterator[Any]:
    """The machines of one of our passes, as they are to be made again."""
    from reconciler.drivers.hosts import nspawn  # noqa: PLC0415  see above

    places = nspawn.addresses(settings)
    for (node, record), address in zip(sorted(there.records.items()), places, strict=False):
        spec = record["spec"]
        public = (cloud.host.public,)
        yield nspawn.Machine(node, f"{node}-by-hand", address, public, spec["cores"], spec["memory"])


def _play(cloud: Any, there: _There, keys: Mapping[str, str], addresses: Mapping[str, str]) -> None:
    """One bare `ansible-playbook` with the roles, variables and settings of our pass."""
    from reconciler.playbook.inputs import (  # noqa: PLC0415  see above
        INVENTORY,
        PLAYBOOK,
        environment,
        write_inputs,
    )

    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        nodes = sorted(there.records)
        write_inputs((_work(cloud, there, keys, addresses),), name)
        (Path(name) / PLAYBOOK).write_text(json.dumps(list(_plays(there, nodes))))
        command = [*ANSIBLE, "-i", INVENTORY, PLAYBOOK]
        run_program(command, Path(name), environment(name), expect=DONE, limit=LIMIT)


def _plays(there: _There, nodes: Sequence[str]) -> Iterator[dict[str, Any]]:
    """First `base` everywhere, then each machine's own role; the back end comes before the front."""
    yield _one("all", "base")
    for number, node in enumerate(nodes):
        for receipt in _receipts(there.records[node]):
            if receipt["role"] != "base":
                yield _one(f"m{number}", receipt["role"])


def _one(hosts: str, role: str) -> dict[str, Any]:
    tasks = [{"name": role, "import_role": {"name": role}}]
    return {"name": role, "hosts": hosts, "gather_facts": False, "tasks": tasks}


def _receipts(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [receipt["spec"] for receipt in record["configurations"].values()]


def _work(cloud: Any, there: _There, keys: Mapping[str, str], addresses: Mapping[str, str]) -> Any:
    from reconciler.playbook.work import Assignment, Machine, Work  # noqa: PLC0415  see above
    from reconciler.resources import roles_folder  # noqa: PLC0415  ditto

    assignments = []
    for node, record in sorted(there.records.items()):
        allocation = record["allocation"]
        address = addresses[allocation["address"]]
        connection = {"ansible_host": address, "ansible_port": 22, "ansible_user": "root"}
        facts = {
            "reconciler_root": "",
            "reconciler_rootless": False,
            "reconciler_machine": f"{node}-by-hand",
            "reconciler_address": address,
            "reconciler_ports": allocation["ports"],
            "reconciler_volumes": {},
            "reconciler_users": [],
            "reconciler_state": "present",
        }
        said = {name: value for spec in _receipts(record) for name, value in spec["variables"].items()}
        variables = json.loads(_with(json.dumps(said), addresses))
        assignments.append(Assignment(Machine(node, connection, keys[node], facts), variables))
    identity = cloud.host.key.read_text()
    return Work("base", "main", tuple(assignments), (str(roles_folder()),), identity, False, LIMIT)


def _with(text: str, addresses: Mapping[str, str]) -> str:
    """The text with the addresses of the machines made by hand, all at once."""
    for number, old in enumerate(addresses):
        text = text.replace(old, f"\0{number}\0")
    for number, new in enumerate(addresses.values()):
        text = text.replace(f"\0{number}\0", new)
    return text
