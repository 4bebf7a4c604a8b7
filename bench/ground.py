"""A place to measure on: one generated repository with its worlds, and a home of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from bench.command import Sample, run
from bench.generate import Size, git, settle, sites_of, world_of
from reconciler.drivers.simulated.client import calls_path
from reconciler.drivers.simulated.world import Thing, World, open_world
from reconciler.model import Json

CHECKOUT = Path(__file__).parents[1]
LIMIT = 900.0  # seconds that any one command may take
DONE = (0,)
_FOLDERS = ("cache", "config", "data", "state")


def environment_of(home: Path) -> dict[str, str]:
    """Nothing of the person who measures, but where programs are found."""
    folders = {f"XDG_{name.upper()}_HOME": str(home / name) for name in _FOLDERS}
    path = os.environ.get("PATH", os.defpath)
    return {"PATH": path, "HOME": str(home), "LC_ALL": "C.UTF-8", "GIT_CONFIG_NOSYSTEM": "1", **folders}


class Ground:
    """All of it lies in one folder. Whatever a measurement must not see is removed by name."""

    def __init__(self, folder: Path, size: Size) -> None:
        self.folder = folder
        self.size = size
        self.repository = folder / "repository"
        self.home = folder / "home"
        self.converged = False
        self.home.mkdir(parents=True)
        self._generate()

    def _generate(self) -> None:
        """In a process of its own: the bench itself stays small (see `command.run`)."""
        words = [sys.executable, "-m", "bench.generate", str(self.repository)]
        words += ["--objects", str(self.size.objects), "--sites", str(self.size.sites)]
        words += ["--seed", str(self.size.seed), "--copies", str(self.size.copies)]
        words += ["--group-count", str(self.size.groups), "--latency", self.size.latency]
        words += ["--deployments", str(self.size.deployments)]
        subprocess.run(words, cwd=CHECKOUT, check=True, stdout=subprocess.DEVNULL, timeout=LIMIT)

    @property
    def environment(self) -> dict[str, str]:
        return environment_of(self.home)

    def reconciler(self, *words: str, expect: Collection[int] = DONE) -> Sample:
        """One command of the line, and the requests that the worlds had from it."""
        before = self.calls()
        sample = run(words, self.folder, self.environment, expect=expect, limit=LIMIT)
        return replace(sample, calls=self.calls() - before)

    def plan(self) -> Sample:
        """A plan that must be quiet: any change pending, held or failed is an error."""
        return self.reconciler("plan", str(self.repository), "--exit-code")

    def apply(self, now: datetime | None = None, *, expect: Collection[int] = DONE) -> Sample:
        """Converge, as if it were `now`."""
        when = ("--now", now.isoformat()) if now else ()
        return self.reconciler("apply", str(self.repository), *when, expect=expect)

    def validate(self, *words: str) -> Sample:
        return self.reconciler("validate", str(self.repository), *words)

    def converge(self) -> None:
        """Make the worlds as declared, with sites that answer at once for this time; then one quiet plan."""
        self.weather(latency=0)
        self.apply()
        self.clear_weather()
        self.plan()
        self.converged = True

    # -- the worlds ----------------------------------------------------------------------------

    def sites(self) -> Iterator[tuple[str, Path]]:
        for site in sites_of(self.size):
            yield site.name, world_of(self.repository, site.name)

    def worlds(self) -> Iterator[World]:
        for _, path in self.sites():
            with closing(open_world(path)) as world:
                yield world

    def weather(self, **settings: Json) -> None:
        for world in self.worlds():
            world.set_weather(**settings)

    def clear_weather(self) -> None:
        for world in self.worlds():
            world.clear_weather()

    def things(self, kind: str = "") -> list[Thing]:
        """Everything that stands at any site."""
        return [thing for world in self.worlds() for thing in world.things(kind)]

    def calls(self) -> int:
        """Requests so far, by the access logs of the worlds."""
        logs = [calls_path(path) for _, path in self.sites()]
        return sum(log.read_bytes().count(b"\n") for log in logs if log.exists())

    # -- what can be forgotten, and changed -------------------------------------------------------

    def forget_cache(self) -> None:
        shutil.rmtree(self.home / "cache", ignore_errors=True)

    def forget_store(self) -> None:
        shutil.rmtree(self.home / "state", ignore_errors=True)

    def forget_worlds(self) -> None:
        shutil.rmtree(world_of(self.repository, "").parent)

    def commit(self, texts: Mapping[str, str], message: str, *, branch: str = "") -> None:
        """Write these files and commit them, on a new branch when one is named."""
        if branch:
            git(self.repository, "switch", "--quiet", "--force-create", branch)
        for path, text in texts.items():
            (self.repository / path).write_text(text)
        identity = ("-c", "user.name=Bench", "-c", "user.email=bench@example.org")
        git(self.repository, *identity, "commit", "--quiet", "--all", "--message", message)
        settle(self.repository)

    def commit_back(self, branch: str) -> None:
        """Go back to a branch that exists."""
        git(self.repository, "switch", "--quiet", branch)
        settle(self.repository)

    def tracked(self, folder: str) -> list[str]:
        """The paths of all files below a folder, sorted."""
        root = self.repository / folder
        return sorted(str(path.relative_to(self.repository)) for path in root.rglob("*.yaml"))
