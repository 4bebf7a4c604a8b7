"""The cases of the storage driver: an element in a lake, and a replica on it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from reconciler.drivers.storage import DRIVER
from reconciler.model import Observed, Ref, Resource, Target
from tests.contract.case import Arena, Case, made

SETTINGS = {"path": "lake", "uploads": "uploads"}
FILES = {"a.root": b"0123456789" * 1000, "deep/er/b.root": b"", "ünï ☃.txt": b"x"}


def prepare(folder: Path) -> Target:
    """A lake that nobody has written to, and data that waits for its first copy."""
    for source in ("first", "second"):
        write_files(folder / "uploads" / source)
    return Target("lake", "storage", "lake", SETTINGS)


def write_files(folder: Path) -> None:
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def element(target: Target, number: int) -> Resource:
    spec = {"attributes": {"country": "IT", "tier": 1, "tape": False}, "capacity": "10GiB"}
    name = f"element-{number}"
    return made(Ref("StorageElement", "", name), "StorageElement", target, spec)


def put_foreign_element(arena: Arena, resource: Resource) -> str:
    folder = Path(arena.data, "lake", resource.ref.name)
    folder.mkdir(parents=True)
    (folder / "theirs.txt").write_text("not ours")
    return resource.ref.name


def prepare_element(folder: Path) -> Target:
    """A lake with one element on it."""
    target = prepare(folder)
    arena = Arena(ELEMENT, target, str(folder))
    arena.create(element(target, 0))
    return target


def replica(target: Target, number: int) -> Resource:
    spec = {
        "dataset": "cms:higgs-2026",
        "element": "element-0",
        "source": "first",
        "verify": {"how": "checksum", "every": "7d"},
    }
    ref = Ref("DataRule", "cms", f"rule-{number}", "element-0.replica")
    facts = {"copies": [], "uploads": ["uploads"]}
    return replace(made(ref, "replica", target, spec), facts=facts)


def put_foreign_replica(arena: Arena, resource: Resource) -> str:
    scope, _, name = resource.spec["dataset"].partition(":")
    key = f"{scope}/{name}/{resource.ref.group}.{resource.ref.name}"
    write_files(Path(arena.data, "lake", resource.spec["element"], key))
    return key


def spoil(arena: Arena, thing: Observed) -> None:
    path = Path(thing.attributes["path"], "a.root")
    path.write_bytes(path.read_bytes()[:-1] + b"!")


ELEMENT = Case(
    driver=DRIVER,
    primitive="StorageElement",
    prepare=prepare,
    resource=element,
    variants={"attributes": {"country": "DE"}, "capacity": "1TB"},
    spacious={"attributes": {"ключ": "ünï ☃ 𝄞 \\ \" ' \n", "long": "x" * 20000}},
    foreign=put_foreign_element,
)
REPLICA = Case(
    driver=DRIVER,
    primitive="replica",
    prepare=prepare_element,
    resource=replica,
    variants={"source": "second", "verify": {"how": "size", "every": "1d"}},
    immutable={"dataset": "cms:higgs-2027"},
    fixed=frozenset({"element"}),
    spacious={"source": "second"},
    foreign=put_foreign_replica,
    damage=spoil,
    shared=False,
)
CASES = (ELEMENT, REPLICA)
