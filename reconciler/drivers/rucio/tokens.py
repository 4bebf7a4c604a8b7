"""Tokens of Rucio, kept so that not every run logs in: a file per server and identity, in the cache.

Rucio's own client keeps one file per account, for all servers and passwords. A file that others could read,
or that is not ours, is not used; a token that is about to expire neither.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import stat
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from reconciler.canonical import canonical
from reconciler.folders import cache_folder

_SOON: Final = 60.0  # seconds: a token that lives shorter is not begun with
_LIMIT: Final = 64 * 1024  # bytes of a token's file
_PATIENCE: Final = 10.0  # seconds in which somebody else's login should be done
_PAUSE: Final = 0.02


@dataclass(frozen=True, slots=True)
class Token:
    """What a server takes as a login. `expires`: seconds since the epoch, 0: not known."""

    value: str
    expires: float = 0.0

    def __repr__(self) -> str:
        return "Token(…)"


@dataclass(frozen=True, slots=True)
class TokenFile:
    """The place of one identity's token. What can't be read or written is no error: we log in again."""

    path: Path

    def read(self) -> Token | None:
        """The token that is kept, if it can still be used."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            kept = json.loads(self._content())
            token = Token(str(kept["token"]), float(kept["expires"]))
            if token.value.isprintable() and time.time() < token.expires - _SOON:
                return token
        return None

    def keep(self, token: Token) -> None:
        """Keep it, for us only; whole or not at all."""
        half = self.path.with_name(f"{self.path.name}.{os.getpid()}-{os.urandom(4).hex()}")
        with suppress(OSError):
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                handle = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                with open(handle, "w") as file:
                    json.dump({"token": token.value, "expires": token.expires}, file)
                os.replace(half, self.path)
            finally:
                half.unlink(missing_ok=True)

    def forget(self, token: Token) -> None:
        """Throw it away; a newer one, that somebody else got since, stays."""
        kept = self.read()
        if kept is None or kept.value == token.value:
            with suppress(OSError):
                self.path.unlink()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody else of this user logs in meanwhile: whoever waited finds the token that the first one kept.

        Who waits too long, or can't, goes on.
        """
        with ExitStack() as stack:
            with suppress(OSError):
                self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                how = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
                handle = os.open(self.path.with_suffix(".lock"), how, 0o600)
                stack.callback(os.close, handle)
                _await(handle)
            yield

    def _content(self) -> bytes:
        handle = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(handle, "rb") as file:
            status = os.fstat(handle)
            private = stat.S_ISREG(status.st_mode) and not status.st_mode & 0o077
            if not private or status.st_uid != os.geteuid():
                raise PermissionError(self.path)
            return file.read(_LIMIT)


def _await(handle: int) -> None:
    """Lock the file, or give up."""
    limit = time.monotonic() + _PATIENCE
    while time.monotonic() < limit:
        with suppress(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(_PAUSE)


def token_file(*identity: str) -> TokenFile:
    """The file for a server and an identity: all that makes one login another one, and no secret."""
    name = hashlib.sha256(canonical(list(identity))).hexdigest()
    return TokenFile(cache_folder() / "rucio" / f"{name}.token")
