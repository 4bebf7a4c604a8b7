"""Real machines: they boot, answer with the key that was promised, come back, and leave nothing behind."""

from __future__ import annotations

import faulthandler
import json
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.drivers.hosts import nspawn
from reconciler.drivers.hosts.nspawn import groups, launching, sources
from reconciler.drivers.hosts.nspawn.nouns import place
from reconciler.errors import BackendError, Rejected
from tests.live.nspawn_host import CACHE, Host, open_host, ran, wait_until

pytestmark = pytest.mark.machines

ROOT = Path(__file__).parents[2]
PLAYBOOK = Path(sys.executable).parent / "ansible-playbook"


@pytest.fixture
def host() -> Iterator[Host]:
    with open_host() as opened:
        yield opened


# -- machines --------------------------------------------------------------------------------


@pytest.mark.live
def test_the_base_tree_is_built_once(host: Host) -> None:
    before = nspawn.base_tree(host.settings.cache, host.settings)
    began = time.monotonic()
    assert nspawn.base_tree(host.settings.cache, host.settings) == before
    assert time.monotonic() - began < 0.1
    assert not list(CACHE.glob("*.half"))
    assert not list((before / "etc/ssh").glob("ssh_host_*"))
    assert (before / "etc/machine-id").read_text() == ""


@pytest.mark.live
def test_two_machines_answer_with_the_pinned_key_and_reach_each_other(host: Host) -> None:
    first, second = host.machine("one"), host.machine("two")
    host.up(first)
    host.up(second)
    assert host.said("one", "systemctl is-system-running --wait; hostname") == "running\none-host"
    assert host.said("two", f"exec 3<>/dev/tcp/{first.address}/22; head -c4 <&3") == "SSH-"
    assert host.said("one", "cat /etc/machine-id") != host.said("two", "cat /etc/machine-id")
    host.known["one"] = host.known["two"]
    assert "HOST IDENTIFICATION HAS CHANGED" in host.ssh("one", "true").stderr
    assert nspawn.machines(host.settings) == ("one", "two")


@pytest.mark.live
def test_what_runs_is_left_alone(host: Host) -> None:
    machine = host.machine("one")
    host.up(machine)
    at = place(host.settings, "one")
    before = (launching.launcher(at), ran("nft", "-a", "list", "ruleset").stdout, _times(at.folder))
    assert nspawn.create(host.settings, machine) == host.known["one"]
    nspawn.ensure_network(host.settings)
    nspawn.start(host.settings, "one")
    assert nspawn.look(host.settings, "one") == "running"
    assert (launching.launcher(at), ran("nft", "-a", "list", "ruleset").stdout, _times(at.folder)) == before


def _times(folder: Path) -> list[int]:
    return [file.stat().st_mtime_ns for file in (folder / "control/pid", folder / "control/log")]


@pytest.mark.live
def test_a_reboot_inside_comes_back_and_a_power_off_does_not(host: Host) -> None:
    host.up(host.machine("one"))
    host.said("one", "touch /run/before /var/lib/kept")
    host.ssh("one", "systemctl reboot")
    wait_until(lambda: host.ssh("one", "test ! -e /run/before").returncode == 0)
    host.said("one", "test -e /var/lib/kept")
    host.ssh("one", "systemctl poweroff")
    host.await_state("one", "stopped")
    nspawn.start(host.settings, "one")
    host.await_state("one", "running")
    host.said("one", "test -e /var/lib/kept")


@pytest.mark.live
def test_a_killed_launcher_is_seen_and_healed(host: Host) -> None:
    host.up(host.machine("one"))
    host.said("one", "touch /var/lib/kept; sync")
    pid = launching.launcher(place(host.settings, "one"))
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    host.await_state("one", "stopped")
    wait_until(lambda: not list(groups.processes(place(host.settings, "one").name)))  # it ends by itself
    nspawn.start(host.settings, "one")
    host.await_state("one", "running")
    host.said("one", "test -e /var/lib/kept")


@pytest.mark.live
def test_a_crash_of_everything_is_healed(host: Host) -> None:
    host.up(host.machine("one"))
    at = place(host.settings, "one")
    for pid in set(groups.processes(at.name)):
        os.kill(pid, signal.SIGKILL)
    host.await_state("one", "stopped")
    ran("ip", "netns", "del", at.name)  # as after a restart of this host
    wait_until(lambda: ran("umount", str(at.root)).returncode == 0)
    nspawn.remove_network(host.settings)
    nspawn.start(host.settings, "one")
    host.await_state("one", "running")
    assert host.said("one", "hostname") == "one-host"


@pytest.mark.live
def test_stopping_is_orderly_and_volumes_stay(host: Host) -> None:
    volume = host.folder / "volume"
    volume.mkdir()
    host.up(host.machine("one", {"/srv/data": str(volume)}))
    host.said("one", "echo hello > /srv/data/file")
    host.said("one", "systemd-run -q -p ExecStop='/bin/touch /srv/data/ended' sleep 999")
    nspawn.stop(host.settings, "one")
    assert (volume / "ended").exists()
    assert nspawn.look(host.settings, "one") == "stopped"
    nspawn.remove(host.settings, "one")
    assert (volume / "file").read_text() == "hello\n"


