"""User processes for a machine that is a directory: `supervise.py ROOT VERB [NAME]`.

VERB: `running` (starts, restarts or reloads the service NAME as needed), `look` (says what `running`
would do), `absent` (ends and forgets NAME), `stop` (ends every process of the machine). Prints what was
done: started, restarted, reloaded, stopped; or `unchanged`. Part of the role `platform`.

Source of the formats: the manual of supervisor (configuration file, XML-RPC API), proc(5).
"""

# ruff: noqa: INP001  a file of a role is not in a package

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xmlrpc.client import Fault, ServerProxy

from processes import end, is_process, is_running, processes, read_record, wait_until

# The path of a Unix socket has at most 107 bytes. This one is short wherever the machine's directory is:
# supervisord and we both work in ROOT/run.
SOCKET = "/proc/self/cwd/supervisor.sock"
RUNNING = ("RUNNING", "STARTING")
ALREADY_STARTED = 60
PATIENCE = 15.0
SILENCE = "It does not answer. See var/log/supervisord.log of the machine."

DAEMON = f"""\
[supervisord]
logfile={{root}}/var/log/supervisord.log
logfile_maxbytes=1MB
logfile_backups=1
pidfile={{root}}/run/supervisord.pid
childlogdir={{root}}/var/log
directory={{root}}/run
umask=077
nocleanup=true
[unix_http_server]
file={SOCKET}
chmod=0600
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[include]
files = conf.d/*.conf
"""

PROGRAM = """\
[program:{name}]
command={root}/services/{name} supervised
autostart=true
autorestart=true
startsecs=1
startretries=3
stopasgroup=true
killasgroup=true
stopwaitsecs=15
redirect_stderr=true
stdout_logfile={root}/var/log/{name}.log
stdout_logfile_maxbytes=5MB
stdout_logfile_backups=1
"""


