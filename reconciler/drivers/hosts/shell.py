"""One command on one static host over ssh: only our key, only the pinned host key, nobody's configuration.

Options: ssh_config(5).
"""

from __future__ import annotations

import os
import resource
import shlex
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any, Final

from reconciler.errors import BackendError, Denied, Transient
from reconciler.printable import shown

_SECONDS: Final = 30.0
_LONGEST: Final = 16 * 2**20  # bytes of what a host may say: a record with all that configures it
_OPTIONS: Final = (
    "BatchMode=yes",
    "ConnectTimeout=5",
    "GlobalKnownHostsFile=/dev/null",
    "HostKeyAlias=host",
    "IdentitiesOnly=yes",
    "IdentityAgent=none",
    "LogLevel=ERROR",
    "PreferredAuthentications=publickey",
    "StrictHostKeyChecking=yes",
    "UpdateHostKeys=no",
)
_LOST: Final = 255  # what ssh itself ends with when it could not connect
_NO_KEY: Final = "Host key verification failed"


def run(host: Mapping[str, Any], identity: str, script: str, text: str = "") -> str:
    """What a shell script prints on the host, run as root; `text` is its standard input.

    Raises Transient when the host can't be reached, Denied when it is not the one that is pinned or does not
    let us in, BackendError when the script fails.
    """
    with tempfile.TemporaryDirectory(prefix="rc-ssh-") as folder:
        command = [*_ssh(host, identity, folder), _as_root(host, script)]
        try:
            code, out, said = _ended(command, text, folder)
        except subprocess.TimeoutExpired as error:
            raise Transient(f"host {host['name']} does not answer in {_SECONDS:.0f} s") from error
        except FileNotFoundError as error:
            raise Denied("no program ssh on PATH", hint="install the OpenSSH client") from error
    if len(out) > _LONGEST:
        raise BackendError(f"host {host['name']} says more than {_LONGEST:,} characters")
    if code:
        raise _failed(host, code, said)
    return out


def _ended(command: Sequence[str], text: str, folder: str) -> tuple[int, str, str]:
    """Code, output and complaints. A host may send what it likes: more than a limit ends the command."""
    paths = [os.path.join(folder, name) for name in ("out", "said")]
    with open(paths[0], "wb") as out, open(paths[1], "wb") as said:
        done = subprocess.run(
            command,
            input=text.encode(),
            stdout=out,
            stderr=said,
            timeout=_SECONDS,
            check=False,
            preexec_fn=_bounded,
        )
    return done.returncode, _beginning(paths[0]), _beginning(paths[1])


def _bounded() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 * _LONGEST, 2 * _LONGEST))


def _beginning(path: str) -> str:
    with open(path, "rb") as stream:
        return stream.read(2 * _LONGEST).decode(errors="replace")


def _ssh(host: Mapping[str, Any], identity: str, folder: str) -> list[str]:
    key, known = os.path.join(folder, "key"), os.path.join(folder, "known")
    for path, text in ((key, identity.strip()), (known, f"host {host['hostKey']}")):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(file, "w", encoding="utf-8") as stream:
            stream.write(f"{text}\n")
    options = [part for option in (*_OPTIONS, f"UserKnownHostsFile={known}") for part in ("-o", option)]
    port, user = str(host.get("port", 22)), str(host.get("user", "root"))
    return [
        "ssh",
        "-F",
        os.devnull,
        "-T",
        *options,
        "-i",
        key,
        "-p",
        port,
        "-l",
        user,
        "--",
        str(host["address"]),
    ]


def _as_root(host: Mapping[str, Any], script: str) -> str:
    shell = f"sh -c {shlex.quote(script)}"
    return shell if host.get("user", "root") == "root" else f"sudo -n {shell}"


def _failed(host: Mapping[str, Any], code: int, said: str) -> BackendError:
    words = shown(" ".join(said.split()), 300) or f"code {code}"
    if _NO_KEY in said:
        hint = "find out why, then write its new key into `hostKey` of the target"
        return Denied(f"host {host['name']} shows another host key than the one that is pinned", hint=hint)
    if code == _LOST and "Permission denied" in said:
        return Denied(f"host {host['name']} does not let us in: {words}", hint="see `identity` of the target")
    if code == _LOST:
        return Transient(f"host {host['name']} can't be reached: {words}")
    return BackendError(f"host {host['name']}: {words}")
