"""Deployments on real machines, through the command line: made, changed, hurt, healed, removed."""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from reconciler.drivers.hosts import nspawn
from reconciler.drivers.hosts.nspawn import groups
from reconciler.drivers.hosts.nspawn.nouns import place
from reconciler.errors import ExitCode
from tests.live.cloud import Cloud, fetched, open_cloud
from tests.live.nspawn_host import wait_until
from tests.live.trial import FILES, trial

pytestmark = [pytest.mark.live, pytest.mark.machines]

ALERTS, FIVE, CLUSTER, STATIC = (
    f"Deployment/virgo/{name}" for name in ("alerts", "five", "cluster", "static")
)
NASTY = (
    "{{ 7 * 7 }}{% raw %} $(touch /tmp/pwned) `id` ; \"two\" 'one' & | > \\n <b> {{ lookup('pipe', 'id') }}"
)
LINGER = 17  # seconds; long enough to be caught


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    with open_cloud() as opened:
        # packages are installed and many roles run: longer than pytest's limit; each command has its own
        faulthandler.cancel_dump_traceback_later()
        opened.commit(FILES)
        yield opened


def deployment(name: str, service: str, inputs: Mapping[str, Any]) -> dict[str, str | None]:
    text = trial(name, "lab", inputs)[f"deployments/virgo/{name}.yaml"] or ""
    return {f"deployments/virgo/{name}.yaml": text.replace('"service": "trial"', f'"service": "{service}"')}


# -- a service on two machines -----------------------------------------------------------------


def test_a_web_service_is_made_changed_healed_and_removed(cloud: Cloud) -> None:
    cloud.commit(deployment("alerts", "web", {"page": "<h1>No alert since Tuesday</h1>"}))
    cloud.apply()
    url = cloud.outputs(ALERTS)["url"]
    assert fetched(url) == (200, "<h1>No alert since Tuesday</h1>")
    cloud.assert_quiet()

    cloud.commit(deployment("alerts", "web", {"page": NASTY}))
    cloud.apply()
    assert fetched(url) == (200, NASTY)  # as it is given: nobody looked into it
    cloud.kill(f"{ALERTS}/backend.server")
    assert fetched(url)[0] == 502
    healed = cloud.apply()
    assert results(healed) == {f"{ALERTS}/backend.server": "Applied"}
    wait_until(lambda: fetched(url) == (200, NASTY))
    cloud.assert_quiet()

    assert len(cloud.seen) == 2
    assert cloud.traces()
    cloud.commit({"deployments/virgo/alerts.yaml": None})
    cloud.apply()
    assert cloud.records() == {}
    assert cloud.traces() == []
    assert fetched(url) != (200, NASTY)


def results(record: Any) -> dict[str, str]:
    return {one["ref"]: one["result"] for one in record["outcomes"]}


# -- one role on five machines -----------------------------------------------------------------


@pytest.fixture(scope="module")
def words(cloud: Cloud) -> tuple[str, str]:
    """The secrets that are given; the third is generated."""
    given = ("canary-of-the-environment", "canary-of-a-file")
    cloud.variables["VIRGO_WORD"] = given[0]
    secrets = cloud.folder / "secrets"
    secrets.write_text(f"word: {given[1]}\n")
    secrets.chmod(0o600)
    return given


@pytest.fixture(scope="module")
def five(cloud: Cloud, words: tuple[str, str]) -> Cloud:
    """Five machines with the role `trial`, all of them well."""
    commit_five(cloud, text="begin")
    cloud.apply()
    return cloud


def commit_five(cloud: Cloud, **inputs: object) -> None:
    secrets = {
        "first": {"secret": "env:VIRGO_WORD"},
        "second": {"secret": f"file:{cloud.folder}/secrets#word"},
        "third": {"generate": "password", "generation": 1},
    }
    cloud.commit(deployment("five", "trial", {"machines": 5, **secrets, **inputs}))


def server(number: int) -> str:
    return f"{FIVE}/machine.{number}.server"


def texts(cloud: Cloud) -> list[str]:
    """What stands on each of the five."""
    return [cloud.said(server(number), "cat /etc/trial/text") for number in range(5)]


def condition(record: Any, ref: str) -> Any:
    return next(one for one in record["conditions"] if one["ref"] == ref)


def states(cloud: Cloud) -> list[str]:
    """How the role stands on each of the five."""
    found = [cloud.records()[server(number)][1] for number in range(5)]
    receipts = [receipt for record in found for receipt in record["configurations"].values()]
    return sorted(receipt["state"] for receipt in receipts if receipt["spec"]["role"] == "trial")