@pytest.mark.live
def test_memory_is_limited(host: Host) -> None:
    host.up(host.machine("one", memory=200 << 20))
    assert host.ssh("one", "python3 -c 'bytearray(100 << 20)'").returncode == 0
    assert host.ssh("one", "python3 -c 'bytearray(400 << 20)'").returncode != 0


@pytest.mark.live
def test_machines_reach_the_outside(host: Host) -> None:
    host.up(host.machine("one"))
    assert host.ssh("one", "apt-get update -q").returncode == 0


@pytest.mark.live
def test_nothing_is_left_after_removal(host: Host) -> None:
    host.up(host.machine("one"))
    at = place(host.settings, "one")
    assert _left(at.name, host.settings.bridge) == {"link", "namespace", "mount", "group", "process", "table"}
    (at.folder / "machine.json").write_text("of the driver")
    nspawn.remove(host.settings, "one")
    nspawn.remove(host.settings, "one")
    assert [file.name for file in at.folder.iterdir()] == ["machine.json"]
    assert nspawn.look(host.settings, "one") == "absent"
    nspawn.remove_network(host.settings)
    nspawn.remove_network(host.settings)
    assert _left(at.name, host.settings.bridge) == set()


def _left(name: str, bridge: str) -> set[str]:
    """What this host still has of a machine and its network."""
    links = ran("ip", "-o", "link").stdout
    found = {
        "link": name in links or bridge in links,
        "namespace": Path("/run/netns", name).exists()
        or Path("/run/systemd/nspawn/propagate", name).exists(),
        "mount": name in Path("/proc/mounts").read_text(),
        "group": any((tree / name).exists() for tree in groups.trees().values()),
        "process": name in ran("ps", "-ww", "-eo", "args").stdout,
        "table": bridge in ran("nft", "list", "tables").stdout,
    }
    return {what for what, there in found.items() if there}


