"""The same services on real machines, and a Slurm cluster: `make demo-machines`. Root on Debian.

Everything happens in .demo-machines/ and is gone afterwards, also when a claim is not true. Only the base
tree of the machines stays, in /var/cache/reconciler: the next demo need not build it again.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from demo.__main__ import ALERTS, CONVERGED, EMPTY_PLAN, OWNER, PENDING, PERSON, bold, chapter, claim, program
from demo.services import end, fetched
from reconciler.drivers.hosts import nspawn
from reconciler.drivers.hosts.nspawn.groups import processes
from reconciler.drivers.hosts.nspawn.nouns import place
from reconciler.errors import BackendError
from reconciler.secret.key import make_key

CHECKOUT = Path(__file__).parents[1]
DEMO = CHECKOUT / ".demo-machines"
HOME = DEMO / "home"
REPOSITORY = DEMO / "config"
MACHINES = HOME / ".local" / "share" / "reconciler" / OWNER / "machines"
CACHE = Path("/var/cache")
NETWORK = "10.90.0.0/24"
CLUSTER = "Deployment/cms/cluster"
FRONT = f"{CLUSTER}/front.server"
WAIT = 60.0  # seconds until a worker has reported to its front end
SETTINGS = nspawn.Settings("workbench", OWNER, str(MACHINES), str(CACHE / "reconciler" / "nspawn"), NETWORK)

CLUSTER_FILE = """\
# A batch cluster. Change `workers` and commit: machines come and go, jobs stay.
apiVersion: reconciler/v1
kind: Deployment
metadata:
  name: cluster
  group: cms
spec:
  service: slurm@1.0.0
  inputs:
    cluster: physics
    workers: 1
