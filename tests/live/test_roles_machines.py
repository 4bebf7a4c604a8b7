"""Roles for real machines: a Slurm cluster that grows and shrinks under its jobs, Prometheus, NFS."""

from __future__ import annotations

import faulthandler
import json
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from reconciler.drivers.hosts import nspawn
from reconciler.model import Json
from reconciler.playbook.run import run
from reconciler.playbook.work import Assignment, HostResult, Machine, Work
from tests.live.nspawn_host import Host, open_host, wait_until

pytestmark = [pytest.mark.live, pytest.mark.machines]

ROLES = (str(Path(__file__).parents[2] / "ansible" / "roles"),)
KEY = "the key of the laboratory"
FRONT, PARTING = "front", "w3"
Variables = Mapping[str, Mapping[str, Json]]


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with open_host() as opened:
        # packages are fetched and many roles run: longer than pytest's limit; each run has a limit of its own
        faulthandler.cancel_dump_traceback_later()
        yield opened


def play(host: Host, role: str, variables: Variables, entry: str = "main") -> dict[str, HostResult]:
    """Run a role on machines, which are made where they are not there yet. It must go well on all."""
    for name in variables:
        if not host.known.get(name):
            host.up(host.machine(name))
    results = dict(run(work(host, role, variables, entry)))
    assert {name: (one.task, one.message) for name, one in results.items() if not one.ok} == {}
    return results


def work(host: Host, role: str, variables: Variables, entry: str) -> Work:
    return Work(
        role=role,
        entry=entry,
        assignments=tuple(Assignment(machine(host, name), given) for name, given in variables.items()),
        roles=ROLES,
        identity=host.key.read_text(),
        check=False,
        timeout=240,
    )


def machine(host: Host, name: str) -> Machine:
    address = host.machine(name).address
    facts: dict[str, Json] = {"root": "", "rootless": False, "machine": name, "address": address}
    facts |= {"ports": {}, "volumes": {}, "users": [], "state": "present"}
    connection = {"ansible_connection": "ssh", "ansible_host": address, "ansible_user": "root"}
    return Machine(name, connection, host.known[name], {f"reconciler_{key}": facts[key] for key in facts})


def assert_quiet(host: Host, role: str, variables: Variables) -> None:
    again = play(host, role, variables)
    assert {name: one.differences for name, one in again.items() if one.changed} == {}


def cluster(host: Host, workers: int) -> tuple[Variables, Variables]:
    """What front end and workers of a cluster of this size are given."""
    names = [f"w{number + 1}" for number in range(workers)]
    entries = [entry(host.machine(name)) for name in names]
    shared = {"slurm_key": KEY, "slurm_cluster": "lab", "slurm_front_address": host.machine(FRONT).address}
    front: dict[str, Json] = {
        **shared,
        "slurm_role": "frontend",
        "slurm_workers": entries,
        "slurm_drain_seconds": 0,
    }
    worker: dict[str, Json] = {
        **shared,
        "slurm_role": "worker",
        "slurm_front_name": host.machine(FRONT).hostname,
    }
    return {FRONT: front}, dict.fromkeys(names, worker)


def entry(worker: nspawn.Machine) -> Json:
    return {"name": worker.hostname, "address": worker.address, "cores": 1, "memory": 512}


def grown(host: Host, workers: int) -> dict[str, HostResult]:
    front, others = cluster(host, workers)
    return play(host, "slurm", front) | play(host, "slurm", others)


def on_front(host: Host, command: str) -> str:
    return host.said(FRONT, f"cd /tmp; timeout 60 {command} </dev/null")


def hostnames(host: Host, *names: str) -> list[str]:
    return sorted(host.machine(name).hostname for name in names)


def test_a_cluster_grows_and_shrinks_and_loses_no_job(host: Host) -> None:
    made = grown(host, 1)
    assert made[FRONT].outputs["nodes"] == hostnames(host, "w1")
    assert on_front(host, "srun hostname") == hostnames(host, "w1")[0]
    assert host.said("w1", "stat -c %a:%U:%s /etc/munge/munge.key") == "400:munge:128"
    first = on_front(host, "sbatch --parsable --wrap='until [ -e /tmp/go ]; do sleep 0.2; done'")
    wait_until(lambda: state(host, first) == "RUNNING")

    grow = grown(host, 3)
    assert not grow["w1"].changed  # a worker that stays is not touched
    assert state(host, first) == "RUNNING"
    host.said("w1", "touch /tmp/go")
    wait_until(lambda: state(host, first) == "COMPLETED")
    assert sorted(on_front(host, "srun -N3 hostname").split()) == hostnames(host, "w1", "w2", "w3")
    for variables in cluster(host, 3):
        assert_quiet(host, "slurm", variables)

    stays, goes = (on_front(host, f"sbatch --parsable --wrap='sleep 600' --{way}") for way in places(host))
    wait_until(lambda: state(host, stays) == state(host, goes) == "RUNNING")
    front, workers = cluster(host, 2)
    play(host, "slurm", front)
    assert sorted(set(on_front(host, "sinfo -hN -o %N").split())) == hostnames(host, "w1", "w2")
    assert state(host, stays) == "RUNNING"
    assert state(host, goes) == "PENDING"  # back in the queue
    on_front(host, f"scancel {stays} {goes}")
    on_front(host, f"scontrol update NodeName={hostnames(host, 'w2')[0]} State=RESUME")
    assert sorted(on_front(host, "srun -N2 hostname").split()) == hostnames(host, "w1", "w2")
    assert_quiet(host, "slurm", front)
    assert_quiet(host, "slurm", workers)
    assert_taken_away(host, cluster(host, 3)[1][PARTING])


