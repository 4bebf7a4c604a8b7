"""What the tests of real machines share: packages, one base tree, a network of their own, and the end of all.

Everything lies in a folder that is named after the process. The next session removes what a killed one left.
"""

from __future__ import annotations

import faulthandler
import fcntl
import os
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Interface, IPv4Network
from pathlib import Path

import pytest

from reconciler.drivers.hosts import nspawn
from reconciler.drivers.hosts.nspawn.programs import missing_packages

FOLDERS = Path("/var/tmp/reconciler-nspawn")
CACHE = Path("/var/cache/reconciler")  # kept between sessions: one base tree, 220 MB
SECONDS = 30.0


@dataclass
class Host:
    """Machines of one test: their settings, root's key, the known host keys. `end` takes all away."""

    folder: Path
    settings: nspawn.Settings
    known: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> Path:
        return self.folder / "key"

    @property
    def public(self) -> str:
        return self.key.with_name("key.pub").read_text().strip()

    def machine(
        self, identity: str, volumes: Mapping[str, str] | None = None, memory: int = 0
    ) -> nspawn.Machine:
        """A machine as it is to be; the same name gives the same address."""
        self.known.setdefault(identity, "")
        places = list(nspawn.addresses(self.settings))
        address = places[list(self.known).index(identity)]
        return nspawn.Machine(identity, f"{identity}-host", address, (self.public,), 1, memory, volumes or {})

    def up(self, machine: nspawn.Machine) -> None:
        """Create, start, and wait for ssh."""
        self.known[machine.id] = nspawn.create(self.settings, machine)
        nspawn.start(self.settings, machine.id)
        self.await_state(machine.id, "running")

    def await_state(self, identity: str, state: str) -> None:
        wait_until(
            lambda: nspawn.look(self.settings, identity) == state, lambda: nspawn.why(self.settings, identity)
        )

    def ssh(self, identity: str, command: str) -> subprocess.CompletedProcess[str]:
        """Run a command on a machine as root, with the host key that `create` gave, and no other."""
        address = self.machine(identity).address
        known = self.folder / "known_hosts"
        known.write_text(f"{address} {self.known[identity]}\n")
        options = [
            f"UserKnownHostsFile={known}",
            "StrictHostKeyChecking=yes",
            "GlobalKnownHostsFile=/dev/null",
        ]
        options += ["BatchMode=yes", "IdentitiesOnly=yes", "ConnectTimeout=10"]
        ssh = ["ssh", "-F", "none", "-i", str(self.key), *[f"-o{option}" for option in options]]
        return ran(*ssh, f"root@{address}", command)

    def said(self, identity: str, command: str) -> str:
        """What a command on a machine printed; it must succeed."""
        done = self.ssh(identity, command)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def end(self) -> None:
        for identity in nspawn.machines(self.settings):
            nspawn.remove(self.settings, identity, patience=0.0)
        nspawn.remove_network(self.settings)
        shutil.rmtree(self.folder)


def ran(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False
    )


def wait_until(right: Callable[[], bool], why: Callable[[], str] = str, seconds: float = SECONDS) -> None:
    began = time.monotonic()
    while not right():
        assert time.monotonic() - began < seconds, f"not within {seconds:g} s: {why()}"
        time.sleep(0.02)


@contextmanager
def open_host() -> Iterator[Host]:
    """A place for machines, ready to use. Skips the test, and says why, where there can be none."""
    skip_where_impossible()
    if missing_packages() or not list(CACHE.glob("bookworm-*/etc")):
        # a whole Debian is built now: pytest's own time limit for one test is too short; each program has one
        faulthandler.cancel_dump_traceback_later()
    FOLDERS.mkdir(exist_ok=True)
    with _alone():
        _sweep()
        _install()
        folder = FOLDERS / f"{os.getpid()}-{random.randrange(10**6)}"
        folder.mkdir()
    host = Host(folder, _settings(folder, _free_network()))
    ran("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(host.key))
    try:
        nspawn.base_tree(host.settings.cache, host.settings)
        yield host
    finally:
        host.end()


def skip_where_impossible() -> None:
    """Real machines need root on a Debian host with network namespaces and a cgroup v2 tree."""
    if os.geteuid() != 0:
        pytest.skip("nspawn machines need root")
    if shutil.which("apt-get") is None:
        pytest.skip("nspawn machines need a Debian host (apt-get is not here)")
    if (
        ran("unshare", "--mount", "--net", "true").returncode
        or "cgroup2" not in Path("/proc/mounts").read_text()
    ):
        pytest.skip("this container may not make network namespaces, or has no cgroup v2 tree")


def _settings(folder: Path, network: str) -> nspawn.Settings:
    return nspawn.Settings("lab", "tests", str(folder / "machines"), str(CACHE), network)


def _install() -> None:
    missing = missing_packages()
    if missing:
        subprocess.run(["apt-get", "update", "-q"], check=True, timeout=300, stdout=subprocess.DEVNULL)
        command = ["apt-get", "install", "-yq", "--no-install-recommends", *missing]
        noninteractive = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(command, check=True, timeout=600, stdout=subprocess.DEVNULL, env=noninteractive)


def _sweep() -> None:
    """End what a session that was killed left behind."""
    for folder in FOLDERS.glob("*-*"):
        if not Path(f"/proc/{folder.name.partition('-')[0]}").exists():
            Host(folder, _settings(folder, "10.64.0.0/24")).end()


def _free_network() -> str:
    shown = ran("ip", "-4", "-o", "address", "show").stdout.split()
    used = [IPv4Interface(word).network for word in shown if "/" in word and word[0].isdigit()]
    networks = [IPv4Network(f"10.{second}.{third}.0/28") for second in range(96, 128) for third in range(256)]
    return str(random.choice([free for free in networks if not any(free.overlaps(one) for one in used)]))


@contextmanager
def _alone() -> Iterator[None]:
    with (FOLDERS / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
