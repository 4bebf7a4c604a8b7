"""One machine: made, started, looked at, stopped, removed. Every function can be killed and called again.

Below `<path>/<id>/`: `upper` and `work` (what differs from the base tree), `root` (where both are mounted),
`control` (what the machine is told from outside: nothing is ever written into its own files).
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from enum import StrEnum
from ipaddress import IPv4Address
from pathlib import Path
from typing import Final

from reconciler.drivers.hosts.nspawn.base import base_tree
from reconciler.drivers.hosts.nspawn.groups import ensure_groups, sweep
from reconciler.drivers.hosts.nspawn.launching import ask_to_end, last_words, launch, launcher
from reconciler.drivers.hosts.nspawn.network import ensure_link, ensure_network, remove_link
from reconciler.drivers.hosts.nspawn.nouns import Machine, Place, Settings, place
from reconciler.drivers.hosts.nspawn.programs import locked, run
from reconciler.errors import BackendError, Rejected
from reconciler.model import Json

SSH_PORT: Final = 22
_PATIENCE: Final = 20.0  # seconds that a machine gets to power off by itself
_OVERLAY_NEEDS = "the directory of the machines must lie on ext4, xfs or tmpfs, and its path hold no , or :"


class State(StrEnum):
    """How a machine is. BOOTING: it runs and does not answer on its ssh port yet."""

    ABSENT = "absent"
    STOPPED = "stopped"
    BOOTING = "booting"
    RUNNING = "running"


def create(settings: Settings, machine: Machine) -> str:
    """The machine's directory stands as wanted; its public host key (`ssh-ed25519 AAAA…`). Starts nothing.

    Again for a machine that is there: new keys of root hold at once, the rest from its next start. The host
    key and the base tree stay what they were. Raises what `base_tree` raises, Rejected for a bad address.
    """
    if IPv4Address(machine.address) not in settings.subnet:
        raise Rejected(f"address {machine.address} of {machine.hostname} is not in {settings.network}")
    at = place(settings, machine.id)
    known = _record(at)
    base = str(known["base"]) if known else str(base_tree(settings.cache, settings))
    with locked(_lock(at)):
        at.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in ("upper", "work", "root", "control", "control/ssh"):
            (at.folder / name).mkdir(mode=0o755, exist_ok=True)
        _put(at.control / "ssh/authorized_keys_root", "\n".join((*machine.authorized_keys, "")), 0o644)
        public = _host_key(at.control / "ssh/host_key")
        said = {**asdict(machine), "volumes": dict(machine.volumes)}
        _put(at.record, json.dumps({"base": base, "machine": said}, sort_keys=True), 0o600)
    return public


def start(settings: Settings, identity: str) -> None:
    """The machine runs; it may still be booting when this returns. One that runs is left alone.

    All that it needs is set up again where it is gone: network, mount, limits. Raises BackendError.
    """
    at = place(settings, identity)
    machine = _machine(at)
    ensure_network(settings)
    with locked(_lock(at)):
        groups = ensure_groups(at.name, machine.cores, machine.memory)
        if launcher(at) is not None:
            return
        sweep(at.name, _PATIENCE)  # what a killed launcher left
        groups = ensure_groups(at.name, machine.cores, machine.memory)
        (at.control / "stop").unlink(missing_ok=True)
        _mount(at)
        ensure_link(settings, at, machine.address)
        launch(at, machine, groups)


def look(settings: Settings, identity: str, seconds: float = 0.2) -> State:
    """How the machine is, cheaply and without writing. `seconds`: how long ssh may take to answer."""
    at = place(settings, identity)
    record = _record(at)
    if not record:
        return State.ABSENT
    if launcher(at) is None:
        return State.STOPPED
    with (
        suppress(OSError),
        socket.create_connection((record["machine"]["address"], SSH_PORT), timeout=seconds),
    ):
        return State.RUNNING
    return State.BOOTING


def machines(settings: Settings) -> tuple[str, ...]:
    """The ids of all machines that have a directory here, whole or not, sorted."""
    folder = Path(settings.path)
    if not folder.is_dir():
        return ()
    return tuple(sorted(found.name for found in folder.iterdir() if (found / "control").is_dir()))


def stop(settings: Settings, identity: str, patience: float = _PATIENCE) -> None:
    """The machine has powered off in good order, or was ended after `patience` seconds. Its files stay."""
    at = place(settings, identity)
    with locked(_lock(at)):
        _end(at, patience)


def remove(settings: Settings, identity: str, patience: float = _PATIENCE) -> None:
    """Nothing is left of the machine: process, group, mount, network, files.

    Its directory goes too, unless someone else's files lie in it. Volumes are never touched.
    """
    at = place(settings, identity)
    with locked(_lock(at)):
        _end(at, patience)
        for name in ("upper", "work", "root", "control"):  # control last: without it nobody lists the machine
            if (at.folder / name).exists():
                shutil.rmtree(at.folder / name)
        for left in at.folder.glob(".#root*"):  # nspawn's lock on its directory
            left.unlink()
        for empty in (Path("/run/systemd/nspawn/propagate") / at.name, at.folder):
            with suppress(OSError):
                empty.rmdir()
    _lock(at).unlink(missing_ok=True)


def why(settings: Settings, identity: str) -> str:
    """What the machine's launcher said last; for the message about one that does not run."""
    return last_words(place(settings, identity))


