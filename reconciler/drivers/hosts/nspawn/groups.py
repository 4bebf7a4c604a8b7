"""The control groups of a machine: what is limited, how its processes are found, and how they are swept.

The kernel's interface: cgroup v2 (Documentation/admin-guide/cgroup-v2) and, where a host still mounts them,
the v1 controllers. systemd-nspawn needs a group of its own in the v2 tree and in systemd's named v1 tree:
without one, all machines of a host share one group. `launch` is where the launcher sits, `run` is nspawn's.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from reconciler.errors import BackendError, Denied

_PERIOD: Final = 100_000  # microseconds, the kernel's default
_V1: Final = ("name=systemd", "memory", "cpu")
_POLL: Final = 0.02


def trees() -> dict[str, Path]:
    """The mounted hierarchies that matter: `unified`, and of v1 `name=systemd`, `memory`, `cpu`."""
    found: dict[str, Path] = {}
    for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines():
        _, point, kind, options, *_ = line.split()
        if kind == "cgroup2":
            found.setdefault("unified", Path(point))
        elif kind == "cgroup":
            for name in set(options.split(",")) & set(_V1):
                found.setdefault(name, Path(point))
    return found


def ensure_groups(name: str, cores: int, memory: int) -> tuple[Path, ...]:
    """The machine's groups stand and are limited where this host can; where the launcher must go.

    Raises Denied when no control groups are mounted.
    """
    mounted = trees()
    if "unified" not in mounted:
        hint = "mount -t cgroup2 none /sys/fs/cgroup, or use a host that has it"
        raise Denied("no cgroup2 file system is mounted here", hint=hint)
    top = mounted.pop("unified")
    _delegate(top)
    (top / name / "launch").mkdir(parents=True, exist_ok=True)
    _delegate(top / name)
    for tree in mounted.values():
        (tree / name).mkdir(exist_ok=True)
    _limit(top / name, mounted.get("memory"), mounted.get("cpu"), cores, memory)
    return (top / name / "launch", *(tree / name for tree in mounted.values()))


def _limit(group: Path, memory_v1: Path | None, cpu_v1: Path | None, cores: int, memory: int) -> None:
    _write(group / "memory.max", str(memory) if memory else "max")
    _write(group / "cpu.max", f"{cores * _PERIOD if cores else 'max'} {_PERIOD}")
    if memory_v1:
        _write(memory_v1 / group.name / "memory.limit_in_bytes", str(memory or -1))
    if cpu_v1:
        _write(cpu_v1 / group.name / "cpu.cfs_quota_us", str(cores * _PERIOD if cores else -1))


def _delegate(group: Path) -> None:
    for controller in ("memory", "cpu", "pids"):
        _write(group / "cgroup.subtree_control", f"+{controller}")


def _write(file: Path, text: str) -> None:
    """A limit where it is possible: a host without this controller runs machines all the same."""
    with suppress(OSError):
        file.write_text(text, encoding="ascii")


def processes(name: str) -> Iterator[int]:
    """The pids of all processes of a machine, its launcher's too. Zombies are none."""
    for tree in trees().values():
        for folder, _, _ in os.walk(tree / name):
            with suppress(OSError):
                for line in (Path(folder) / "cgroup.procs").read_text(encoding="ascii").split():
                    if alive(int(line)):
                        yield int(line)


def alive(pid: int) -> bool:
    """Is there such a process, and does it still run?"""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] not in "ZX"  # proc(5): the state follows the name


def is_in(pid: int, name: str) -> bool:
    """Does this process belong to the machine? A number alone may be another process by now."""
    try:
        groups = Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return alive(pid) and f":/{name}/" in groups


def sweep(name: str, patience: float, seconds: float = 20.0) -> None:
    """All processes of the machine have ended: by themselves within `patience` seconds, or by SIGKILL.

    Its groups are removed. Raises BackendError when a process does not go.
    """
    began = time.monotonic()
    while left := set(processes(name)):
        waited = time.monotonic() - began
        if waited > patience + seconds:
            raise BackendError(f"{len(left)} processes of machine {name} can't be ended")
        if waited > patience:
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        time.sleep(_POLL)
    for tree in trees().values():
        _remove(tree / name)


def _remove(group: Path) -> None:
    for _ in range(50):  # the kernel may hold an empty group for a moment
        for folder, _, _ in os.walk(group, topdown=False):
            with suppress(OSError):
                Path(folder).rmdir()
        if not group.exists():
            return
        time.sleep(_POLL)
    raise BackendError(f"the control group {group} can't be removed")