def assert_taken_away(host: Host, variables: Mapping[str, Json]) -> None:
    """A machine that leaves the cluster and lives on: daemons stopped, key and names gone."""
    assert host.said(PARTING, "systemctl is-active slurmd munge") == "active\nactive"
    play(host, "slurm", {PARTING: variables}, entry="remove")
    assert host.said(PARTING, "systemctl is-active slurmd munge || true") == "inactive\ninactive"
    assert host.said(PARTING, "ls /etc/munge; grep slurm /etc/hosts || true") == ""


def places(host: Host) -> tuple[str, str]:
    """Options of two jobs: the second finds no worker but the one that goes, though it does not name it."""
    first, second, _ = hostnames(host, "w1", "w2", PARTING)
    on_front(host, f"scontrol update NodeName={second} State=DRAIN Reason=test")
    return f"nodelist={first}", "comment=anywhere"


def state(host: Host, job: str) -> str:
    return on_front(host, f"scontrol show job -o {job}").partition("JobState=")[2].split()[0]


def test_prometheus_scrapes_an_exporter(host: Host) -> None:
    exporter: Variables = {"w1": {"prometheus_role": "exporter"}}
    target = str(play(host, "prometheus", exporter)["w1"].outputs["target"])
    options: Json = {"prometheus_role": "server", "prometheus_targets": [], "prometheus_interval": 1}
    url = str(play(host, "prometheus", {FRONT: options})[FRONT].outputs["url"])
    play(host, "prometheus", {FRONT: {**options, "prometheus_targets": [target]}})
    wait_until(lambda: up(url, target) == "1")
    assert_quiet(host, "prometheus", {FRONT: {**options, "prometheus_targets": [target]}})
    assert_quiet(host, "prometheus", exporter)


def up(url: str, target: str) -> str:
    query = f"{url}/api/v1/query?query=up%7Binstance=%22{target}%22%7D"
    with urllib.request.urlopen(query, timeout=10) as answer:  # noqa: S310  our own machine, by http
        found = json.load(answer)["data"]["result"]
    return str(found[0]["value"][1]) if found else ""


def test_nfs_server_offers_its_exports_and_a_client_without_kernel_says_so(host: Host) -> None:
    """These machines may not open files by handle: what is in an export is not read here (see README)."""
    if not host.known.get("w1"):
        host.up(host.machine("w1"))
    volume = host.folder / "lab"
    volume.mkdir()
    host.up(host.machine("store", {"/srv/lab": str(volume)}))
    exports: Json = [{"path": "/srv/lab/home", "clients": host.machine("w1").address}]
    server: dict[str, Json] = {"nfs_role": "server", "nfs_exports": exports}
    assert play(host, "nfs", {"store": server})["store"].outputs["exports"] == ["/srv/lab/home"]
    assert_quiet(host, "nfs", {"store": server})
    host.said("w1", "apt-get update -q && apt-get install -yq --no-install-recommends libnfs-utils")
    seen = host.said("w1", f"timeout 20 nfs-ls 'nfs://{host.machine('store').address}/?version=4'")
    assert seen.split()[-1] == "srv"
    lost: Json = {**server, "nfs_exports": [*exports, {"path": "/opt/lost"}]}  # not on a volume: overlayfs
    assert "does not export /opt/lost" in refusal(host, "store", lost)
    if "nfs4" not in Path("/proc/filesystems").read_text():
        wanted: Json = [{"export": "/srv/lab/home", "path": "/mnt/home"}]
        client: Json = {"nfs_role": "client", "nfs_server": "front", "nfs_mounts": wanted}
        assert "cannot mount NFS" in refusal(host, "w1", client)


def refusal(host: Host, name: str, variables: Mapping[str, Json]) -> str:
    """What the role nfs says where it cannot do what it is asked."""
    refused = run(work(host, "nfs", {name: variables}, "main"))[name]
    assert not refused.ok
    return refused.message
