"""A repository of any size for simulated sites: `python -m bench.generate DIR --objects 10000 --sites 20`.

The same arguments give the same files and the same commit, byte for byte. The worlds of the sites lie
in `DIR.worlds/`, apart from the repository and from everything that reconciler keeps.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.services import catalogue, deployment

COUNTRIES = ("IT", "ES", "DE", "FR", "CZ")
EXPERIMENTS = ("alice", "atlas", "auger", "belle2", "cms", "ctao", "juno", "lhcb", "virgo", "xenon")
PACKAGES = ("basf2", "garfield", "geant4", "pycbc", "pythia8", "root", "sherpa", "uproot")
BRANCH = "main"
WHEN = 1_767_225_600  # 2026-01-01T00:00:00Z, of the author and of the committer
IDENTITY = f"Bench <bench@example.org> {WHEN} +0000"


@dataclass(frozen=True, slots=True)
class Size:
    """What is asked for. `copies` of more than one makes all objects DataRules of so many copies.

    `deployments` come on top of the objects, with the catalogue that they need.
    """

    objects: int = 10_000
    sites: int = 20
    seed: int = 1
    copies: int = 1
    groups: int = 10
    latency: str = "50ms"
    page_size: int = 500
    deployments: int = 0


@dataclass(frozen=True, slots=True)
class Site:
    """One provider with one target and one storage element."""

    name: str
    country: str
    tier: int

    @property
    def element(self) -> str:
        return f"{self.name}-disk"


def sites_of(size: Size) -> tuple[Site, ...]:
    width = max(2, len(str(size.sites)))
    return tuple(
        Site(f"site-{number + 1:0{width}}", COUNTRIES[number % 5], 1 + number // 5 % 2)
        for number in range(size.sites)
    )


def groups_of(size: Size) -> tuple[str, ...]:
    """Names of experiments; from the second round on with a number."""
    return tuple(
        EXPERIMENTS[number % 10] + (f"-{number // 10 + 1}" if number >= 10 else "")
        for number in range(size.groups)
    )


def world_of(repository: Path, site: str) -> Path:
    """The file that is the world of a site."""
    return repository.with_name(f"{repository.name}.worlds") / f"{site}.world.sqlite"


def files(size: Size, repository: Path) -> Iterator[tuple[str, str]]:
    """Path and text of every file of the repository. Pure."""
    sites, groups = sites_of(size), groups_of(size)
    yield "reconciler.yaml", "owner: bench\n"
    for site in sites:
        yield f"providers/{site.name}.yaml", _provider(site, size, world_of(repository, site.name))
        yield f"data/elements/{site.element}.yaml", _element(site)
    for group in groups:
        yield f"groups/{group}.yaml", _object("UserGroup", group, "", {"description": f"The {group} people"})
    chance = random.Random(size.seed)
    expressions = _expressions(sites, size.copies)
    for number in range(size.objects):
        group = groups[number // 5 % len(groups)]
        if size.copies == 1 and number % 5 < 3:
            yield _software(number, group, chance.choice(sites), size.seed)
        else:
            yield _rule(number, group, chance.choice(expressions), size.copies)
    yield from _deployments(size, [site.name for site in sites], groups, chance)


def _deployments(
    size: Size, sites: Sequence[str], groups: Sequence[str], chance: random.Random
) -> Iterator[tuple[str, str]]:
    yield from catalogue() if size.deployments else ()
    for number in range(size.deployments):
        group = groups[number // 5 % len(groups)]
        name, spec = deployment(number, sites, chance)
        yield f"deployments/{group}/{name}.yaml", _object("Deployment", name, group, spec)


def _software(number: int, group: str, site: Site, seed: int) -> tuple[str, str]:
    name = f"{PACKAGES[number % len(PACKAGES)]}-{number:06}"
    spec = {
        "target": site.name,
        "repository": "sw.example.org",
        "path": f"{group}/{name}",
        "source": f"{name}.tar.gz",
        "sha256": hashlib.sha256(f"{seed} {name}".encode()).hexdigest(),
    }
    return f"software/{group}/{name}.yaml", _object("SoftwareUpload", name, group, spec)


def _rule(number: int, group: str, expression: str, copies: int) -> tuple[str, str]:
    name = f"run-{number:06}"
    spec = {"dataset": f"{group}:{name}", "source": f"{group}/{name}", "expression": f'"{expression}"'}
    if copies > 1:
        spec["copies"] = str(copies)
    return f"data/{group}/{name}.yaml", _object("DataRule", name, group, spec)


def _expressions(sites: Sequence[Site], copies: int) -> tuple[str, ...]:
    """One to choose from per site, country, tier and both, wherever enough elements fit."""
    fitting: dict[str, int] = {}
    for site in sites:
        for expression in (
            f"site={site.name}",
            f"country={site.country}&tier={site.tier}",
            f"country={site.country}",
            f"tier={site.tier}",
        ):
            fitting[expression] = fitting.get(expression, 0) + 1
    if copies > len(sites):
        raise SystemExit(f"{copies} copies need at least {copies} sites")
    chosen = [expression for expression, elements in sorted(fitting.items()) if elements >= copies]
    return tuple(chosen) or ("quality=disk",)


def _provider(site: Site, size: Size, world: Path) -> str:
    target = {"type": "simulated", "world": str(world), "latency": size.latency, "pageSize": size.page_size}
    location = {"site": site.name.upper(), "country": site.country}
    spec = {"location": json.dumps(location), "targets": json.dumps([target])}
    return _object("Provider", site.name, "", spec)


def _element(site: Site) -> str:
    attributes = f"{{country: {site.country}, site: {site.name}, tier: {site.tier}, quality: disk}}"
    return _object("StorageElement", site.element, "", {"target": site.name, "attributes": attributes})


def _object(kind: str, name: str, group: str, spec: dict[str, str]) -> str:
    """The text of one file, as a person would write it."""
    lines = ["apiVersion: reconciler/v1", f"kind: {kind}", "metadata:", f"  name: {name}"]
    lines += [f"  group: {group}"] if group else []
    lines += ["spec:", *(f"  {key}: {value}" for key, value in spec.items())]
    return "\n".join(lines) + "\n"


def generate(repository: Path, size: Size) -> str:
    """Write and commit the repository; DIR must not exist yet, or be empty. Returns the commit's id."""
    repository = repository.absolute()
    world_of(repository, "").parent.mkdir(parents=True, exist_ok=True)
    git(repository.parent, "init", "--quiet", "--initial-branch", BRANCH, str(repository))
    git(
        repository,
        "fast-import",
        "--quiet",
        stdin=_stream(files(size, repository), f"{size.objects} objects"),
    )
    git(repository, "reset", "--quiet", "--hard")
    settle(repository)
    return git(repository, "rev-parse", "HEAD").decode().strip()