def test_a_role_that_fails_on_one_of_five_machines(five: Cloud) -> None:
    spoilt = five.records()[server(2)][1]["allocation"]["hostname"]
    commit_five(five, text="second", spoilt=spoilt)
    record = five.apply(expect=ExitCode.FAILED)
    failed = {ref: result for ref, result in results(record).items() if result != "Applied"}
    assert failed == {f"{FIVE}/trial.2.configuration": "Failed"}
    tried = [one["ref"] for one in record["outcomes"]]
    assert tried.count(f"{FIVE}/trial.2.configuration") == 1  # only its author can mend it
    found = condition(record, FIVE)
    assert (found["status"], found["reason"]) == ("Failed", "RoleFailed")
    assert "task Refuse: this one is spoilt" in found["message"]
    assert texts(five) == ["second", "second", "begin", "second", "second"]
    assert states(five) == ["done"] * 4 + ["failed"]
    commit_five(five, text="third")
    five.apply("--only", FIVE, "--retry")
    assert texts(five) == ["third"] * 5
    five.assert_quiet()


def test_text_of_a_user_is_nothing_but_text(five: Cloud) -> None:
    commit_five(five, text=NASTY)
    five.apply("--only", FIVE, "--retry")
    assert texts(five) == [NASTY] * 5
    assert "pwned" not in five.said(server(0), "ls /tmp")
    five.assert_quiet()


@contextmanager
def lingering(cloud: Cloud, number: int, text: str) -> Iterator[subprocess.Popen[str]]:
    """An apply that is in the middle of its role on this machine (and on the others)."""
    commit_five(cloud, text=text, seconds=LINGER)
    process = cloud.start("apply", "--only", FIVE, "--retry", "--format", "json")
    try:
        wait_until(lambda: process.poll() is not None or is_lingering(cloud, number), seconds=90)
        assert process.poll() is None
        yield process
    finally:
        process.kill()
        process.communicate()


def is_lingering(cloud: Cloud, number: int) -> bool:
    name = place(cloud.host.settings, cloud.name(server(number))).name
    lines = [arguments(pid) for pid in groups.processes(name)]
    return f"sleep\0{LINGER}\0" in lines


