"""How we log in: what a target's settings say of its server and of us, and the token that comes of it.

Source: Rucio's REST interface, `GET /auth/userpass` and `GET /auth/x509`, which give a token in the header
X-Rucio-Auth-Token and its end in X-Rucio-Auth-Token-Expires, an RFC 1123 date that ends in "UTC"
(lib/rucio/web/rest/flaskapi/v1/auth.py).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from reconciler.drivers.rucio.tokens import Token, TokenFile, token_file
from reconciler.errors import Denied
from reconciler.kind import Places
from reconciler.model import Target
from reconciler.printable import printable


@dataclass(frozen=True, slots=True)
class Server:
    """Where a target's Rucio is, and who we are there. `ca`: a path; empty: the authorities of certifi."""

    target: str
    url: str
    auth_url: str
    account: str
    vo: str
    ca: str
    timeout: float
    auth: Mapping[str, str]

    @property
    def kept(self) -> TokenFile:
        """Where its token is kept."""
        who = self.auth.get("username") or self.auth.get("certificate", "")
        return token_file(self.url, self.auth_url, self.vo, self.account, self.auth["type"], who)


def server_of(target: Target) -> Server:
    """What the settings of a target say."""
    settings: Mapping[str, Any] = target.settings
    url = str(settings["url"]).rstrip("/")
    return Server(
        target.name,
        url,
        str(settings.get("authUrl", url)).rstrip("/"),
        str(settings["account"]),
        str(settings.get("vo", "def")),
        str(settings.get("ca", "")),
        target.timeout,
        settings["auth"],
    )


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent to get a token: `path` is below the address for login, `certificate` two files."""

    path: str
    headers: Mapping[str, str]
    certificate: tuple[str, str] | None = None


def given_token(server: Server, places: Places) -> Token | None:
    """The token that the settings name; None: one has to be asked for. Raises Denied."""
    if server.auth["type"] != "oidc":
        return None
    return Token(_sendable(places.secret(server.auth["token"]), "token", server))


def request_for_token(server: Server, places: Places) -> Request:
    """How to ask for one. Raises Denied where what it takes can't be had."""
    if server.auth["type"] == "userpass":
        password = _sendable(places.secret(server.auth["password"]), "password", server)
        user = {"X-Rucio-Username": server.auth["username"], "X-Rucio-Password": password}
        return Request("auth/userpass", user)
    return Request("auth/x509", {}, _certificate(server))


def token_in(headers: Mapping[str, str], server: Server) -> Token:
    """The token of an answer. Raises Denied if there is none."""
    value = headers.get("X-Rucio-Auth-Token", "")
    if not value:
        hint = "check `authUrl` in the target's settings"
        raise Denied(f"{server.auth_url} of target {server.target} gave no token", hint=hint)
    return Token(value, _moment(headers.get("X-Rucio-Auth-Token-Expires", "")))


def _moment(said: str) -> float:
    try:
        return datetime.strptime(said, "%a, %d %b %Y %H:%M:%S UTC").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return 0.0


def _sendable(secret: str, what: str, server: Server) -> str:
    """A header can't hold everything, and what it refuses would be in the message of the library."""
    stripped = secret.strip()
    if stripped and stripped.isprintable() and stripped.isascii():
        return stripped
    raise Denied(f"the {what} of target {server.target} can't be sent: expected printable ASCII, on one line")


def _certificate(server: Server) -> tuple[str, str]:
    certificate, key = server.auth["certificate"], server.auth["key"]
    for path in (certificate, key):
        if not os.path.isfile(path):
            raise Denied(f"target {server.target}: there is no file {printable(path)}")
    if os.stat(key).st_mode & 0o077:
        hint = f"chmod 600 {printable(key)}"
        raise Denied(f"target {server.target}: others can read the key {printable(key)}", hint=hint)
    if not server.auth_url.startswith("https:"):
        raise Denied(f"target {server.target}: a certificate needs an address with https")
    return certificate, key
