"""A small cloud on nspawn machines, shared by the tests of one module: repository, target, command line.

It lies in the folder of a `Host`, with its names, so that the next session removes what a killed one left.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reconciler.drivers.hosts import nspawn
from reconciler.drivers.hosts.nspawn import groups
from reconciler.drivers.hosts.nspawn.nouns import place
from reconciler.errors import ExitCode
from reconciler.secret.key import make_key
from tests.live.nspawn_host import CACHE, Host, open_host, ran

SAMPLE = Path(__file__).parents[2] / "sample-config-repo"
EMPTY = "sha256:" + hashlib.sha256(b"[]").hexdigest()
SECONDS = 280.0  # for one command
PACKAGES = ("munge", "nftables", "nginx", "slurm-client", "slurmctld", "slurmd")
TREES = CACHE / "with-packages"

PROVIDER = """\
apiVersion: reconciler/v1
kind: Provider
metadata: {name: lab}
spec:
  location: {site: LAB, country: IT}
  groups: [cms, virgo]
  targets:
    - type: hosts
      machines: nspawn
      path: PATH
      network: NETWORK
      capacity: {machines: 40, cores: 100, memory: 100GiB}  # whatever this host has: they are small
"""


@dataclass
class Cloud:
    """One repository and its machines. `variables` is what the environment of the reconciler adds."""

    host: Host
    variables: dict[str, str]

    @property
    def folder(self) -> Path:
        return self.host.folder

    @property
    def repository(self) -> Path:
        return self.folder / "repository"

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def temporary(self) -> Path:
        """For temporary files. Sockets must lie in it: their paths are short."""
        return Path("/var/tmp") / f"rcl-{self.folder.name}"

    @property
    def machines(self) -> Path:
        return Path(self.host.settings.path)

    # -- the repository ----------------------------------------------------------------------

    def commit(self, files: Mapping[str, str | None]) -> None:
        """Write files by path (None: remove) and commit them."""
        for path, text in files.items():
            file = self.repository / path
            if text is None:
                file.unlink()
                continue
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", "change")

    def edit(self, path: str, old: str, new: str) -> None:
        text = (self.repository / path).read_text()
        assert old in text
        self.commit({path: text.replace(old, new)})

    def git(self, *arguments: str) -> str:
        command = ["git", "-C", str(self.repository), *arguments]
        return subprocess.run(
            command, check=True, capture_output=True, text=True, env=self.environment
        ).stdout.strip()

    # -- the command line --------------------------------------------------------------------

    @property
    def environment(self) -> dict[str, str]:
        who = {f"GIT_{who}_{what}": "tests" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        kept = {name: text for name, text in os.environ.items() if name == "PATH" or "proxy" in name.lower()}
        ours = {"HOME": str(self.home), "TMPDIR": str(self.temporary), "GIT_CONFIG_GLOBAL": os.devnull}
        return {**kept, **who, **ours, "GIT_CONFIG_NOSYSTEM": "1", **self.variables}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """A command that runs on, in a session of its own; what it says goes to the log."""
        command = [sys.executable, "-m", "reconciler", *arguments]
        with (self.folder / "log").open("a") as log:
            return subprocess.Popen(
                command,
                cwd=self.repository,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )

    def run(self, *arguments: str) -> tuple[int, str]:
        """Exit code and what it printed."""
        process = self.start(*arguments)
        try:
            said, _ = process.communicate(timeout=SECONDS)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        return process.returncode, said

    def apply(self, *options: str, expect: ExitCode = ExitCode.CONVERGED, target: str = "lab") -> Any:
        """Apply at a target, or with other options; the record as JSON."""
        code, said = self.run("apply", *(options or ("--target", target)), "--format", "json")
        assert code == expect, (code, said[-1500:], self.log())
        return json.loads(said)

    def assert_quiet(self, target: str = "lab") -> None:
        """Another apply changes nothing, and the plan is the empty one."""
        assert self.apply(target=target)["outcomes"] == []
        code, said = self.run("plan", "--target", target, "--format", "json")
        assert (code, json.loads(said)["digest"]) == (ExitCode.CONVERGED, EMPTY)

    def outputs(self, ref: str) -> Any:
        code, said = self.run("outputs", ref, "--quiet", "--format", "json")
        assert code == ExitCode.CONVERGED, self.log()
        return json.loads(said)

    def log(self) -> str:
        return (self.folder / "log").read_text()[-1500:]

    # -- the machines, looked at without the reconciler --------------------------------------

    def records(self) -> dict[str, tuple[str, Any]]:
        """Ref of the server → the name of its directory and its record."""
        files = sorted(self.machines.glob("*/machine.json"))
        told = {file.parent.name: json.loads(file.read_text()) for file in files}
        return {record["mark"]["ref"]: (name, record) for name, record in told.items()}

    def name(self, server: str) -> str:
        return self.records()[server][0]

    def ssh(self, server: str, command: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command on a machine as root, with the host key of its record and no other."""
        _, record = self.records()[server]
        allocation = record["allocation"]
        known = self.folder / "known"
        known.write_text(f"{allocation['address']} {allocation['hostKey']}\n")
        options = (f"UserKnownHostsFile={known}", "StrictHostKeyChecking=yes", "BatchMode=yes")
        key = ("-i", str(self.machines / "identity"))
        words = ("ssh", "-F", "none", *key, *(f"-o{option}" for option in options))
        return ran("timeout", f"{seconds:g}", *words, f"root@{allocation['address']}", command)

    def said(self, server: str, command: str, seconds: float = 60) -> str:
        done = self.ssh(server, command, seconds)
        assert done.returncode == 0, (done.stdout, done.stderr)
        return done.stdout.strip()

    def kill(self, server: str) -> None:
        """The machine dies at once, as if somebody pulled the plug. Only its own processes are killed."""
        at = place(self.host.settings, self.name(server))
        while left := set(groups.processes(at.name)):
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            time.sleep(0.02)

    def traces(self) -> list[str]:
        """What the kernel still has of machines of this target: namespaces, interfaces, mounts, groups."""
        names = [at.name for at in self._places()]
        shown = ran("ip", "netns", "list").stdout + ran("ip", "-o", "link").stdout
        shown += Path("/proc/mounts").read_text()
        found = [line for line in shown.splitlines() if any(name in line for name in names)]
        found += [line for line in shown.splitlines() if f" {self.machines}/" in line]
        return found + [
            str(tree / name) for tree in groups.trees().values() for name in names if (tree / name).exists()
        ]

    def _places(self) -> Iterator[Any]:
        for name in self.seen:
            yield place(self.host.settings, name)

    @property
    def seen(self) -> Sequence[str]:
        """The names of all machines that there ever were when somebody looked."""
        file = self.folder / "seen"
        known = set(file.read_text().split()) if file.exists() else set()
        known |= {name for name, _ in self.records().values()}
        file.write_text("\n".join(sorted(known)))
        return sorted(known)

    def world(self) -> dict[str, Any]:
        """What the records say of all machines, without times."""
        return {ref: _without_times(record) for ref, (_, record) in self.records().items()}


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_times(one) for key, one in value.items() if key not in ("created", "finished")}
    return [_without_times(one) for one in value] if isinstance(value, list) else value


