"""The nouns of nspawn machines, and the names under which they are known to the kernel."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

from reconciler.errors import Rejected
from reconciler.model import NOTHING
from reconciler.printable import shown


@dataclass(frozen=True, slots=True)
class Settings:
    """What all machines of one target share.

    `path` is the directory of the machines, `cache` that of the base trees (targets may share it).
    `network` is the IPv4 subnet of the machines, its first address is this host. `mirror` is the URL of a
    Debian mirror; empty: the one of this host's own apt sources.
    """

    target: str
    owner: str
    path: str
    cache: str
    network: str = "10.90.0.0/24"
    suite: str = "bookworm"
    mirror: str = ""

    @property
    def subnet(self) -> IPv4Network:
        """The network, checked. Raises Rejected with what is expected."""
        try:
            subnet = IPv4Network(self.network)
        except ValueError as error:
            raise Rejected(f"network {shown(self.network)} of target {self.target}: {error}") from error
        if not 16 <= subnet.prefixlen <= 29 or not subnet.is_private:
            hint = "e.g. 10.90.0.0/24"
            wanted = "a private subnet of /16 to /29 is expected"
            raise Rejected(f"network {self.network} of target {self.target}: {wanted}", hint=hint)
        return subnet

    @property
    def bridge(self) -> str:
        """The bridge and the nft table of this target. 15 characters, the most that an interface may have."""
        return f"rcb{_digest(self.owner, self.target, str(Path(self.path).resolve()))}"


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine as it is to be.

    `id` names its directory below `settings.path`. `address` lies in the subnet. `authorized_keys` are
    those of root. `volumes` maps a location inside to a directory here. `memory` is bytes; 0, like 0
    `cores`, is no limit.
    """

    id: str
    hostname: str
    address: str
    authorized_keys: tuple[str, ...]
    cores: int = 0
    memory: int = 0
    volumes: Mapping[str, str] = NOTHING


@dataclass(frozen=True, slots=True)
class Place:
    """Where one machine lies: its directories, and its name as control group, network and interface."""

    folder: Path
    name: str

    @property
    def control(self) -> Path:
        """What the machine is told and what its launcher writes. The machine sees `control/ssh` only."""
        return self.folder / "control"

    @property
    def root(self) -> Path:
        """Where the overlay is mounted while the machine stands."""
        return self.folder / "root"

    @property
    def record(self) -> Path:
        """The machine as it was created last, and its base tree: what a start needs."""
        return self.control / "machine.json"

    @property
    def network(self) -> Path:
        """The file of its network namespace, where `ip netns` puts it."""
        return Path("/run/netns") / self.name


def place(settings: Settings, identity: str) -> Place:
    """Where the machine with this id lies, whether it is there or not."""
    folder = Path(settings.path).resolve() / identity
    return Place(folder, f"rcm{_digest(settings.owner, settings.target, str(folder))}")


def _digest(*pieces: str) -> str:
    return hashlib.sha256("\0".join(pieces).encode()).hexdigest()[:12]
