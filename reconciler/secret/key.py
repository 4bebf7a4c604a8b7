"""The instance key: the one secret to keep. Generated secrets are derived from it, and tags are made with it.

It is what RECONCILER_KEY holds, or names as `file:/path` or `age:/path`; else the file of the owner in the
configuration folder. At least 32 random bytes in base64 (RFC 4648 §4), as `make_key` writes them.
"""

from __future__ import annotations

import base64
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from reconciler.printable import printable
from reconciler.secret.age import decrypted
from reconciler.secret.errors import NoKey, NoSecret
from reconciler.secret.reading import content, text

KEY: Final = "RECONCILER_KEY"
LEAST: Final = 32  # bytes of a key


def key_path(owner: str) -> Path:
    """Where the key of an owner is looked for when RECONCILER_KEY is not set."""
    named = os.environ.get("XDG_CONFIG_HOME", "")  # a relative one is ignored, as its specification says
    base = Path(named) if named.startswith("/") else Path.home() / ".config"
    return base / "reconciler" / f"{owner}.key"


def instance_key(owner: str) -> bytes:
    """The instance key of an owner, at least 32 bytes. Raises NoKey."""
    said = os.environ.get(KEY, "").strip()
    trouble: NoSecret | None = None
    try:
        return _named(said) if said else _own(key_path(owner))
    except NoSecret as error:
        trouble = error
    raise NoKey(str(trouble), hint=trouble.hint)


def make_key(path: Path) -> None:
    """Write a fresh key that only its user can read. Raises FileExistsError: a key is never replaced."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(handle, "wb") as file:
            file.write(base64.b64encode(os.urandom(LEAST)) + b"\n")
            file.flush()
            os.fsync(handle)
        _keep(path.parent)
    except BaseException:
        path.unlink(missing_ok=True)  # half a key would be taken for a wrong one
        raise


def _keep(folder: Path) -> None:
    """Make the new name last: the key may be used at once, and then must survive a crash."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _named(said: str) -> bytes:
    scheme, _, path = said.partition(":")
    if scheme not in ("file", "age"):
        return _decoded(said, KEY)
    if not path.startswith("/"):
        raise NoSecret(f"{KEY}: expected an absolute path after `{scheme}:`")
    data = content(path, KEY, private=scheme == "file")
    return _decoded(text(decrypted(data, KEY) if scheme == "age" else data, KEY), KEY)


def _own(path: Path) -> bytes:
    said = "the instance key"
    if not os.path.exists(path):
        shown, folder = printable(str(path)), printable(str(path.parent))
        make = f"(umask 077; mkdir -p {folder}; openssl rand -base64 {LEAST} > {shown})"
        hint = f"if there never was one: {make}; else restore it, since another key gives other secrets"
        raise NoSecret(f"there is no instance key: {KEY} is not set, and there is no {shown}", hint=hint)
    return _decoded(text(content(str(path), said, private=True), said), said)


def _decoded(held: str, said: str) -> bytes:
    key = b""
    with suppress(ValueError):  # binascii.Error is one
        key = base64.b64decode(held.strip(), validate=True)
    if len(key) < LEAST:
        raise NoSecret(f"{said}: expected {LEAST} random bytes or more in base64; what is there is not shown")
    return key