def main(arguments: list[str]) -> int:
    """Does one verb, alone on this machine, and says what was done."""
    root, verb = Path(arguments[0]), arguments[1]
    if verb == "look":
        say(look(root, arguments[2]))
        return 0
    (root / "run").mkdir(mode=0o700, parents=True, exist_ok=True)
    os.chdir(root / "run")
    with open("lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            say(VERBS[verb](root, *arguments[2:]))
        except (Fault, TimeoutError) as error:
            sys.stderr.write(f"supervisord: {getattr(error, 'faultString', SILENCE)}\n")
            return 1
    return 0


def say(done: str) -> None:
    """What was done, for Ansible."""
    sys.stdout.write(done + "\n")


def look(root: Path, name: str) -> str:
    """What `running` would do; writes nothing and starts nothing."""
    if not is_running(root / "services" / f"{name}.json"):
        return "started"
    return {"restart": "restarted", "reload": "reloaded"}.get(needed(root, name), "unchanged")


def running(root: Path, name: str) -> str:
    """The service runs, with what is there now."""
    write_if_other(root / "etc/supervisor/supervisord.conf", DAEMON.format(root=escaped(root)))
    program = PROGRAM.format(root=escaped(root), name=name)
    write_if_other(root / f"etc/supervisor/conf.d/{name}.conf", program)
    (root / "var/log").mkdir(parents=True, exist_ok=True)
    done = "started" if daemon_started(root) else "unchanged"
    done = taken_over(name) or done
    if state(name) not in RUNNING or not settled(root, name):
        started(root, name)
        done = "started"
    return done if done != "unchanged" else brought_up_to_date(root, name)


def absent(root: Path, name: str) -> str:
    """The service has ended, and nothing here starts it again."""
    files = [root / f"etc/supervisor/conf.d/{name}.conf"]
    files += [root / "services" / (name + suffix) for suffix in ("", ".json", ".stamp")]
    there = any(file.exists() for file in files)
    files[0].unlink(missing_ok=True)
    if is_alive():
        taken_over(name)
    elif (found := read_record(root / f"services/{name}.json")) and is_process(found):
        end({found["pid"]})
    for file in files:
        file.unlink(missing_ok=True)
    if not any(files[0].parent.glob("*.conf")):
        return stop(root) if is_alive() else ("stopped" if there else "unchanged")
    return "stopped" if there else "unchanged"


def stop(root: Path) -> str:
    """Every process of the machine has ended. Their records go, so they do not look like broken services."""
    ended = is_alive()
    with contextlib.suppress(OSError, Fault, TimeoutError):
        server().shutdown()
        wait_until(lambda: not is_alive(), 20)
    ended = end(set(processes(root))) or ended
    for file in (root / "services").glob("*.json"):
        file.unlink()
        ended = True
    return "stopped" if ended else "unchanged"


# ── supervisord ─────────────────────────────────────────────────────────────────────────────────


def server() -> Any:
    """The API of supervisord over its socket; every call makes a connection of its own."""
    from supervisor.xmlrpc import SupervisorTransport  # type: ignore[import-untyped]  # noqa: PLC0415  slow

    transport = SupervisorTransport(None, None, f"unix://{SOCKET}")
    return ServerProxy("http://127.0.0.1", transport=transport).supervisor


def is_alive() -> bool:
    """Does supervisord answer?"""
    try:
        return bool(server().getState()["statename"] == "RUNNING")
    except (OSError, Fault):
        return False


def daemon_started(root: Path) -> bool:
    """Starts supervisord where it does not run. Services of one that was killed are ended before."""
    if is_alive():
        return False
    end(set(processes(root)))
    Path(SOCKET).unlink(missing_ok=True)
    environment = {
        "PATH": os.environ.get("PATH", os.defpath) + ":/usr/local/sbin:/usr/sbin:/sbin",
        "HOME": str(root),
        "LC_ALL": "C.UTF-8",
        "RECONCILER_ROOT": str(root),  # by this all processes of the machine are known
    }
    settings = f"{root}/etc/supervisor/supervisord.conf"
    command = [sys.executable, "-m", "supervisor.supervisord", "-c", settings]
    nothing = subprocess.DEVNULL  # a pipe would be held open by what stays
    subprocess.run(
        command,
        env=environment,
        stdin=nothing,
        stdout=nothing,
        stderr=nothing,
        start_new_session=True,
        check=True,
    )
    wait_until(is_alive, PATIENCE)
    return True


def taken_over(name: str) -> str:
    """Lets supervisord know what changed in the configuration of this service. Empty: nothing changed."""
    daemon = server()
    added, changed, removed = daemon.reloadConfig()[0]
    if name in changed + removed:
        daemon.stopProcessGroup(name)
        daemon.removeProcessGroup(name)
    if name in added + changed:
        daemon.addProcessGroup(name)
        return "started"
    return "stopped" if name in removed else ""


def state(name: str) -> str:
    """The state word of supervisord."""
    return str(server().getProcessInfo(name)["statename"])


def settled(root: Path, name: str) -> bool:
    """Waits while it starts. Did it start, and is the record of it there?"""
    wait_until(lambda: state(name) != "STARTING", PATIENCE)
    return state(name) == "RUNNING" and is_running(root / f"services/{name}.json")


def started(root: Path, name: str) -> None:
    """Starts it anew; the end of its log says why that failed."""
    daemon = server()
    with contextlib.suppress(Fault):
        daemon.stopProcess(name)
    try:
        daemon.startProcess(name)
    except Fault as fault:
        if fault.faultCode != ALREADY_STARTED:
            raise Fault(fault.faultCode, f"{name} ends right after its start.\n{tail(root, name)}") from fault


def tail(root: Path, name: str) -> str:
    """The last lines that the service said."""
    log = root / f"var/log/{name}.log"
    lines = log.read_text(errors="replace").splitlines() if log.exists() else ["It said nothing."]
    return "\n".join(lines[-15:])


def needed(root: Path, name: str) -> str:
    """current, reload or restart: does the service run with what is there now?"""
    script = str(root / "services" / name)
    return subprocess.run([script, "look"], check=True, capture_output=True, text=True).stdout.strip()


def brought_up_to_date(root: Path, name: str) -> str:
    """Restarts it, or lets it read its files again, when those are not what it was started with."""
    wish = needed(root, name)
    if wish == "restart":
        started(root, name)
        return "restarted"
    if wish == "reload":
        os.kill(server().getProcessInfo(name)["pid"], signal.SIGHUP)
        subprocess.run([str(root / "services" / name), "note"], check=True)
        return "reloaded"
    return "unchanged"


# ── small things ────────────────────────────────────────────────────────────────────────────────


def escaped(root: Path) -> str:
    """A path as supervisor's files want it: there % begins an expansion."""
    return str(root).replace("%", "%%")


def write_if_other(file: Path, text: str) -> None:
    """The file holds the text; written beside and renamed, so no reader sees half of it."""
    if file.exists() and file.read_text() == text:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_name(f".{file.name}.new")
    beside.write_text(text)
    beside.rename(file)


VERBS: dict[str, Callable[..., str]] = {"running": running, "absent": absent, "stop": stop}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