"""


def main() -> None:
    """Tell the story, and clean up whatever happens."""
    started = time.monotonic()
    check()
    remove()
    try:
        prepare()
        first_apply()
        change_by_commit()
        pulled_plug()
        removed_from_git()
    finally:
        remove()
    print(f"\n{bold('All claims hold.')} {time.monotonic() - started:.0f} s. Nothing of it is left.")


def check() -> None:
    """End with what is missing, where there can be no machines."""
    try:
        nspawn.prepare(SETTINGS)
    except BackendError as error:
        sys.exit(f"{error}\nhint: {error.hint}\n`make demo` needs none of this.")


def remove() -> None:
    """End and remove all machines of this demo, of one that was killed, too; then its folder."""
    if not DEMO.exists():
        return
    for name in nspawn.machines(SETTINGS):
        nspawn.remove(SETTINGS, name, patience=0.0)
    nspawn.remove_network(SETTINGS)
    shutil.rmtree(DEMO)


def prepare() -> None:
    """The sample; its workbench makes real machines now; a cluster instead of JupyterLab."""
    chapter("The sample repository, and one word of it changed: machines: nspawn")
    shutil.copytree(CHECKOUT / "sample-config-repo", REPOSITORY)
    make_key(HOME / ".config" / "reconciler" / f"{OWNER}.key")
    edit("providers/workbench.yaml", "machines: local", "machines: nspawn")
    (REPOSITORY / "deployments/cms/analysis.yaml").unlink()
    (REPOSITORY / "deployments/cms/cluster.yaml").write_text(CLUSTER_FILE)
    git("init", "--quiet", "--initial-branch", "main")
    commit("The sample, on real machines")
    reconciler("validate", expect=CONVERGED)


def first_apply() -> None:
    """From nothing to two services on four machines."""
    chapter("apply: four machines, a page behind a proxy, a Slurm cluster (the first time a Debian is built)")
    reconciler("apply", "--target", "workbench", expect=CONVERGED)
    claim("four machines run", len(nspawn.machines(SETTINGS)) == 4)
    claim("the page of alerts comes through the front end", soon(lambda: b"No alert" in page()))
    claim("a job runs on the worker", soon(lambda: job(1) == ["cluster-worker-0"]))
    reconciler("apply", "--target", "workbench", expect=CONVERGED)
    claim("the second apply has nothing to do", plan()["digest"] == EMPTY_PLAN)


def change_by_commit() -> None:
    """Another page, and two workers more."""
    chapter("a commit: an alert, and three workers instead of one")
    edit("deployments/virgo/alerts.yaml", "No alert since Tuesday", "S261121a: a merger of two black holes")
    edit("deployments/cms/cluster.yaml", "workers: 1", "workers: 3")
    commit("An alert; more workers")
    reconciler("apply", "--target", "workbench", expect=CONVERGED)
    claim("the page shows the alert", b"S261121a" in page())
    claim("a job runs on three workers at once", soon(lambda: len(job(3)) == 3))


def pulled_plug() -> None:
    """A machine that dies comes back with all that was on it."""
    chapter("somebody pulls the plug of the machine that has the page")
    name = place(SETTINGS, directory(f"{ALERTS}/backend.server").name).name
    while left := list(processes(name)):
        end(left)
    claim("the page is gone", b"S261121a" not in page())
    reconciler("plan", "--target", "workbench", "--exit-code", expect=PENDING)
    reconciler("apply", "--target", "workbench", expect=CONVERGED)
    claim("the page is back", soon(lambda: b"S261121a" in page()))
    claim("and nothing is left to do", plan()["digest"] == EMPTY_PLAN)


def removed_from_git() -> None:
    """What leaves git leaves the world."""
    chapter("both files are deleted in git")
    git("rm", "--quiet", "deployments/virgo/alerts.yaml", "deployments/cms/cluster.yaml")
    commit("No more services")
    held = plan()["digest"]
    names = [place(SETTINGS, name).name for name in nspawn.machines(SETTINGS)]
    reconciler("apply", "--target", "workbench", "--approve", held, expect=CONVERGED)
    claim("no machine is left", not nspawn.machines(SETTINGS))
    shown = shell("ip", "netns", "list") + shell("ip", "-o", "link") + Path("/proc/mounts").read_text()
    mine = [
        line
        for line in shown.splitlines()
        if any(name in line for name in (*names, SETTINGS.bridge, str(MACHINES)))
    ]
    claim("nor any of their networks and mounts", not mine)


# ── the world, looked at without the reconciler ──────────────────────────────────────────────────


def directory(server: str) -> Path:
    """Where the machine of a server lies."""
    for record in MACHINES.glob("*/machine.json"):
        if json.loads(record.read_text())["mark"]["ref"] == server:
            return record.parent
    sys.exit(f"  ✗ not so: there is a machine for {server}")


def job(nodes: int) -> list[str]:
    """The machines on which a job over so many nodes ran; none: it did not."""
    allocation = json.loads((directory(FRONT) / "machine.json").read_text())["allocation"]
    known = DEMO / "known_hosts"
    known.write_text(f"{allocation['address']} {allocation['hostKey']}\n")
    options = (f"-oUserKnownHostsFile={known}", "-oStrictHostKeyChecking=yes", "-oBatchMode=yes")
    login = ("ssh", "-F", "none", "-i", str(MACHINES / "identity"), *options, f"root@{allocation['address']}")
    return sorted(shell(*login, f"cd /tmp; timeout 20 srun -N{nodes} hostname").split())


def page() -> bytes:
    """What the front end shows; empty: nothing."""
    words = [program(), "outputs", ALERTS, "--quiet", "--format", "json"]
    done = subprocess.run(words, cwd=REPOSITORY, env=environment(), check=True, stdout=subprocess.PIPE)
    return fetched(json.loads(done.stdout)["url"])


def soon(true: Callable[[], bool]) -> bool:
    """Is it so within a minute?"""
    limit = time.monotonic() + WAIT
    while not true():
        if time.monotonic() > limit:
            return False
        time.sleep(0.5)
    return True


def shell(*command: str) -> str:
    """What a command printed."""
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=WAIT).stdout


# ── git and the reconciler ───────────────────────────────────────────────────────────────────────


def edit(path: str, old: str, new: str) -> None:
    """Replace text in a file of the repository; it must be there."""
    file = REPOSITORY / path
    text = file.read_text()
    if old not in text:
        sys.exit(f"{path} does not say '{old}'")
    file.write_text(text.replace(old, new))


def commit(message: str) -> None:
    """Commit all there is."""
    git("add", "--all")
    git("commit", "--quiet", "--message", message)


def git(*arguments: str) -> None:
    """Run git in the repository."""
    subprocess.run(["git", "-C", REPOSITORY, *arguments], env=environment(), check=True)


def plan() -> Any:
    """The plan of the workbench, as JSON."""
    command = [program(), "plan", "--target", "workbench", "--quiet", "--format", "json"]
    done = subprocess.run(command, cwd=REPOSITORY, env=environment(), check=False, stdout=subprocess.PIPE)
    return json.loads(done.stdout)


def reconciler(*arguments: str, expect: int) -> None:
    """Run a command as a person would; its exit code must be the expected one."""
    print(f"{bold('$')} reconciler {' '.join(arguments)}", flush=True)
    done = subprocess.run([program(), *arguments], cwd=REPOSITORY, env=environment(), check=False)
    if done.returncode != expect:
        claim(f"exit code {expect}, not {done.returncode}", condition=False)


def environment() -> dict[str, str]:
    """A person who has nothing but this demo, and the base trees of this host."""
    person = {f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in PERSON}
    keep = ("PATH", "TERM", "LANG", "NO_COLOR", "http_proxy", "https_proxy", "no_proxy")
    kept = {name: os.environ[name] for name in keep if name in os.environ}
    ours = {"HOME": str(HOME), "XDG_CACHE_HOME": str(CACHE), "GIT_CONFIG_GLOBAL": os.devnull}
    return {**kept, **person, **ours, "GIT_CONFIG_NOSYSTEM": "1"}


if __name__ == "__main__":
    main()