def _end(at: Place, patience: float) -> None:
    ask_to_end(at)
    sweep(at.name, patience)
    remove_link(at)
    _unmount(at.root)


# -- the overlay -----------------------------------------------------------------------------


def _mount(at: Place) -> None:
    if at.root.is_mount():
        return
    base = str((_record(at) or {}).get("base", ""))
    if not Path(base).is_dir():
        hint = "remove the machine, so that it is made anew"
        raise BackendError(f"the base tree {base} of machine {at.folder.name} is gone", hint=hint)
    layers = f"lowerdir={base},upperdir={at.folder}/upper,workdir={at.folder}/work"
    try:
        run("mount", "-t", "overlay", at.name, "-o", layers, str(at.root))
    except BackendError as error:
        raise BackendError(f"{error}", hint=_OVERLAY_NEEDS) from error


def _unmount(root: Path) -> None:
    for attempt in range(50):
        if not root.is_mount():
            return
        try:
            run("umount", str(root))
        except BackendError:
            if attempt == 49:
                raise
            time.sleep(0.1)  # the last process of the machine may still be leaving


# -- what it is told -------------------------------------------------------------------------


def _record(at: Place) -> Mapping[str, Json]:
    """What `create` wrote; nothing when it never came to its end."""
    with suppress(FileNotFoundError, NotADirectoryError):
        record: Mapping[str, Json] = json.loads(at.record.read_text(encoding="utf-8"))
        return record
    return {}


def _machine(at: Place) -> Machine:
    record = _record(at)
    if not record:
        raise BackendError(f"machine {at.folder.name} was not created")
    said = record["machine"]
    return Machine(**{**said, "authorized_keys": tuple(said["authorized_keys"])})


def _host_key(file: Path) -> str:
    """The public half of the host key, made when it is not there yet. ssh-keygen(1) makes and reads it."""
    if not file.exists():
        # aside: the ssh-keygen of a process that was killed may still be at work
        with tempfile.TemporaryDirectory(prefix="host_key-", dir=file.parent) as aside:
            new = Path(aside) / "key"
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(new))
            new.rename(file)
    return " ".join(run("ssh-keygen", "-y", "-f", str(file)).split()[:2])


def _put(file: Path, text: str, mode: int) -> None:
    """Write a file whole or not at all."""
    new = file.with_name(f"{file.name}.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    new.rename(file)


def _lock(at: Place) -> Path:
    return Path("/run/lock") / f"{at.name}.lock"
