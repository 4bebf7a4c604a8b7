"""The launcher: a small shell that outlives us, holds one machine, and boots it again after a reboot inside.

It is a session of its own, sits in the machine's control groups and writes its pid when it is there. nspawn
ends with 133 when the machine asked for a reboot; anything else ends the launcher too. If the launcher is
killed, nspawn gets SIGTERM, which is an orderly power-off: a machine never runs without its launcher.
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from reconciler.drivers.hosts.nspawn.base import SSH_FOLDER
from reconciler.drivers.hosts.nspawn.groups import is_in
from reconciler.drivers.hosts.nspawn.nouns import Machine, Place
from reconciler.drivers.hosts.nspawn.programs import environment
from reconciler.errors import BackendError, Rejected
from reconciler.printable import printable, shown

_SCRIPT: Final = """
for group in $JOIN; do echo $$ > "$group/cgroup.procs" || exit 70; done
echo $$ > "$CONTROL/pid.new" && mv "$CONTROL/pid.new" "$CONTROL/pid"
child=
trap 'test -z "$child" || kill -TERM "$child"' TERM
while test ! -e "$CONTROL/stop"; do
    test ! -d "$RUN" || find "$RUN" -depth -type d -exec rmdir {} \\; 2> /dev/null
    mkdir -p "$RUN"
    sh -c 'echo $$ > "$RUN/cgroup.procs"; exec setpriv --pdeathsig TERM -- "$@"' boot "$@" &
    child=$!
    wait "$child"; code=$?
    while kill -0 "$child" 2> /dev/null; do wait "$child"; code=$?; done
    child=
    test "$code" = 133 || break
done
echo "ended with $code"
"""
_STUB: Final = Path("/run/systemd/resolve/resolv.conf")
_FORBIDDEN: Final = frozenset("\n\r\0:\\")


def launch(place: Place, machine: Machine, groups: Sequence[Path]) -> None:
    """Start the launcher and see it take its place. Raises BackendError with the end of its log."""
    variables = {
        **environment(),
        "CONTROL": str(place.control),
        "JOIN": " ".join(map(str, groups)),
        "RUN": str(groups[0].parent / "run"),
        "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",  # cgroup v2 inside, whatever is mounted here
    }
    command = ("setsid", "--fork", "sh", "-c", _SCRIPT, "launcher", *nspawn(place, machine))
    with (place.control / "log").open("wb") as log:
        # --fork: the launcher is nobody's child but init's, and no zombie of ours when it ends
        subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=variables, cwd="/", check=True
        )
    _await(place)


def _await(place: Place, seconds: float = 10.0) -> None:
    began = time.monotonic()
    while launcher(place) is None:
        if time.monotonic() - began > seconds:
            raise BackendError(f"the launcher of machine {place.name} did not start: {last_words(place)}")
        time.sleep(0.01)


def nspawn(place: Place, machine: Machine) -> list[str]:
    """The command that boots the machine. `systemd-nspawn(1)` has the options.

    `--register=no --keep-unit`: there may be no systemd on this host to register with.
    """
    identity = hashlib.sha256(f"machine-id {place.name}".encode()).hexdigest()[:32]
    return [
        "systemd-nspawn",
        "--quiet",
        "--boot",
        f"--directory={place.root}",
        f"--machine={place.name}",
        f"--hostname={machine.hostname}",
        f"--uuid={identity}",
        f"--network-namespace-path={place.network}",
        "--capability=CAP_NET_ADMIN",
        "--register=no",
        "--keep-unit",
        "--settings=no",
        "--link-journal=no",
        "--timezone=off",
        f"--resolv-conf={'replace-uplink' if _STUB.exists() else 'replace-host'}",
        f"--bind-ro={place.control}/ssh:{SSH_FOLDER}",
        *[f"--bind={_volume(here, there)}" for there, here in sorted(machine.volumes.items())],
        "--",
        "--show-status=no",
    ]


def _volume(here: str, there: str) -> str:
    if (
        not there.startswith("/")
        or ".." in there.split("/")
        or there.rstrip("/") == ""
        or set(there) & _FORBIDDEN
    ):
        raise Rejected(f"volume location {shown(there)}: an absolute path below / is expected")
    if set(here) & _FORBIDDEN or not Path(here).is_dir():
        raise BackendError(f"the directory {shown(here)} of volume {shown(there)} is not there")
    return f"{here}:{there}"


def launcher(place: Place) -> int | None:
    """The pid of the launcher; None when there is none that lives. Writes nothing."""
    with suppress(OSError, ValueError):
        pid = int((place.control / "pid").read_text(encoding="ascii"))
        if is_in(pid, place.name):
            return pid
    return None


def ask_to_end(place: Place) -> None:
    """Tell the launcher to end the machine in good order, and not to boot it again."""
    if place.control.is_dir():
        (place.control / "stop").touch()
    pid = launcher(place)
    if pid is not None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)


def last_words(place: Place) -> str:
    """The end of what nspawn said since the last start; for messages."""
    with suppress(OSError):
        text = (place.control / "log").read_text(encoding="utf-8", errors="replace")
        since_boot = text.rpartition(" login:")[2]  # what stands before tells of a boot that went well
        return printable(" ".join(since_boot.split())[-300:])
    return ""
