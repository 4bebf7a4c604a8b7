"""The network of a target's machines: one bridge, one subnet, address translation to the outside.

Everything that is made carries a name of ours: the bridge and the nft table that of the target, a machine's
namespace and interface that of the machine. IP forwarding is turned on, and never off: others may need it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import IPv4Interface
from pathlib import Path
from typing import Any, Final

from reconciler.drivers.hosts.nspawn.nouns import Place, Settings
from reconciler.drivers.hosts.nspawn.programs import locked, run
from reconciler.errors import BackendError, Rejected
from reconciler.printable import shown

_LOCK: Final = Path("/run/lock/reconciler-network.lock")
_FORWARD: Final = Path("/proc/sys/net/ipv4/ip_forward")
_WATCHERS: Final = Path("/proc/sys/fs/inotify/max_user_instances")
_ENOUGH_WATCHERS: Final = 8192  # every machine's systemd takes some; the 20th fails with the usual 128
_INSIDE: Final = "eth0"


def addresses(settings: Settings) -> Iterator[str]:
    """All addresses that a machine may have, in order. The first one of the subnet is this host's."""
    hosts = settings.subnet.hosts()
    next(hosts)
    return (str(address) for address in hosts)


def gateway(settings: Settings) -> str:
    """This host's address in the subnet: what the machines see of it."""
    return str(next(settings.subnet.hosts()))


def ensure_network(settings: Settings) -> None:
    """Bridge, subnet and address translation stand. Does nothing where they do.

    Raises Rejected when another interface of this host has addresses of the subnet.
    """
    with locked(_LOCK):
        _refuse_foreign(settings)
        _raise_number(_FORWARD, 1)
        _raise_number(_WATCHERS, _ENOUGH_WATCHERS)
        _ensure_bridge(settings)
        _ensure_translation(settings)


def remove_network(settings: Settings) -> None:
    """Take bridge and table away. Machines that still run lose their network."""
    with locked(_LOCK):
        if _exists(settings.bridge):
            run("ip", "link", "del", settings.bridge)
        if settings.bridge in run("nft", "list", "tables", "ip"):
            run("nft", "delete", "table", "ip", settings.bridge)


def ensure_link(settings: Settings, place: Place, address: str) -> None:
    """The machine's namespace stands, with one interface that is plugged into the bridge."""
    with locked(_LOCK):
        if _is_linked(place):
            return
        _unlink(place)  # half of it, as a killed process or a restart of this host leaves it
        run("ip", "netns", "add", place.name)
        width = str(_mtu())
        run(
            "ip",
            "link",
            "add",
            place.name,
            "mtu",
            width,
            "type",
            "veth",
            "peer",
            "name",
            _INSIDE,
            "address",
            _hardware_address(place),
            "mtu",
            width,
            "netns",
            place.name,
        )
        run("ip", "-n", place.name, "link", "set", "lo", "up")
        run("ip", "-n", place.name, "addr", "add", f"{address}/{settings.subnet.prefixlen}", "dev", _INSIDE)
        run("ip", "-n", place.name, "link", "set", _INSIDE, "up")
        run("ip", "-n", place.name, "route", "add", "default", "via", gateway(settings))
        run("ip", "link", "set", place.name, "master", settings.bridge, "up")  # last: see _is_linked


def _hardware_address(place: Place) -> str:
    """Always the same one for a machine: who knows it finds it at once when it comes back.

    The two low bits of the first byte say: one machine, administered locally (IEEE 802).
    """
    digits = hashlib.sha256(place.name.encode()).hexdigest()
    return ":".join(("02", *(digits[at : at + 2] for at in range(0, 10, 2))))


def remove_link(place: Place) -> None:
    """Take the machine's namespace and interface away, whatever of them is there."""
    with locked(_LOCK):
        _unlink(place)


def _unlink(place: Place) -> None:
    if _exists(place.name):
        with suppress(BackendError):  # it may go by itself just now, with a namespace that died
            run("ip", "link", "del", place.name)
    if place.network.exists():
        run("ip", "netns", "del", place.name)


def _is_linked(place: Place) -> bool:
    return place.network.is_mount() and Path(f"/sys/class/net/{place.name}/master").exists()


def _exists(interface: str) -> bool:
    return Path(f"/sys/class/net/{interface}").exists()


def _ensure_bridge(settings: Settings) -> None:
    bridge = settings.bridge
    own = f"{gateway(settings)}/{settings.subnet.prefixlen}"
    if not _exists(bridge):
        run("ip", "link", "add", bridge, "mtu", str(_mtu()), "type", "bridge")
    if own not in [str(found) for name, found in _interfaces() if name == bridge]:
        run("ip", "addr", "add", own, "dev", bridge)
    if not int(Path(f"/sys/class/net/{bridge}/flags").read_text(encoding="ascii"), 16) & 1:
        run("ip", "link", "set", bridge, "up")


def _ensure_translation(settings: Settings) -> None:
    rule = f'ip saddr {settings.subnet} oifname != "{settings.bridge}" masquerade'
    table = settings.bridge
    if table in run("nft", "list", "tables", "ip") and rule in run("nft", "list", "table", "ip", table):
        return
    chain = f"chain post {{ type nat hook postrouting priority srcnat; {rule}; }}"
    run(
        "nft",
        "-f",
        "-",
        text=f"add table ip {table}\ndelete table ip {table}\ntable ip {table} {{\n{chain}\n}}\n",
    )


def _refuse_foreign(settings: Settings) -> None:
    for name, found in _interfaces():
        if name != settings.bridge and found.network.overlaps(settings.subnet):
            hint = "give the target another `network`, e.g. 10.91.0.0/24"
            where = f"network {settings.network} of target {settings.target}"
            raise Rejected(f"{where}: {shown(name)} of this host has {found}", hint=hint)


def _interfaces() -> Iterator[tuple[str, IPv4Interface]]:
    """All IPv4 addresses of this host with their interfaces (JSON of iproute2's `ip address`)."""
    shown_by_ip: list[dict[str, Any]] = json.loads(run("ip", "-json", "-4", "address", "show") or "[]")
    for interface in shown_by_ip:
        for address in interface.get("addr_info", ()):
            yield interface["ifname"], IPv4Interface(f"{address['local']}/{address['prefixlen']}")


def _mtu() -> int:
    """How large packets may be on the way out: machines must not send larger ones."""
    routes = json.loads(run("ip", "-json", "-4", "route", "show", "default") or "[]")
    sizes = [Path(f"/sys/class/net/{route['dev']}/mtu") for route in routes if "dev" in route]
    return min([int(size.read_text(encoding="ascii")) for size in sizes], default=1500)


def _raise_number(file: Path, least: int) -> None:
    if int(file.read_text(encoding="ascii")) < least:
        file.write_text(f"{least}\n", encoding="ascii")