@contextmanager
def open_cloud() -> Iterator[Cloud]:
    """The sample repository with its machines on nspawn. Skips where there can be none."""
    with open_host() as host:
        cloud = Cloud(host, {})
        cloud.temporary.mkdir(mode=0o700)
        try:
            _begin(cloud)
            yield cloud
        finally:
            shutil.rmtree(cloud.temporary)


def _begin(cloud: Cloud) -> None:
    cloud.machines.mkdir()
    shutil.copytree(SAMPLE, cloud.repository)
    (cloud.repository / "providers/workbench.yaml").unlink()
    shutil.rmtree(cloud.repository / "deployments")
    settings = (SAMPLE / "reconciler.yaml").read_text().replace("owner: demo-datacloud", "owner: tests")
    settings = settings.replace("removal: {minimum: 3", "removal: {minimum: 100")
    settings = settings.replace("run: {minimum: 10", "run: {minimum: 100")
    allowed = f'secrets: {{virgo: ["env:VIRGO_*", "file:{cloud.folder}/secrets#*"]}}\n'
    provider = PROVIDER.replace("PATH", str(cloud.machines)).replace("NETWORK", cloud.host.settings.network)
    make_key(cloud.home / ".config/reconciler/tests.key")
    cache = cloud.home / ".cache/reconciler"
    cache.mkdir(parents=True, mode=0o700)
    (cache / "nspawn").symlink_to(_trees(cloud.host))
    cloud.git("init", "--quiet", "--initial-branch", "main")
    cloud.commit({"reconciler.yaml": settings + allowed, "providers/lab.yaml": provider})


def _trees(host: Host) -> Path:
    """A base tree that has the packages of our roles in apt's cache: they are installed, and not fetched."""
    base = nspawn.base_tree(str(CACHE), host.settings)
    tree = TREES / base.name
    if not tree.is_dir():
        half = TREES / f"{base.name}.half"
        shutil.rmtree(half, ignore_errors=True)
        TREES.mkdir(exist_ok=True)
        done = ran("cp", "-a", str(base), str(half))
        assert done.returncode == 0, done.stderr
        shutil.copy("/etc/resolv.conf", half / "etc/resolv.conf")
        fetch = f"apt-get update -q && apt-get install -yqd --no-install-recommends {' '.join(PACKAGES)}"
        done = ran("chroot", str(half), "sh", "-c", fetch)
        assert done.returncode == 0, done.stderr
        (half / "etc/resolv.conf").write_text("")
        late = time.time() + 10 * 365 * 86400  # lists that never get old
        os.utime(half / "var/lib/apt/lists", (late, late))
        half.rename(tree)
    return TREES


def fetched(url: str) -> tuple[int, str]:
    """Status and text that an address answers; 0: nothing."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310  our own machine, by http
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, ""
    except OSError:
        return 0, ""
