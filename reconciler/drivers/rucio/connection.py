"""Rucio's own client as we use it: our settings, our time-outs, our tokens, whole answers, no retries.

Its methods (client/*.py of the library) make the requests and know what answers mean. How a request is sent,
and how an answer is read, is ours: retrying is the engine's matter, and a broken answer must be an error.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import Any, Final

import certifi
import requests

from reconciler.drivers.rucio.answers import values
from reconciler.drivers.rucio.library import Client, RucioException, build_url
from reconciler.drivers.rucio.login import Server, given_token, request_for_token, token_in
from reconciler.drivers.rucio.tokens import Token
from reconciler.drivers.rucio.translating import by_status
from reconciler.errors import Denied, ReadOnly, Transient
from reconciler.kind import Places
from reconciler.printable import shown

_UNAUTHORIZED: Final = 401
_LATER: Final = (429, 502, 503, 504)  # nobody who knows Rucio answered
_LONGEST_WAIT: Final = 3600.0
# what reads, and has to say so much that it is posted
_POSTED_READINGS: Final = ("/replicas/list", "/replicas/datasets_bulk", "/dids/bulkmeta", "/dids/bulkfiles")


class Connection(Client):  # type: ignore[misc]  # the library has no types
    """An open connection to one server, for one thread. It logs in when it is first used."""

    errors: Final = RucioException

    def __init__(self, server: Server, places: Places) -> None:
        # not super().__init__: that reads files and variables, logs in, and changes sys.argv
        self.server = server
        self.places = places
        self.token: Token | None = None
        self.status = 0  # of the last answer; 0: none yet
        self.host, self.auth_host, self.list_hosts = server.url, server.auth_url, [server.url]
        self.account, self.vo = server.account, server.vo
        self.auth_type = server.auth["type"]
        self.ca_cert, self.timeout = server.ca or certifi.where(), server.timeout
        self.logger = logging.getLogger(__name__)
        self.session = requests.Session()
        self.session.auth = _as_it_is
        # no proxy on the way to this machine
        self.session.trust_env = all(url.startswith("https:") for url in (self.host, self.auth_host))

    def close(self) -> None:
        """Close its sockets."""
        self.session.close()

    def _send_request(
        self, url: str, method: Any, headers: Any = None, data: Any = None, params: Any = None, **more: Any
    ) -> Any:
        """What all methods of the library send by: answers are returned, whatever their status.

        But a token that is refused is thrown away and a new one asked for, once; then it is Denied.
        """
        verb = str(method.value)
        # a list is read as it comes; other answers are short, and read at once
        told = {"data": data, "params": params, "stream": verb == "GET" or bool(more.get("stream"))}
        for token in (self._token, self._new_token):
            asked = {**(headers or {}), "X-Rucio-Auth-Token": token().value}
            answer = self._sent(verb, url, headers=asked, **told)
            if not _is_refused(answer):
                return answer
            answer.close()
        raise self._refused()

    def _load_json_data(self, response: Any) -> Iterator[Any]:
        """Everything that an answer lists. Unlike the library's it is read at once and whole, or an error."""
        where = f"{self.server.url} of target {self.server.target}"
        with response:
            return iter(values(response, where, time.monotonic() + self.server.timeout))

    def _sent(self, method: str, url: str, *, headers: dict[str, str], **told: Any) -> Any:
        common = {"X-Rucio-Account": self.account, "X-Rucio-VO": self.vo, "X-Rucio-Script": "reconciler"}
        # a redirection would take the token to somebody else
        how: dict[str, Any] = {"timeout": self.timeout, "verify": self.ca_cert, "allow_redirects": False}
        self.status = 0
        answer = self.session.request(method, url, headers=common | headers, **how, **told)
        self.status = answer.status_code
        if answer.status_code in _LATER:
            answer.close()
            said = f"{self.server.url} of target {self.server.target} answered {answer.status_code}"
            raise Transient(said, wait=_wait(answer.headers.get("Retry-After", "")))
        return answer

    # -- login -------------------------------------------------------------------------------

    def _token(self) -> Token:
        """The token in use: as given, kept, or new."""
        if self.token is None:
            kept = self.server.kept
            self.token = given_token(self.server, self.places) or kept.read() or self._first_token()
        return self.token

    def _first_token(self) -> Token:
        """A run has many connections to one server, which all begin at once: one of them logs in."""
        with self.server.kept.alone():
            return self.server.kept.read() or self._new_token()

    def _new_token(self) -> Token:
        """Another one than that in use, which is thrown away. Raises Denied where there can be no other."""
        if self.token is not None and self.auth_type == "oidc":
            raise self._refused()
        if self.token is not None:
            self.server.kept.forget(self.token)
        self.token = self._logged_in()
        self.server.kept.keep(self.token)
        return self.token

    def _logged_in(self) -> Token:
        request = request_for_token(self.server, self.places)
        url = build_url(self.auth_host, path=request.path)
        answer = self._sent("GET", url, headers=dict(request.headers), cert=request.certificate)
        with answer:
            if answer.status_code in (_UNAUTHORIZED, 403):
                raise self._refused()
            if not answer.ok:
                said = shown(answer.headers.get("ExceptionMessage", ""), 200)
                where = f"{url} of target {self.server.target}"
                raise by_status(answer.status_code, f"{where}: no login: {answer.status_code} {said}".strip())
            return token_in(answer.headers, self.server)

    def _refused(self) -> Denied:
        server = self.server
        who = server.auth.get("username") or server.auth.get("certificate") or "the bearer of the token"
        hint = "check `account`, `auth` and what they refer to; has the account this identity?"
        said = f"{server.url} of target {server.target} does not let {shown(who)} be account {server.account}"
        return Denied(said, hint=hint)


class ReadingConnection(Connection):
    """A connection that sends nothing that could write."""

    def _send_request(self, url: str, method: Any, *told: Any, **more: Any) -> Any:
        path = url.partition("?")[0].removeprefix(self.host)
        if method.value != "GET" and (method.value, path) not in {("POST", one) for one in _POSTED_READINGS}:
            raise ReadOnly(
                f"a client that only reads {self.server.target} was asked to write ({method.value})"
            )
        return super()._send_request(url, method, *told, **more)


def _as_it_is(request: Any) -> Any:
    """An authentication that adds nothing: without one, `requests` would take it from a person's ~/.netrc."""
    return request


def _is_refused(answer: Any) -> bool:
    """Is it the token that is refused? Rucio answers 401 also where an account may not do something."""
    name = answer.headers.get("ExceptionClass", "CannotAuthenticate")
    return bool(answer.status_code == _UNAUTHORIZED and name == "CannotAuthenticate")


def _wait(said: str) -> float:
    """Retry-After in seconds (RFC 9110 §10.2.3); a date, or nonsense, is no time that we know of."""
    return min(float(said), _LONGEST_WAIT) if said.isascii() and said.isdigit() else 0.0
