"""The cases of the driver hosts, on local machines."""

from __future__ import annotations

from pathlib import Path

from reconciler.drivers.hosts import DRIVER
from reconciler.model import Observed, Ref, Resource, Target
from tests.contract.case import Arena, Case, made

ROOMY = {"machines": 500, "cores": 1000, "memory": "9TB"}
SETTINGS = {"machines": "local", "path": "machines", "capacity": ROOMY}
PORT = {"protocol": "tcp", "port": 80, "remote": ""}
STRANGE = "ünï ☃ 𝄞 \\ \" ' \n {{ 1 }} {% raw %}"
NOTE = """\
- ansible.builtin.copy:
    content: "{{ note_text }}"
    dest: "{{ reconciler_root }}/note.txt"
    mode: "0600"
"""
REMOVE = """\
- ansible.builtin.file:
    path: "{{ reconciler_root }}/note.txt"
    state: absent
"""


def prepare(_folder: Path) -> Target:
    return Target("here", "hosts", "here", SETTINGS)


def server(target: Target, number: int) -> Resource:
    spec = {
        "cores": 1,
        "memory": 10**9,
        "disk": 10**10,
        "hostname": f"d{number}-node",
        "image": {},
        "ports": {},
        "volumes": {},
        "users": [],
    }
    return made(Ref("Deployment", "cms", f"d{number}", "node.server"), "server", target, spec)


def volume(target: Target, number: int) -> Resource:
    spec = {"size": 10**9, "quality": ""}
    return made(Ref("Deployment", "cms", f"d{number}", "data.volume"), "volume", target, spec)


def put_released(arena: Arena, resource: Resource) -> str:
    """Unmarked things of this driver are those that were released."""
    arena.create(resource)
    arena.release(arena.only())
    return str(resource.ref)


SERVER = Case(
    driver=DRIVER,
    primitive="server",
    prepare=prepare,
    resource=server,
    variants={
        "cores": 2,
        "memory": 2 * 10**9,
        "disk": 10**11,
        "hostname": "other",
        "image": {"distribution": "debian"},
        "ports": {"http": PORT},
        "users": [{"os_user_name": "ada"}],
    },
    fixed=frozenset({"volumes"}),
    spacious={"users": [{"os_user_name": STRANGE, "long": "x" * 200000}]},
    foreign=put_released,
)
VOLUME = Case(
    driver=DRIVER,
    primitive="volume",
    prepare=prepare,
    resource=volume,
    variants={"size": 2 * 10**9, "quality": "fast"},
    foreign=put_released,
)


def prepare_machines(folder: Path) -> Target:
    """Four machines, and two roles that write a note."""
    for role in ("note", "other"):
        tasks = folder / "roles" / role / "tasks"
        tasks.mkdir(parents=True)
        (tasks / "main.yml").write_text(NOTE)
        (tasks / "remove.yml").write_text(REMOVE)
    target = prepare(folder)
    arena = Arena(SERVER, target, str(folder))
    for number in range(MACHINES):
        arena.create(server(target, number))
    return target


MACHINES = 4


def configuration(target: Target, number: int) -> Resource:
    spec = {
        "role": "note",
        "content": "0123456789ab",
        "server": str(server(target, number % MACHINES).ref),
        "machine": {},
        "variables": {"note_text": f"hello {number}"},
    }
    return made(Ref("Deployment", "cms", f"d{number}", "note.configuration"), "configuration", target, spec)


def spoil(arena: Arena, _thing: Observed) -> None:
    for file in Path(arena.data, "machines").glob("*/root/note.txt"):
        file.write_text("spoiled")


CONFIGURATION = Case(
    driver=DRIVER,
    primitive="configuration",
    prepare=prepare_machines,
    resource=configuration,
    variants={"content": "ba9876543210", "machine": {"ports": {}}, "variables": {"note_text": "other"}},
    immutable={"role": "other", "server": str(Ref("Deployment", "cms", "d1", "node.server"))},
    spacious={"variables": {"note_text": STRANGE}},
    foreign=put_released,
    damage=spoil,
    shared=False,
    many=4,
    heavy=True,
)
CASES = (SERVER, VOLUME, CONFIGURATION)