def settle(repository: Path) -> None:
    """Let the index be older than the second in which its files were written, as it is with people.

    Git can't trust a file as old as the index, and would read all of them at every look.
    """
    time.sleep(1.1)
    git(repository, "status", "--porcelain")


def _stream(entries: Iterator[tuple[str, str]], message: str) -> bytes:
    """What `git fast-import` takes: one commit with all files."""
    said = message.encode()
    head = f"commit refs/heads/{BRANCH}\nauthor {IDENTITY}\ncommitter {IDENTITY}\ndata {len(said)}\n"
    pieces = [head.encode(), said, b"\n"]
    for path, text in sorted(entries):
        content = text.encode()
        pieces += [f"M 100644 inline {path}\ndata {len(content)}\n".encode(), content, b"\n"]
    return b"".join(pieces)


def git(folder: Path, *arguments: str, stdin: bytes = b"") -> bytes:
    """Run git without anybody's configuration; what it printed."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment = {**kept, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    command = ["git", "-c", "gc.auto=0", *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, input=stdin, check=True, stdout=subprocess.PIPE, timeout=600
    ).stdout


def main() -> None:
    size = Size()
    parser = argparse.ArgumentParser(prog="python -m bench.generate", description=__doc__)
    parser.add_argument("directory", metavar="DIR", type=Path, help="where; must not exist yet")
    parser.add_argument("--objects", type=int, default=size.objects, metavar="N")
    parser.add_argument("--sites", type=int, default=size.sites, metavar="S")
    parser.add_argument("--seed", type=int, default=size.seed, metavar="K")
    parser.add_argument("--copies", type=int, default=size.copies, metavar="C", help="of every DataRule")
    parser.add_argument("--deployments", type=int, default=size.deployments, metavar="D", help="besides")
    parser.add_argument("--group-count", dest="groups", type=int, default=size.groups, metavar="G")
    parser.add_argument("--latency", default=size.latency, help="of every request to a site")
    chosen = vars(parser.parse_args())
    directory = chosen.pop("directory")
    if directory.exists() and any(directory.iterdir()):
        raise SystemExit(f"{directory} is not empty")
    print(generate(directory, Size(**chosen)))


if __name__ == "__main__":
    main()
