"""The Ansible engine over ssh: a real sshd of our own on the loop-back interface, as an ordinary process."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.playbook.run import Assignment, Machine, Work, run

pytestmark = pytest.mark.live

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
SECONDS = 240  # a busy machine is slow


@dataclass(frozen=True)
class Server:
    """Where our sshd listens, its key, another key, and who may come in."""

    folder: Path
    port: int
    host_key: str
    other_key: str
    identity: str


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    if SSHD is None or shutil.which("ssh-keygen") is None:
        pytest.skip("no sshd on this machine")
    folder = Path(tempfile.mkdtemp(prefix="sshd", dir="/tmp"))
    try:
        keys = {name: _key(folder, name) for name in ("host", "other", "user")}
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd as root insists on it
        port = _free_port()
        (folder / "config").write_text(_config(folder, port))
        with subprocess.Popen(
            [SSHD, "-D", "-e", "-f", str(folder / "config")], stderr=subprocess.PIPE
        ) as process:
            try:
                _wait(port)
                yield Server(folder, port, keys["host"], keys["other"], (folder / "user").read_text())
            finally:
                process.terminate()
                process.communicate(timeout=SECONDS)
    finally:
        shutil.rmtree(folder)


def _key(folder: Path, name: str) -> str:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    return (folder / f"{name}.pub").read_text()


def _config(folder: Path, port: int) -> str:
    return f"""
ListenAddress 127.0.0.1:{port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/user.pub
PidFile none
StrictModes no
UsePAM no
UseDNS no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
MaxStartups 100
PerSourceMaxStartups none
Subsystem sftp internal-sftp
"""


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _wait(port: int) -> None:
    until = time.monotonic() + SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert time.monotonic() < until
            time.sleep(0.05)
        else:
            return


@pytest.fixture
def scratch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="pb", dir="/tmp"))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    try:
        yield folder
        assert list(folder.glob("rcplay-*")) == []
        assert _processes(folder) == []
    finally:
        shutil.rmtree(folder)


def _processes(folder: Path) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if f"{folder}/rcplay-" in words:
            found.append(words)
    return found


def role(folder: Path, name: str, tasks: str) -> None:
    target = folder / "roles" / name / "tasks" / "main.yml"
    target.parent.mkdir(parents=True)
    target.write_text(tasks)


def machine(server: Server, folder: Path, name: str, **connection: Any) -> Machine:
    root = folder / "machines" / name
    root.mkdir(parents=True, exist_ok=True)
    usual = {"ansible_host": "127.0.0.1", "ansible_port": server.port, "ansible_user": getpass.getuser()}
    usual["ansible_python_interpreter"] = sys.executable
    facts = {"reconciler_root": str(root), "reconciler_machine": name}
    return Machine(name, {**usual, **connection}, server.host_key, facts)


def work(
    server: Server,
    folder: Path,
    name: str,
    machines: Sequence[tuple[Machine, Mapping[str, Any]]],
    **changes: Any,
) -> Work:
    assignments = tuple(Assignment(entry, variables) for entry, variables in machines)
    settled: dict[str, Any] = {
        "role": name,
        "entry": "main",
        "assignments": assignments,
        "roles": (str(folder / "roles"),),
        "identity": server.identity,
        "check": False,
        "timeout": SECONDS,
    }
    return Work(**{**settled, **changes})


PLACE = """
- name: Place
  ansible.builtin.copy: {content: "{{ place_text }}", dest: "{{ reconciler_root }}/file", mode: "0600"}
- name: Say
  ansible.builtin.set_fact: {reconciler_outputs: {url: "http://{{ reconciler_machine }}"}}
"""


def test_only_the_known_key_is_talked_to(server: Server, scratch: Path) -> None:
    role(scratch, "place", PLACE)
    text = {"place_text": "{{ 1 + 1 }} $(x) 'y'"}
    known, changed, unknown, dead, stranger = (
        machine(server, scratch, name) for name in ("known", "changed", "unknown", "dead", "stranger")
    )
    changed = replace(changed, host_key=server.other_key)
    unknown = replace(unknown, host_key="")
    dead = replace(dead, connection={**dead.connection, "ansible_port": _free_port()})
    stranger = replace(stranger, connection={**stranger.connection, "ansible_user": "nobody-known"})
    machines = [(entry, text) for entry in (known, changed, unknown, dead, stranger)]
    results = run(work(server, scratch, "place", machines))
    assert results["known"].ok
    assert results["known"].outputs == {"url": "http://known"}
    assert {name for name, result in results.items() if result.unreachable} == results.keys() - {"known"}
    assert results["changed"].message.startswith("HostKeyChanged: ")
    assert results["unknown"].message.startswith("HostKeyUnknown: ")
    assert "Connection refused" in results["dead"].message
    assert "Permission denied" in results["stranger"].message
    assert [path.name for path in (scratch / "machines").rglob("file")] == ["file"]
    assert (scratch / "machines/known/file").read_text() == text["place_text"]
    again = run(work(server, scratch, "place", [(known, text)]))["known"]
    assert (again.ok, again.changed) == (True, False)


def test_one_of_five_fails_and_the_others_are_done(server: Server, scratch: Path) -> None:
    role(
        scratch,
        "most",
        PLACE.replace("place_", "most_") + "- {name: Check, fail: {msg: is third}, when: most_bad}\n",
    )
    machines = [
        (machine(server, scratch, f"n{index}"), {"most_text": "x", "most_bad": index == 3})
        for index in range(5)
    ]
    results = run(work(server, scratch, "most", machines))
    assert [name for name, result in results.items() if not result.ok] == ["n3"]
    assert (results["n3"].task, results["n3"].message) == ("Check", "is third")
    assert not results["n3"].unreachable
    assert len(list((scratch / "machines").rglob("file"))) == 5


def test_when_the_time_is_over_no_connection_stays(server: Server, scratch: Path) -> None:
    role(scratch, "slow", '- shell: "touch {{ reconciler_root }}/begun; sleep 30"\n')
    for seconds in (4, 12, 36):  # enough to begin, also where the machine is busy
        asked = work(server, scratch, "slow", [(machine(server, scratch, "one"), {})], timeout=seconds)
        result = run(asked)["one"]
        assert (result.ok, result.unreachable) == (False, False)
        assert result.message.startswith("TimedOut: ")
        assert _processes(scratch) == []
        if begun := list((scratch / "machines").rglob("begun")):
            break
    assert begun
