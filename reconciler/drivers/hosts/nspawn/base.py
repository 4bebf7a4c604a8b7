"""The base tree: one minimal Debian for all machines, built once and only read from then on."""

from __future__ import annotations

import hashlib
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Final

from reconciler.drivers.hosts.nspawn.nouns import Settings
from reconciler.drivers.hosts.nspawn.programs import builder, locked, prepare, run
from reconciler.drivers.hosts.nspawn.sources import source_lines
from reconciler.errors import BackendError, Rejected, Transient
from reconciler.printable import shown

_VERSION: Final = "1"  # raise it when what is done to a tree changes: machines keep the tree they began with
_PACKAGES: Final = (
    "ca-certificates",
    "dbus",
    "iproute2",
    "libnss-myhostname",
    "libpam-systemd",
    "netbase",
    "nftables",
    "openssh-server",
    "procps",
    "python3-apt",
    "python3-minimal",
    "sudo",
    "systemd",
    "systemd-sysv",
    "tzdata",
)
_SECONDS: Final = 1200.0
_UNWANTED: Final = ("doc", "info", "locale", "man")
_SSH: Final = """\
# Written by reconciler. The folder below is given to the machine from outside, and can only be read.
HostKey /etc/ssh/reconciler/host_key
AuthorizedKeysFile .ssh/authorized_keys /etc/ssh/reconciler/authorized_keys_%u
PermitRootLogin prohibit-password
PasswordAuthentication no
UseDNS no
"""
_HOSTS: Final = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n"
SSH_FOLDER: Final = "/etc/ssh/reconciler"


def base_tree(cache: str, settings: Settings) -> Path:
    """The directory of the base tree; built now when it is not there yet (about half a minute).

    Safe to kill and to call twice at once: a tree is built under another name and then renamed.
    Raises Transient when the mirror does not answer, Rejected when it does not know the suite.
    """
    lines = source_lines(settings.suite, settings.mirror)
    tree = Path(cache).resolve() / f"{settings.suite}-{_key(lines)}"
    if tree.is_dir():
        return tree
    prepare(settings)
    with locked(tree.with_suffix(".lock")):
        if not tree.is_dir():
            _build(tree, settings.suite, lines)
    return tree


def _key(lines: tuple[str, ...]) -> str:
    text = "\n".join((_VERSION, os.uname().machine, *_PACKAGES, *lines))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _build(tree: Path, suite: str, lines: tuple[str, ...]) -> None:
    half = tree.with_suffix(".half")
    shutil.rmtree(half, ignore_errors=True)  # what a killed build left
    try:
        _bootstrap(half, suite, lines)
        _tailor(half, lines)
    except BackendError:
        shutil.rmtree(half, ignore_errors=True)
        raise
    os.sync()
    half.rename(tree)


def _bootstrap(half: Path, suite: str, lines: tuple[str, ...]) -> None:
    # in a mount namespace of its own: a build that is killed leaves no /proc mounted in the tree
    private = ("unshare", "--mount", "--propagation", "private", "--")
    include = f"--include={','.join(_PACKAGES)}"
    if builder() == "mmdebstrap":
        skip = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in _UNWANTED]
        command = ("mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", include, *skip)
        text = "\n".join((*lines, ""))
        last = (suite, str(half), "-")
    else:
        command = ("debootstrap", "--variant=minbase", include)
        text = ""
        last = (suite, str(half), lines[0].split()[1])
    try:
        run(*private, *command, *last, text=text, seconds=_SECONDS)
    except BackendError as error:
        raise _meaning(error, suite, lines) from error


def _meaning(error: BackendError, suite: str, lines: tuple[str, ...]) -> BackendError:
    """Who must act when a tree can't be built? Words that apt and debootstrap use decide."""
    said = str(error)
    if "does not have a Release file" in said or "No such script" in said or "404" in said:
        hint = "correct `suite` in the settings of the target, e.g. bookworm"
        return Rejected(f"there is no Debian suite {shown(suite)} at {lines[0].split()[1]}", hint=hint)
    words = (
        "resolve",
        "connect",
        "Failed getting release file",
        "timed out",
        "Unable to fetch",
        "Failed to fetch",
    )
    if any(word in said for word in words):
        return Transient(f"the Debian mirror {lines[0].split()[1]} could not be read: {said[-200:]}")
    return error


def _tailor(half: Path, lines: tuple[str, ...]) -> None:
    """Nothing of one machine stays in the tree: no keys, no identity, no name."""
    apt = half / "etc/apt"
    (apt / "sources.list").write_text("\n".join((*lines, "")), encoding="utf-8")
    (apt / "apt.conf.d/90reconciler").write_text(_apt_options(), encoding="utf-8")
    for key in (half / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    (half / "etc/ssh/sshd_config.d/00-reconciler.conf").write_text(_SSH, encoding="utf-8")
    os.utime(half / "var/lib/apt/lists", (0, 0))  # empty, so old: Ansible fetches them when it first installs
    (half / SSH_FOLDER.lstrip("/")).mkdir()
    (half / "etc/hosts").write_text(_HOSTS, encoding="utf-8")
    (half / "etc/machine-id").write_text("", encoding="utf-8")
    (half / "etc/resolv.conf").write_text("", encoding="utf-8")
    for name in ("etc/hostname", "usr/sbin/policy-rc.d"):
        with suppress(FileNotFoundError):
            (half / name).unlink()


def _apt_options() -> str:
    """No recommended packages; old lists are good where this host takes them too (a frozen mirror)."""
    options = 'APT::Install-Recommends "false";\nAcquire::Languages "none";\n'
    said = run("apt-config", "dump", "--format", "%v%n", "Acquire::Check-Valid-Until")
    return options + ('Acquire::Check-Valid-Until "false";\n' if said.strip() == "false" else "")