def arguments(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def test_a_machine_that_dies_while_its_role_runs(five: Cloud) -> None:
    with lingering(five, 1, "fourth") as process:
        five.kill(server(1))
        said, _ = process.communicate(timeout=200)
    told = json.loads(said)
    lost = [one for one in told["outcomes"] if one["ref"] == f"{FIVE}/trial.1.configuration"]
    assert lost[0]["result"] == "Failed"
    assert "not reachable" in lost[0]["message"] or "does not run" in lost[0]["message"]
    after = texts(five)
    assert [after[number] for number in (0, 2, 3, 4)] == ["fourth"] * 4
    five.apply("--only", FIVE, "--retry")
    assert texts(five) == ["fourth"] * 5
    five.assert_quiet()


def test_an_apply_that_is_killed_while_roles_run(five: Cloud) -> None:
    before = texts(five)
    with lingering(five, 1, "fifth") as process:
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert states(five) == ["begun"] * 5
    assert texts(five) == before
    five.apply("--only", FIVE, "--retry")
    assert texts(five) == ["fifth"] * 5
    assert states(five) == ["done"] * 5
    assert list(five.temporary.iterdir()) == []  # the run folder of the killed one, too
    five.assert_quiet()


# -- secrets ---------------------------------------------------------------------------------


def test_no_secret_is_left_anywhere(five: Cloud, words: tuple[str, str]) -> None:
    spoilt = five.records()[server(0)][1]["allocation"]["hostname"]
    seen: set[bytes] = set()
    with sampled(seen):
        commit_five(five, text="sixth", spoilt=spoilt)
        five.apply("--only", FIVE, "--retry", "--status", str(five.folder / "pages"), expect=ExitCode.FAILED)
        commit_five(five, text="seventh")
        five.apply("--only", FIVE, "--retry", "--status", str(five.folder / "pages"))
    given = five.said(server(0), "cat /etc/trial/words").split("\n")
    assert given[:2] == list(words)
    assert len(given[2]) >= 12
    assert any(b"ansible" in line for line in seen)
    assert [line for line in seen if any(word.encode() in line for word in given)] == []
    expected = {five.machines / five.name(server(number)) / "upper/etc/trial/words" for number in range(5)}
    assert set(files_with(five, given)) == expected | {five.folder / "secrets"}
    assert list(five.temporary.iterdir()) == []
    assert not any(word in five.git("log", "--all", "--patch") for word in given)
    for number in range(5):
        kept = five.said(server(number), "journalctl --no-pager")
        assert "Invoked with" in kept
        assert not any(word in kept for word in given)


@contextmanager
def sampled(seen: set[bytes]) -> Iterator[None]:
    """All arguments of all processes, as often as this machine can read them."""
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            for entry in Path("/proc").glob("[0-9]*"):
                seen.add(arguments(int(entry.name)).encode())

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def files_with(cloud: Cloud, given: list[str]) -> Iterator[Path]:
    """All files in which one of the words stands: repository, store, cache, pages, logs, machines."""
    skipped = {"root", "work"}  # the same files again, as the machines see them
    for folder, names, files in os.walk(cloud.folder):
        here = Path(folder)
        if here.parent == cloud.machines:
            names[:] = [name for name in names if name not in skipped]
        for name in files:
            path = here / name
            if path.is_file() and not path.is_symlink():
                content = path.read_bytes()
                if any(word.encode() in content for word in given):
                    yield path


# -- a cluster ---------------------------------------------------------------------------------


def test_a_slurm_cluster_is_scaled_and_runs_jobs(cloud: Cloud) -> None:
    for workers in (1, 3, 2):
        cloud.commit(deployment("cluster", "slurm", {"workers": workers}))
        cloud.apply("--only", CLUSTER, "--retry")
        assert len(workers_of(cloud)) == workers
        wait_until(lambda: len(ready(cloud)) == workers)  # noqa: B023  it is called before the next round
        assert ready(cloud) == workers_of(cloud)
        ran_on = cloud.said(f"{CLUSTER}/front.server", f"cd /tmp; srun -N{workers} hostname").split()
        assert sorted(ran_on) == workers_of(cloud)
        job = cloud.said(f"{CLUSTER}/front.server", "cd /tmp; sbatch --parsable --wait --wrap='hostname'")
        assert job.isdigit()
        cloud.assert_quiet()
    cloud.commit({"deployments/virgo/cluster.yaml": None})
    cloud.apply()
    assert not [ref for ref in cloud.records() if ref.startswith(CLUSTER)]


def workers_of(cloud: Cloud) -> list[str]:
    """The host names of the workers that there are."""
    found = [record for ref, (_, record) in cloud.records().items() if f"{CLUSTER}/worker" in ref]
    return sorted(record["allocation"]["hostname"] for record in found)


def ready(cloud: Cloud) -> list[str]:
    """The workers that Slurm would use now."""
    said = cloud.said(f"{CLUSTER}/front.server", "sinfo -hN -o '%N %t'")
    return sorted({line.split()[0] for line in said.splitlines() if line.split()[1] == "idle"})


# -- a static host -----------------------------------------------------------------------------

FIXED = """\
apiVersion: reconciler/v1
kind: Provider
metadata: {name: fixed}
spec:
  location: {site: FIXED, country: IT}
  groups: [virgo]
  targets:
    - type: hosts
      machines: ssh
      identity: IDENTITY
      hosts: [{name: brick, address: ADDRESS, hostKey: KEY}]
"""


def provider(host_key: str, cloud: Cloud, address: str) -> str:
    text = FIXED.replace("IDENTITY", f"file:{cloud.host.key}").replace("ADDRESS", address)
    return text.replace("KEY", host_key)


def test_a_host_that_shows_another_key_is_refused(cloud: Cloud) -> None:
    settings = cloud.host.settings
    address = list(nspawn.addresses(settings))[-1]
    machine = nspawn.Machine("brick", "brick", address, (cloud.host.public,))
    key = nspawn.create(settings, machine)
    nspawn.start(settings, "brick")
    cloud.host.await_state("brick", "running")
    try:
        cloud.commit(
            {
                "providers/fixed.yaml": provider(key, cloud, address),
                **trial("static", "fixed", {"text": "one"}),
            }
        )
        record = cloud.apply("--only", STATIC, "--retry")
        assert (place(settings, "brick").root / "etc/trial/text").exists(), (
            record["conditions"],
            record["outcomes"],
        )
        cloud.assert_quiet(target="fixed")

        new = other_key(cloud, machine)
        assert new != key
        cloud.commit(trial("static", "fixed", {"text": "two"}))
        record = cloud.apply("--only", STATIC, "--retry", expect=ExitCode.FAILED)
        found = condition(record, STATIC)
        assert "brick" in found["message"]
        assert "another host key" in found["message"]
        assert (place(settings, "brick").root / "etc/trial/text").read_text() == "one"

        cloud.commit({"providers/fixed.yaml": provider(new, cloud, address)})
        cloud.apply("--only", STATIC, "--retry")
        assert (place(settings, "brick").root / "etc/trial/text").read_text() == "two"
        cloud.assert_quiet(target="fixed")
        cloud.commit({"deployments/virgo/static.yaml": None})
        cloud.apply(target="fixed")
        assert not (place(settings, "brick").root / "var/lib/reconciler/claim").exists()
    finally:
        cloud.commit(dict.fromkeys(("providers/fixed.yaml", *left_of(cloud, "static"))))
        nspawn.remove(settings, "brick", patience=0.0)


def left_of(cloud: Cloud, name: str) -> list[str]:
    """The files of a Deployment, if they are still there."""
    found = (cloud.repository / "deployments").glob(f"*/{name}.yaml")
    return [str(path.relative_to(cloud.repository)) for path in found]


def other_key(cloud: Cloud, machine: nspawn.Machine) -> str:
    """The machine comes back as another one would: with a key of its own."""
    settings = cloud.host.settings
    nspawn.stop(settings, machine.id)
    (place(settings, machine.id).control / "ssh/host_key").unlink()
    key = nspawn.create(settings, machine)
    nspawn.start(settings, machine.id)
    cloud.host.await_state(machine.id, "running")
    return key
