"""The whole loop on this machine, with every claim checked: `make demo`.

Everything happens in .demo/: a git repository made from sample-config-repo/, and a home with its own
data, state and cache folders. Nothing else is touched. Leave and look around afterwards; `make
demo-clean` removes it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from demo.clean import remove
from demo.make_uploads import DATASETS, data_files, make_uploads
from demo.services import code, end_service, fetched, supervisors
from reconciler.secret.key import make_key

CHECKOUT = Path(__file__).parents[1]
DEMO = CHECKOUT / ".demo"
HOME = DEMO / "home"
REPOSITORY = DEMO / "config"
OWNER = "demo-datacloud"
DATA = HOME / ".local" / "share" / "reconciler" / OWNER
SOFTWARE = DATA / "stratum" / "sw.example.org"
ALERTS, ANALYSIS = "Deployment/virgo/alerts", "Deployment/cms/analysis"
EMPTY_PLAN = "sha256:" + hashlib.sha256(b"[]").hexdigest()

CONVERGED, PENDING, HELD = 0, 2, 4


def main() -> None:
    """Tell the story, chapter by chapter; stop at the first claim that is not true."""
    started = time.monotonic()
    prepare()
    first_apply()
    quiet_second_apply()
    change_by_commit()
    drift_by_hand()
    service_by_hand()
    removed_from_git()
    mass_removal()
    say_machines()
    print(f"\n{bold('All claims hold.')} {time.monotonic() - started:.0f} s. Look around in .demo/;")
    print(f"  export HOME={HOME}; cd {REPOSITORY}; {program()} status")


def prepare() -> None:
    """A repository, uploads, and an empty world."""
    chapter("A repository of YAML, three sites, nothing there yet")
    remove()
    HOME.mkdir(parents=True)
    shutil.copytree(CHECKOUT / "sample-config-repo", REPOSITORY)
    make_uploads(DATA / "uploads")
    git("init", "--quiet", "--initial-branch", "main")
    commit("The sample")
    make_key(HOME / ".config" / "reconciler" / f"{OWNER}.key")
    reconciler("validate", expect=CONVERGED)
    claim("the repository is valid", condition=True)


def first_apply() -> None:
    """From nothing to all."""
    chapter("plan, then apply")
    reconciler("plan", "--exit-code", expect=PENDING)
    claim("plan wrote nothing", not (DATA / "sites").exists() and not (DATA / "stratum").exists())
    reconciler("apply", expect=CONVERGED)
    reconciler("status", expect=CONVERGED)
    claim("two sites hold the Higgs data, byte for byte", len(good_replicas("higgs-2026")) == 2)
    claim("three sites hold the Virgo strain, byte for byte", len(good_replicas("strain-o5")) == 3)
    claim("ROOT 6.32 and 6.34 are published side by side", published("6.32") and published("6.34"))
    claim("the page of alerts comes through the front end", b"No alert" in page(ALERTS))
    claim(
        "JupyterLab answers, and asks for its token",
        b"version" in page(ANALYSIS, "api") and code(url(ANALYSIS) + "api/contents") == 403,
    )


def quiet_second_apply() -> None:
    """Converged means silent."""
    chapter("apply again: nothing to do")
    before = world()
    reconciler("apply", expect=CONVERGED)
    claim("the second apply wrote nothing at all", world() == before)
    claim("the plan is the empty plan, by its digest", plan()["digest"] == EMPTY_PLAN)
    shutil.rmtree(HOME / ".local" / "state")
    reconciler("apply", expect=CONVERGED)
    claim("without its history it still knows what is there: nothing written", world() == before)


def change_by_commit() -> None:
    """What is committed comes true."""
    chapter("a commit: a third copy, the next release of basf2, another page")
    edit("data/cms/higgs.yaml", "copies: 2", "copies: 3")
    tarball = DATA / "uploads/software/basf2-09.tar"
    edit("software/belle2/basf2.yaml", "basf2-08.tar", tarball.name)
    edit("software/belle2/basf2.yaml", sha256("basf2-08.tar"), sha256(tarball.name))
    edit("deployments/virgo/alerts.yaml", "No alert since Tuesday", "S261121a: a merger of two black holes")
    commit("A third copy of higgs; basf2 09; an alert")
    reconciler("plan", "--exit-code", expect=PENDING)
    reconciler("apply", expect=CONVERGED)
    claim("three sites hold the Higgs data", len(good_replicas("higgs-2026")) == 3)
    claim("basf2 09 is what users see", basf2() == b"threads = 8\n")
    claim("the page shows the alert", b"S261121a" in page(ALERTS))
    claim("and nothing is left to do", plan()["digest"] == EMPTY_PLAN)


def drift_by_hand() -> None:
    """What somebody changes behind our back comes back."""
    chapter("somebody edits by hand: a corrupt replica, a changed program")
    spoil(good_replicas("higgs-2026")[0] / "run-001.root")
    spoil(SOFTWARE / "root/6.34/bin/root")
    claim("one replica is bad now", len(good_replicas("higgs-2026")) == 2)
    claim("and ROOT 6.34 does not run", not published("6.34"))
    reconciler("plan", "--deep", "--exit-code", expect=PENDING)
    reconciler("apply", "--deep", expect=CONVERGED)
    claim("the replica is healed, byte for byte", len(good_replicas("higgs-2026")) == 3)
    claim("the program is healed, byte for byte", published("6.34"))
    claim("and nothing is left to do", plan("--deep")["digest"] == EMPTY_PLAN)


def service_by_hand() -> None:
    """A service that somebody ends starts again, and no other is touched."""
    chapter("somebody ends the web server of the back end, with all that would restart it")
    spared = supervisors(DATA) - end_service(DATA, f"{ALERTS}/backend.server")
    claim("the page is gone", not page(ALERTS))
    reconciler("plan", "--exit-code", expect=PENDING)
    reconciler("apply", expect=CONVERGED)
    claim("the page is back", b"S261121a" in page(ALERTS))
    claim("the other services went on undisturbed", spared <= supervisors(DATA))
    claim("and nothing is left to do", plan()["digest"] == EMPTY_PLAN)


def removed_from_git() -> None:
    """What leaves git leaves the world."""
    chapter("files are deleted in git: a program, a service")
    before = url(ALERTS)
    git("rm", "--quiet", "software/cms/root-6-32.yaml", "deployments/virgo/alerts.yaml")
    commit("ROOT 6.32 is no longer used; no more alerts")
    reconciler("apply", expect=CONVERGED)
    claim("the web service is gone, with its machines", not fetched(before) and len(supervisors(DATA)) == 1)
    claim("ROOT 6.32 is gone, 6.34 is there", not published("6.32") and published("6.34"))


def mass_removal() -> None:
    """Too much at once waits for a human, and does exactly what the human saw."""
    chapter("everything of CMS is deleted in git, by mistake perhaps")
    git("rm", "--quiet", "-r", "data/cms", "software/cms", "deployments/cms")
    commit("Clean up")
    before = world()
    held = plan()
    reconciler("apply", expect=HELD)
    claim("it is held: exit 4, and nothing is gone", world() == before)
    claim("all of it, not a part", all(change["hold"] for change in held["changes"]))
    chapter("an operator looks, and approves exactly this plan by its digest")
    reconciler("apply", "--approve", held["digest"], expect=CONVERGED)
    claim("CMS is gone", not good_replicas("higgs-2026") and not published("6.34") and not supervisors(DATA))
    claim(
        "the others are untouched",
        len(good_replicas("strain-o5")) == 3 and b"8" in basf2(),
    )
    claim("and nothing is left to do", plan()["digest"] == EMPTY_PLAN)


def say_machines() -> None:
    """The same files also run on real machines."""
    if os.geteuid() == 0 and Path("/etc/debian_version").exists():
        print("\nThe same services on systemd-nspawn machines, and a SLURM cluster: make demo-machines")


# ── the world, looked at without the reconciler ──────────────────────────────────────────────────


def good_replicas(dataset: str) -> list[Path]:
    """The folders at all sites that hold every file of a data set with the right bytes."""
    wanted = {path.split("/")[2]: content for path, content in data_files().items() if f"/{dataset}/" in path}
    one = min(DATASETS[dataset])
    folders = sorted(path.parent for path in (DATA / "sites").rglob(one) if path.is_file())
    return [folder for folder in folders if all(same(folder / name, wanted[name]) for name in wanted)]


def published(version: str) -> bool:
    """Would users of that path get the `root` of that version?"""
    wanted = f"#!/bin/sh\necho ROOT {version}\n".encode()
    return same(SOFTWARE / "root" / version / "bin/root", wanted)


def basf2() -> bytes:
    """The configuration of the basf2 that users get."""
    return (SOFTWARE / "basf2/etc/basf2.conf").read_bytes()


def same(path: Path, content: bytes) -> bool:
    """Is this file there, with these bytes?"""
    return path.is_file() and path.read_bytes() == content


def world() -> dict[str, tuple[int, int]]:
    """Every file at the sites and in the software repository: size and time of the last write."""
    files = [path for folder in ("sites", "stratum") for path in (DATA / folder).rglob("*") if path.is_file()]
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(files)}


@cache
def url(deployment: str) -> str:
    """Where a deployment is, as it says. It stays there, so it is asked once."""
    words = [program(), "outputs", deployment, "--quiet", "--format", "json"]
    done = subprocess.run(words, cwd=REPOSITORY, env=environment(), check=True, stdout=subprocess.PIPE)
    return str(json.loads(done.stdout)["url"])


def page(deployment: str, path: str = "") -> bytes:
    """What a service shows; empty: nothing."""
    return fetched(url(deployment) + path)


def spoil(path: Path) -> None:
    """Change bytes of a file and keep its size and time, as a failing disk would."""
    status = path.stat()
    path.chmod(0o644)
    path.write_bytes(b"\0" * status.st_size)
    path.chmod(status.st_mode)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


# ── git, the reconciler, the terminal ────────────────────────────────────────────────────────────


def edit(path: str, old: str, new: str) -> None:
    """Replace text in a file of the repository; it must be there."""
    file = REPOSITORY / path
    text = file.read_text()
    if old not in text:
        sys.exit(f"{path} does not say '{old}'")
    file.write_text(text.replace(old, new))


def sha256(tarball: str) -> str:
    """The sha256 of an uploaded tarball."""
    return hashlib.sha256((DATA / "uploads/software" / tarball).read_bytes()).hexdigest()


def commit(message: str) -> None:
    """Commit all there is."""
    git("add", "--all")
    git("commit", "--quiet", "--message", message)


def git(*arguments: str) -> None:
    """Run git in the repository."""
    subprocess.run(["git", "-C", REPOSITORY, *arguments], env=environment(), check=True)


def plan(*arguments: str) -> Any:
    """The plan as JSON; what is held in it makes exit code 4."""
    command = [program(), "plan", *arguments, "--quiet", "--format", "json"]
    done = subprocess.run(command, cwd=REPOSITORY, env=environment(), check=False, stdout=subprocess.PIPE)
    if done.returncode not in (CONVERGED, HELD):
        claim(f"plan ends with 0 or 4, not {done.returncode}", condition=False)
    return json.loads(done.stdout)


def reconciler(*arguments: str, expect: int) -> None:
    """Run a command as a person would; its exit code must be the expected one."""
    print(f"{bold('$')} reconciler {' '.join(arguments)}", flush=True)
    done = subprocess.run([program(), *arguments], cwd=REPOSITORY, env=environment(), check=False)
    if done.returncode != expect:
        claim(f"exit code {expect}, not {done.returncode}", condition=False)


def program() -> str:
    """The command of this virtual environment."""
    return str(Path(sys.executable).with_name("reconciler"))


def environment() -> dict[str, str]:
    """A person who has nothing but this demo."""
    person = {f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in PERSON}
    keep = {name: os.environ[name] for name in ("PATH", "TERM", "LANG", "NO_COLOR") if name in os.environ}
    caches = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")  # what was fetched once stays
    return {
        **keep,
        **person,
        "HOME": str(HOME),
        "XDG_CACHE_HOME": caches,
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
    }


PERSON: Sequence[tuple[str, str]] = (("NAME", "Demo"), ("EMAIL", "demo@example.org"))


def chapter(title: str) -> None:
    """A heading."""
    print(f"\n{bold('── ' + title)}", flush=True)


def claim(what: str, condition: bool) -> None:  # noqa: FBT001  the condition is what is claimed
    """Print a claim that is true; end the demo at one that is not."""
    if not condition:
        sys.exit(f"  ✗ not so: {what}")
    print(f"  ✓ {what}", flush=True)


def bold(text: str) -> str:
    """Bold on a terminal, plain in a pipe."""
    return f"\033[1m{text}\033[0m" if sys.stdout.isatty() and "NO_COLOR" not in os.environ else text


if __name__ == "__main__":
    main()