@pytest.mark.live
@pytest.mark.parametrize("delay", [0.01, 0.05, 0.09, 0.13])
def test_whenever_we_are_killed_it_can_be_completed_or_removed(host: Host, delay: float) -> None:
    machine = host.machine("one")
    code = f"""
        from reconciler.drivers.hosts import nspawn
        settings = nspawn.{host.settings!r}
        machine = nspawn.{machine!r}
        print("go", flush=True)
        nspawn.create(settings, machine)
        nspawn.start(settings, machine.id)
    """
    for finish in (_complete, _remove):
        command = [sys.executable, "-c", textwrap.dedent(code)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(delay)
            process.kill()
        finish(host, machine)
        assert _left(place(host.settings, "one").name, "no bridge") == set()


def _complete(host: Host, machine: nspawn.Machine) -> None:
    host.up(machine)
    assert host.said("one", "hostname") == "one-host"
    nspawn.remove(host.settings, "one")


def _remove(host: Host, machine: nspawn.Machine) -> None:
    nspawn.remove(host.settings, machine.id)
    assert not place(host.settings, machine.id).folder.exists()


@pytest.mark.live
def test_foreign_networks_and_bad_volumes_are_refused(host: Host) -> None:
    nspawn.ensure_network(host.settings)
    other = nspawn.Settings("other", "tests", host.settings.path, str(CACHE), host.settings.network)
    with pytest.raises(Rejected, match="of this host has"):
        nspawn.ensure_network(other)
    for volumes, error in (({"data": "/tmp"}, Rejected), ({"/data": "/nowhere"}, BackendError)):
        nspawn.create(host.settings, host.machine("one", volumes))
        with pytest.raises(error):
            nspawn.start(host.settings, "one")
        assert nspawn.look(host.settings, "one") == "stopped"


# -- the role base ---------------------------------------------------------------------------


@pytest.mark.live
def test_the_role_base_converges_and_is_then_quiet(host: Host) -> None:
    _need_ansible()
    host.up(host.machine("one"))
    wish = {
        "base_hostname": "renamed",
        "base_timezone": "Europe/Rome",
        "base_automatic_updates": True,
        "base_ports": {"data": {"protocol": "udp"}},
        "reconciler_ports": {"http": 8080, "data": 5000},
        "reconciler_users": [_user("ada", host.public, sudo=True)],
    }
    assert _changed(host, wish) > 5
    assert _changed(host, wish) == 0
    assert host.said("one", "hostname") == "renamed"
    assert host.said("one", "date +%Z") in ("CET", "CEST")
    assert host.said("one", "sudo -u ada sudo -n id -u") == "0"
    assert 'Unattended-Upgrade "1"' in host.said("one", "cat /etc/apt/apt.conf.d/20auto-upgrades")
    assert "udp dport 5000" in host.said("one", "nft list table inet reconciler")
    for port in (8080, 8081):
        _serve(host, port)
    assert _answers(host, 8080)
    assert not _answers(host, 8081)


@pytest.mark.live
def test_the_role_base_heals_and_takes_away(host: Host) -> None:
    _need_ansible()
    host.up(host.machine("one"))
    _serve(host, 8081)
    users = [_user("ada", host.public, sudo=True), _user("bob", host.public, sudo=False)]
    wish: dict[str, object] = {"reconciler_ports": {}, "reconciler_users": users}
    _changed(host, wish)
    assert host.ssh("one", "sudo -u bob sudo -n id -u").returncode != 0
    assert host.said("one", "grep ssh ~bob/.ssh/authorized_keys").split()[:2] == host.public.split()[:2]
    assert not _answers(host, 8081)
    host.said("one", "nft flush ruleset")
    assert _answers(host, 8081)
    assert _changed(host, wish) == 1
    assert not _answers(host, 8081)

    wish = {**wish, "reconciler_users": users[:1], "base_firewall": False}
    assert _changed(host, wish) > 0
    assert _changed(host, wish) == 0
    assert _answers(host, 8081)
    assert (
        host.said("one", "getent passwd bob | cut -d: -f7; cat ~bob/.ssh/authorized_keys")
        == "/usr/sbin/nologin"
    )


def _need_ansible() -> None:
    if not PLAYBOOK.exists():
        pytest.skip("ansible-playbook is not installed (the extra `hosts`)")
    faulthandler.cancel_dump_traceback_later()  # roles take long on a busy machine; each run has a limit


def _user(name: str, key: str, *, sudo: bool) -> dict[str, object]:
    return {"os_user_name": name, "os_user_ssh_public_key": key, "os_user_add_to_sudoers": sudo}


def _changed(host: Host, wish: dict[str, object]) -> int:
    """Run the role; how many tasks changed something."""
    given = {
        "ansible_python_interpreter": "/usr/bin/python3",
        "ansible_ssh_pipelining": True,
        "reconciler_root": "",
        "reconciler_rootless": False,
        "reconciler_state": "present",
        **wish,
    }
    play = [{"hosts": "all", "gather_facts": False, "roles": [{"role": str(ROOT / "ansible/roles/base")}]}]
    (host.folder / "play.json").write_text(json.dumps(play))
    (host.folder / "variables.json").write_text(json.dumps(given))
    host.said("one", "true")  # writes the known host keys
    options = f"-F none -o UserKnownHostsFile={host.folder}/known_hosts -o StrictHostKeyChecking=yes"
    command = ["-i", f"{host.machine('one').address},", "-u", "root", f"--private-key={host.key}"]
    command += [
        f"--ssh-common-args={options}",
        "-e",
        f"@{host.folder}/variables.json",
        str(host.folder / "play.json"),
    ]
    done = ran(str(PLAYBOOK), *command)
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.search(r"changed=(\d+)", done.stdout)
    assert found is not None
    return int(found[1])


def _serve(host: Host, port: int) -> None:
    host.said("one", f"systemd-run -q --unit=web{port} python3 -m http.server {port}")
    wait_until(lambda: host.ssh("one", f"exec 3<>/dev/tcp/127.0.0.1/{port}").returncode == 0)


def _answers(host: Host, port: int) -> bool:
    try:
        with socket.create_connection((host.machine("one").address, port), timeout=1):
            return True
    except OSError:
        return False


# -- without machines ------------------------------------------------------------------------


def test_sources_are_read_in_both_formats(tmp_path: Path) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list").write_text(
        "# deb http://no/ bookworm main\ndeb [arch=amd64] http://a/debian/ bookworm main # x\n"
    )
    (tmp_path / "sources.list.d/b.sources").write_text(
        "Types: deb deb-src\nURIs: http://b/security\n# why\nSuites:\n bookworm-security\n"
        "Components: main\n\nTypes: deb\nEnabled: no\nURIs: http://off/\nSuites: trixie\nComponents: main\n"
    )
    lines = sources.source_lines("bookworm", folder=str(tmp_path))
    assert lines == (
        "deb http://a/debian bookworm main",
        "deb http://a/debian bookworm-updates main",
        "deb http://b/security bookworm-security main",
    )
    assert sources.source_lines("trixie", folder=str(tmp_path))[0] == f"deb {sources.MIRROR} trixie main"
    assert (
        sources.source_lines("trixie", "http://own/d", str(tmp_path))[1]
        == "deb http://own/d trixie-updates main"
    )


@pytest.mark.parametrize("network", ["10.90.0.1/24", "8.8.8.0/24", "10.0.0.0/8", "10.0.0.0/30", "x"])
def test_networks_that_can_not_be_used_are_refused(network: str) -> None:
    with pytest.raises(Rejected, match="network"):
        _ = nspawn.Settings("lab", "me", "/machines", "/cache", network).subnet


def test_names_differ_by_owner_target_and_folder() -> None:
    settings = [nspawn.Settings(t, o, p, "/c") for t in "ab" for o in "ab" for p in ("/a", "/b")]
    assert len({one.bridge for one in settings}) == len({place(one, "x").name for one in settings}) == 8
    assert all(len(one.bridge) <= 15 and len(place(one, "x").name) <= 15 for one in settings)
