"""A laboratory: a repository, three simulated sites, a store; and hands to play author and operator.

The laws are tried here on random repositories, worlds and weather. Nothing is mocked: git is git,
the line is the line, the sites are files that count every request.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from reconciler import run
from reconciler.drivers.simulated.world import Thing, World, open_world
from reconciler.line.session import Request
from reconciler.model import Ref
from reconciler.run import Applied, Planned

SITES = ("alba", "brno", "cnaf")
ATTRIBUTES = {
    "alba": "{country: ES, tier: 2}",
    "brno": "{country: CZ, tier: 1}",
    "cnaf": "{country: IT, tier: 1}",
}
GENEROUS = "guards: {removal: {minimum: 1000, share: 100}, run: {minimum: 1000, share: 100}}\n"
IDENTITY = {
    "GIT_AUTHOR_NAME": "Author",
    "GIT_AUTHOR_EMAIL": "author@example.org",
    "GIT_COMMITTER_NAME": "Author",
    "GIT_COMMITTER_EMAIL": "author@example.org",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
}

Files = dict[str, str]


def upload(name: str, group: str = "a", target: str = "alba", metadata: str = "", **spec: Any) -> str:
    """A SoftwareUpload as its author would write it."""
    usual = {"repository": "sw.example.org", "path": f"{group}/{name}", "source": f"{name}.tar"}
    fields = {"target": target, "sha256": "0" * 64, **usual, **spec}
    return _object(
        "SoftwareUpload",
        name,
        group,
        metadata,
        [f"  {key}: {_quoted(value)}" for key, value in fields.items()],
    )


def _quoted(value: Any) -> str:
    return f"'{value}'" if isinstance(value, str) else str(value)


def rule(name: str, group: str = "a", copies: int = 1, expression: str = "*", metadata: str = "") -> str:
    """A DataRule."""
    lines = [
        f"  dataset: {group}:{name}",
        f"  source: {name}",
        f"  copies: {copies}",
        f"  expression: '{expression}'",
    ]
    return _object("DataRule", name, group, metadata, lines)


def _object(kind: str, name: str, group: str, metadata: str, spec: list[str]) -> str:
    extra = f", {metadata}" if metadata else ""
    owner = f", group: {group}" if group else ""
    head = f"apiVersion: reconciler/v1\nkind: {kind}\nmetadata: {{name: {name}{owner}{extra}}}\nspec:\n"
    return head + "\n".join(spec) + "\n"


def base(settings: str = GENEROUS, sites: tuple[str, ...] = SITES, weather: str = "") -> Files:
    """Settings, sites, elements and groups: what every repository of the laboratory begins with."""
    files = {"reconciler.yaml": f"apiVersion: reconciler/v1\nowner: lab\n{settings}"}
    for site in sites:
        target = f"  targets: [{{name: sim, type: simulated, timeout: 2s{weather}}}]"
        files[f"providers/{site}.yaml"] = _object("Provider", site, "", "", [target])
        element = [f"  target: {site}", f"  attributes: {ATTRIBUTES[site]}"]
        files[f"elements/{site}.yaml"] = _object("StorageElement", f"{site}-disk", "", "", element)
    for group in ("a", "b"):
        files[f"groups/{group}.yaml"] = _object("UserGroup", group, "", "", [f"  description: group {group}"])
    return files


class Lab:
    """One repository with its sites and store, in a folder of its own."""

    def __init__(self, files: Mapping[str, str] | None = None) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="lab-", dir=_memory()))
        self.repository = self.root / "repository"
        self.files: Files = {}
        self._environment = dict(os.environ)
        self._close = ExitStack()
        self.git("init", "--quiet", "--initial-branch", "main", str(self.repository), at=self.root)
        self.commit({**base(), **(files or {})})

    def __enter__(self) -> Self:
        folders = {name: str(self.root / name) for name in ("cache", "data", "state")}
        os.environ.update({f"XDG_{name.upper()}_HOME": folder for name, folder in folders.items()})
        os.environ.update({"HOME": str(self.root), **IDENTITY})
        run.STOP.clear()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close.close()
        os.environ.clear()
        os.environ.update(self._environment)
        shutil.rmtree(self.root, ignore_errors=True)

    # -- the author --------------------------------------------------------------------------

    def git(self, *arguments: str, at: Path | None = None) -> str:
        environment = {**os.environ, **IDENTITY}
        command = ["git", "-C", str(at or self.repository), *arguments]
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
        return done.stdout.strip()

    def commit(self, files: Mapping[str, str], *, whole: bool = False) -> str:
        """Commit these files (over what there is; `whole`: and nothing else)."""
        self.files = dict(files) if whole else {**self.files, **files}
        for entry in self.repository.iterdir():
            if entry.name != ".git":
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        for path, text in self.files.items():
            file = self.repository / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", "change")
        return self.git("rev-parse", "HEAD")

    def drop(self, *paths: str) -> str:
        """Commit without these files."""
        return self.commit({path: text for path, text in self.files.items() if path not in paths}, whole=True)

    # -- the person at the command line ------------------------------------------------------

    def request(self, **fields: Any) -> Request:
        return replace(Request(repository=str(self.repository), wait=timedelta(seconds=20)), **fields)

    def plan(self, **fields: Any) -> Planned:
        return run.plan(self.request(**fields))

    def apply(self, **fields: Any) -> Applied:
        return run.apply(self.request(retry=True, **fields))

    def forget(self) -> None:
        """Delete the store."""
        shutil.rmtree(self.root / "state", ignore_errors=True)

    # -- the operator of a site --------------------------------------------------------------

    @property
    def data(self) -> Path:
        return self.root / "data" / "reconciler" / "lab"

    def world(self, site: str) -> World:
        """The world of a site, in the hands of its operator."""
        self.data.mkdir(parents=True, exist_ok=True)
        return self._close.enter_context(open_world(self.data / f"{site}.world.sqlite"))

    def weather(self, site: str, **settings: Any) -> None:
        with self.world(site) as world:
            world.clear_weather()
            if settings:
                world.set_weather(**settings)

    def clear(self) -> None:
        for site in SITES:
            self.weather(site)

    def things(self, kind: str = "") -> list[tuple[str, Thing]]:
        """(site, thing) for everything there is."""
        return [(site, thing) for site in SITES for thing in self.world(site).things(kind)]

    def digest(self) -> tuple[str, ...]:
        """One digest a site: equal when the worlds are equal, whatever uids and times."""
        return tuple(self.world(site).digest() for site in SITES)

    def writes(self) -> int:
        """How many writing requests the sites have had."""
        calls = [call for site in SITES for call in self.world(site).calls().items()]
        return sum(
            count for name, count in calls if name.split()[0] in ("create", "update", "delete", "release")
        )

    def calls(self) -> int:
        return sum(sum(self.world(site).calls().values()) for site in SITES)


def refs(planned: Planned | Applied, action: str = "") -> list[str]:
    """The Refs of a plan's changes, of one action when one is named."""
    return [str(change.ref) for change in planned.plan.changes if action in ("", change.action)]


def ref(text: str) -> Ref:
    return Ref.parse(text)


def at(day: str) -> datetime:
    return datetime.fromisoformat(f"{day}T12:00:00").replace(tzinfo=UTC)


def _memory() -> str | None:
    """A folder in memory where there is one: the laws are about order, not about disks."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
