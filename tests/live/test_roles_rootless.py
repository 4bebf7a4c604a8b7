"""The roles that work without root, by ansible-playbook, on machines that are private directories here."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.live,
    pytest.mark.machines,
    pytest.mark.network,
    pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="packages are unpacked with Debian's tools"),
]

ROLES = Path(__file__).parents[2] / "ansible" / "roles"
PROGRAMS = Path(sys.executable).parent
HOSTILE = "<p>{{ 6 * 7 }} {% raw %} $(touch /tmp/x) ' \" ü\n</p>"
TOKEN = "canary-of-the-token"
SECONDS = 300
REDIS = ("redis-server", "redis-tools", "liblzf1", "libjemalloc2", "liblua5.1-0")


@dataclass
class Said:
    """What ansible-playbook said of the one machine."""

    code: int
    changed: int
    text: str


class Machine:
    """A private directory with a port of its own."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.root.mkdir(mode=0o700, parents=True)
        self.run_folder = folder / "run"
        self.run_folder.mkdir()
        self.port = _free_port()
        self.volume = folder / "volume"
        self.volume.mkdir()

    def apply(self, role: str, entry: str = "main", *options: str, **variables: Any) -> Said:
        (self.run_folder / "inventory.yml").write_text(f"all: {{hosts: {{here: {_yaml(self._facts())}}}}}")
        (self.run_folder / "variables.yml").write_text(_yaml(variables, tag="!unsafe "))
        include = {"ansible.builtin.include_role": {"name": role, "tasks_from": entry}}
        show = {
            "ansible.builtin.debug": {"var": "reconciler_outputs"},
            "when": "reconciler_outputs is defined",
        }
        play = [{"hosts": "all", "gather_facts": False, "tasks": [include, show]}]
        (self.run_folder / "play.json").write_text(json.dumps(play))
        return self._play(*options)

    def good(self, role: str, entry: str = "main", *options: str, **variables: Any) -> int:
        """How many tasks changed something."""
        said = self.apply(role, entry, *options, **variables)
        assert said.code == 0, said.text
        return said.changed

    def record(self, name: str) -> dict[str, Any]:
        return dict(json.loads((self.root / f"services/{name}.json").read_text()))

    def runs(self, name: str) -> bool:
        """What README.md of the role `platform` tells the reader to look at."""
        try:
            record = self.record(name)
            fields = Path(f"/proc/{record['pid']}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return False
        parent, start = str(record["supervisor"]), str(record["start"])
        return fields[0] not in "ZX" and fields[1] == parent and fields[19] == start

    def processes(self) -> list[int]:
        """Processes that were started below this machine's supervisord, whoever their parent is now."""
        mark = f"RECONCILER_ROOT={self.root}".encode()
        return [pid for pid in _pids() if mark in _read(f"/proc/{pid}/environ").split(b"\0")]

    def get(self, path: str = "/", scheme: str = "http") -> str:
        return _get(f"{scheme}://127.0.0.1:{self.port}{path}")

    def _facts(self) -> dict[str, Any]:
        return {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "reconciler_root": str(self.root),
            "reconciler_rootless": True,
            "reconciler_machine": "here",
            "reconciler_address": "127.0.0.1",
            "reconciler_ports": {"http": self.port},
            "reconciler_volumes": {"/data": str(self.volume)},
            "reconciler_state": "present",
        }

    def _play(self, *options: str) -> Said:
        passing = ("PATH", "http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
        environment = {name: os.environ[name] for name in passing if name in os.environ}
        folder = str(self.run_folder)
        environment |= {"HOME": folder, "LC_ALL": "C.UTF-8", "ANSIBLE_ROLES_PATH": str(ROLES)}
        environment |= {
            "ANSIBLE_PIPELINING": "1",
            "ANSIBLE_LOCAL_TEMP": folder,
            "ANSIBLE_REMOTE_TEMP": folder,
        }
        command = [
            str(PROGRAMS / "ansible-playbook"),
            "-i",
            "inventory.yml",
            "-e",
            "@variables.yml",
            "play.json",
        ]
        process = subprocess.run(
            [*command, *options],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        recap = re.search(r"changed=(\d+)", process.stdout)
        return Said(process.returncode, int(recap[1]) if recap else -1, process.stdout + process.stderr)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """Ends what it started by the documented way without Ansible."""
    one = Machine(tmp_path / ("a-path-longer-than-the-address-of-a-socket-may-be-" * 2))
    yield one
    _stop(one)
    assert one.processes() == []


def test_a_page_is_served_as_given_and_the_second_run_is_silent(machine: Machine) -> None:
    assert machine.good("nginx", nginx_page=HOSTILE) > 0
    assert machine.get() == HOSTILE
    assert machine.runs("nginx")
    assert machine.good("nginx", nginx_page=HOSTILE) == 0
    assert machine.good("nginx", "main", "--check", nginx_page=HOSTILE) == 0
    assert machine.good("nginx", "main", "--check", nginx_page="other") == 1
    assert machine.get() == HOSTILE


def test_a_title_is_text_and_tls_comes_by_a_reload(machine: Machine) -> None:
    machine.good("nginx", nginx_title="<script>{{ 1 }}")
    assert "<h1>&lt;script&gt;{{ 1 }}</h1>" in machine.get()
    before = machine.record("nginx")
    assert machine.good("nginx", nginx_title="TLS", nginx_tls=True) > 0
    assert "<h1>TLS</h1>" in machine.get(scheme="https")
    assert machine.record("nginx") == before, "it was restarted, not reloaded"
    assert (machine.root / "etc/reconciler-nginx/key.pem").stat().st_mode & 0o777 == 0o600
    assert machine.good("nginx", nginx_title="TLS", nginx_tls=True) == 0


def test_what_died_is_healed(machine: Machine) -> None:
    machine.good("nginx", nginx_page="alive")
    first = machine.record("nginx")
    os.kill(first["supervisor"], signal.SIGKILL)
    _wait(lambda: not machine.runs("nginx"))
    assert machine.get() == "alive", "the orphan still holds the port, and is seen as down"
    assert machine.good("nginx", nginx_page="alive") == 1
    assert machine.runs("nginx")
    assert not Path(f"/proc/{first['pid']}").exists()

    os.kill(machine.record("nginx")["pid"], signal.SIGKILL)
    _wait(lambda: machine.runs("nginx"))
    assert _stop(machine) == "stopped"
    assert not machine.runs("nginx")
    assert machine.good("nginx", nginx_page="alive") == 1
    assert machine.get() == "alive"


def test_a_run_that_was_killed_before_the_reload_is_completed(machine: Machine) -> None:
    machine.good("nginx", nginx_title="one")
    configuration = machine.root / "etc/reconciler-nginx/nginx.conf"
    stamp = machine.root / "services/nginx.stamp"
    lines = stamp.read_text().splitlines()
    stamp.write_text(f"{lines[0]}\nwhat it was before\n")
    before = configuration.read_text()
    assert machine.good("nginx", nginx_title="one") == 1
    assert (configuration.read_text(), stamp.read_text().splitlines()) == (before, lines)


def test_a_proxy_in_front_and_an_upstream_that_is_none(machine: Machine, tmp_path: Path) -> None:
    machine.good("nginx", nginx_page="behind")
    front = Machine(tmp_path / "front")
    try:
        front.good("nginx", nginx_upstreams=[f"127.0.0.1:{machine.port}"])
        assert front.get() == "behind"
        said = front.apply("nginx", nginx_upstreams=["127.0.0.1:1; } evil {"])
        assert said.code != 0
        assert "host:port" in said.text
        assert front.get() == "behind"
    finally:
        _stop(front)


def test_removed_means_gone(machine: Machine) -> None:
    machine.good("nginx", nginx_page="here")
    assert machine.good("nginx", "remove") > 0
    assert machine.processes() == []
    assert list((machine.root / "services").iterdir()) == []
    assert not (machine.root / "etc/reconciler-nginx").exists()
    with pytest.raises(urllib.error.URLError):
        machine.get()
    assert machine.good("nginx", "remove") == 0


def test_a_service_that_cannot_start_says_why(machine: Machine) -> None:
    said = machine.apply(
        "platform",
        "service",
        platform_name="bad",
        platform_command=["/bin/sh", "-c", "echo no luck; exit 3"],
    )
    assert said.code != 0
    assert "bad ends right after its start" in said.text
    assert "no luck" in said.text


def test_arguments_and_environment_of_a_service_are_text(machine: Machine) -> None:
    words = ["a b", "$(id)", "'", '"', "%(ENV_PATH)s;", "{{ 1 }}", "é\nline"]
    tell = f"json.dump([sys.argv[1:], os.environ['X']], open('{machine.root}/seen', 'w'))"
    write = f"import json, os, sys, time; {tell}; time.sleep(99)"
    machine.good(
        "platform",
        "service",
        platform_name="words",
        platform_command=[sys.executable, "-c", write, *words],
        platform_environment={"X": words[-1] + words[4]},
    )
    assert json.loads((machine.root / "seen").read_text()) == [words, words[-1] + words[4]]


@pytest.mark.parametrize(
    ("entry", "given", "said"),
    [
        ("service", {"platform_name": "x", "platform_state": "stopped"}, "platform_state must be one of"),
        ("service", {"platform_command": ["/bin/true"]}, "missing required arguments: platform_name"),
        ("service", {"platform_name": "x"}, "`platform_command` begins with the absolute path"),
        ("service", {"platform_name": "x", "platform_command": ["true"]}, "the absolute path of a program"),
        ("service", {"platform_name": "x y", "platform_state": "absent"}, "letters, digits, - and _"),
        ("user", {}, "missing required arguments: platform_user"),
        ("package", {"platform_name": "x"}, "missing required arguments: platform_packages"),
    ],
)
def test_platform_says_what_is_wrong_before_it_does_anything(
    machine: Machine, entry: str, given: dict[str, Any], said: str
) -> None:
    answer = machine.apply("platform", entry, **given)
    assert answer.code != 0
    assert said in " ".join(answer.text.replace("\\n", " ").split())
    assert list(machine.root.iterdir()) == []


@pytest.mark.skipif(bool(shutil.which("redis-server")), reason="a program that is installed is taken")
def test_a_program_of_packages_finds_their_libraries(machine: Machine, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    assert "usr/bin/redis-server links to redis-check-rdb" in _unpack(cache, *REDIS[:1])[1]
    assert "redis-server needs liblzf.so.1" in _unpack(cache, *REDIS[:2])[1]
    answers = [_unpack(cache, *REDIS)[0].splitlines() for _ in range(2)]
    assert [said for said, _ in answers] == ["changed", "unchanged"]
    program = answers[0][1]
    assert answers[1][1] == program
    command = [program, "--bind", "127.0.0.1", "--port", str(machine.port), "--save", ""]
    machine.good("platform", "service", platform_name="redis", platform_command=command)
    assert machine.runs("redis")
    with socket.create_connection(("127.0.0.1", machine.port), timeout=10) as wire:
        wire.sendall(b"PING\r\n")
        assert wire.recv(100) == b"+PONG\r\n"


def test_jupyter_works_and_keeps_its_token(machine: Machine) -> None:
    wish = {"jupyter_token": TOKEN, "jupyter_location": "/data"}
    first = machine.apply("jupyter", **wish)
    assert first.code == 0, first.text
    assert f'"url": "http://127.0.0.1:{machine.port}/"' in first.text
    assert TOKEN not in first.text
    assert _code(machine, "/api/contents") == 403
    (machine.volume / "here.txt").write_text("mine")
    assert "here.txt" in machine.get(f"/api/contents?token={TOKEN}")
    assert "JupyterLab" in machine.get(f"/lab?token={TOKEN}")
    assert _who_shows(TOKEN) == []
    assert [path for path in machine.root.rglob("*") if _tells(path, TOKEN)] == []

    assert machine.good("jupyter", **wish) == 0
    before = machine.record("jupyter")
    assert machine.good("jupyter", jupyter_default_url="/lab/tree/here.txt", **wish) == 2
    assert machine.record("jupyter") != before
    _start_kernel(machine)
    assert machine.good("jupyter", "remove") > 0
    assert machine.processes() == [], "a kernel was left behind"
    assert (machine.volume / "here.txt").read_text() == "mine"


def test_jupyter_wants_a_token_and_a_volume_that_is_there(machine: Machine) -> None:
    short = machine.apply("jupyter", jupyter_token="short")
    assert (short.code != 0, "less than 8 characters" in short.text, "short" in short.text) == (
        True,
        True,
        False,
    )
    absent = machine.apply("jupyter", jupyter_token=TOKEN, jupyter_location="/nowhere")
    assert absent.code != 0
    assert "jupyter_location" in absent.text


# ── small things ────────────────────────────────────────────────────────────────────────────────


def _yaml(value: Any, tag: str = "") -> str:
    """Flow YAML; texts are marked as no templates, as the engine marks what people wrote."""
    if isinstance(value, dict):
        return (
            "{" + ", ".join(f"{json.dumps(key)}: {_yaml(entry, tag)}" for key, entry in value.items()) + "}"
        )
    if isinstance(value, list):
        return "[" + ", ".join(_yaml(entry, tag) for entry in value) + "]"
    return (tag if isinstance(value, str) else "") + json.dumps(value)


def _unpack(cache: Path, *packages: str) -> tuple[str, str]:
    """What unpack.sh says of the first package's program, and what it complains of."""
    program = str(ROLES / "platform/files/unpack.sh")
    command = ["sh", program, str(cache), packages[0], *packages]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=SECONDS)
    return done.stdout, done.stderr


def _stop(machine: Machine) -> str:
    """What was done to end all processes of the machine."""
    program = str(ROLES / "platform/files/supervise.py")
    command = [sys.executable, "-B", program, str(machine.root), "stop"]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.strip()


def _start_kernel(machine: Machine) -> None:
    request = urllib.request.Request(
        f"http://127.0.0.1:{machine.port}/api/kernels",
        data=b"{}",
        headers={"Authorization": f"token {TOKEN}"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310  ours
        assert answer.status == 201
    _wait(lambda: len(machine.processes()) >= 3)


def _get(url: str) -> str:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    own = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )
    with own.open(url, timeout=60) as answer:
        return str(answer.read().decode())


def _code(machine: Machine, path: str) -> int:
    try:
        machine.get(path)
    except urllib.error.HTTPError as error:
        return error.code
    return 200


def _pids() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


def _who_shows(word: str) -> list[int]:
    return [pid for pid in _pids() if word.encode() in _read(f"/proc/{pid}/cmdline")]


def _tells(path: Path, word: str) -> bool:
    """Can somebody else, or a log, tell the word? The one file that holds it is the account's own."""
    own = path.name == "jupyter_server_config.json" and path.stat().st_mode & 0o777 == 0o600
    runtime = path.parent.name == "runtime" and path.stat().st_mode & 0o077 == 0
    return path.is_file() and not own and not runtime and word.encode() in path.read_bytes()


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""


def _wait(fits: Any, seconds: float = 30) -> None:
    last = time.monotonic() + seconds
    while not fits():
        assert time.monotonic() < last, "waited in vain"
        time.sleep(0.05)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
