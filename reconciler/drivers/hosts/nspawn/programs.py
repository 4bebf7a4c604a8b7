"""Starting the host's programs, and locks between processes. What goes wrong becomes an error of ours."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from reconciler.drivers.hosts.nspawn.nouns import Settings
from reconciler.errors import BackendError, Denied
from reconciler.printable import printable

_PACKAGES: Final = {
    "systemd-nspawn": "systemd-container",
    "nft": "nftables",
    "ip": "iproute2",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "setpriv": "util-linux",
    "mount": "mount",
    "umount": "mount",
}
BUILDERS: Final = ("mmdebstrap", "debootstrap")
_ENVIRONMENT: Final = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
_PROXIES: Final = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


def prepare(settings: Settings) -> None:
    """Can this host have such machines? Changes nothing.

    Raises Denied with what to install or to become, Rejected when the network is not one.
    """
    _ = settings.subnet
    if os.geteuid() != 0:
        hint = "run as root on a Debian host, or choose `machines: local`"
        raise Denied(f"nspawn machines of target {settings.target} need root", hint=hint)
    missing = missing_packages()
    if missing:
        hint = f"apt-get install {' '.join(missing)}"
        raise Denied(
            f"nspawn machines of target {settings.target} need programs that are not here", hint=hint
        )


def missing_packages() -> list[str]:
    """The Debian packages that have to be installed first, sorted."""
    missing = {package for program, package in _PACKAGES.items() if _found(program) is None}
    if not any(_found(builder) for builder in BUILDERS):
        missing.add(BUILDERS[0])
    return sorted(missing)


def _found(program: str) -> str | None:
    return shutil.which(program, path=_ENVIRONMENT["PATH"])


def builder() -> str:
    """The program that builds base trees here; the first of BUILDERS that is installed."""
    return next((name for name in BUILDERS if _found(name)), BUILDERS[0])


def run(*command: str, text: str = "", seconds: float = 60.0) -> str:
    """Run a program to its end; what it printed. Raises BackendError with the end of what it complained."""
    try:
        done = subprocess.run(
            command,
            input=text.encode(),
            capture_output=True,
            env=environment(),
            timeout=seconds,
            check=False,
        )
    except FileNotFoundError as error:
        raise Denied(f"{command[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise BackendError(f"{command[0]} did not end within {seconds:g} s") from error
    if done.returncode:
        said = printable(" ".join(done.stderr.decode(errors="replace").split())[-500:])
        raise BackendError(f"{' '.join(command[:4])} failed ({done.returncode}): {said}")
    return done.stdout.decode(errors="replace")


def environment() -> dict[str, str]:
    """The environment of programs that run as root: nothing of the caller's but its proxies."""
    proxies = {name: os.environ[name] for name in _PROXIES if name in os.environ}
    return {**_ENVIRONMENT, **proxies}


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """One process or thread at a time. The kernel lets go when the process dies."""
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
