"""How a message reaches its receiver: by HTTP or by mail. Below `notify`.

Addresses of webhooks and mail servers are references (`reconciler.secret`). They are resolved only here, when
sending, and what they stand for appears in no message, not even in an error. Redirects are not followed: a
token in a URL must not travel to another host.
"""

from __future__ import annotations

import http.client
import json
import os
import smtplib
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from email.message import EmailMessage
from email.policy import SMTP
from typing import Any, Final
from urllib.parse import SplitResult, unquote, urlsplit

from reconciler.model import Json
from reconciler.secret import Generated, NoSecret, is_reference, parse, read
from reconciler.settings import Notify

TIMEOUT: Final = 10.0  # seconds for one answer


class NotSentError(Exception):
    """Why a receiver could not be told, in words that hold nothing secret."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *arguments: Any) -> None:
        """Follow none: the answer is then an error with the status of the redirect."""


def post(webhook: str, body: Mapping[str, Json]) -> None:
    """POST the JSON to the URL that the reference `webhook` stands for. Raises NotSentError."""
    url = resolved(webhook)
    if urlsplit(url).scheme not in ("http", "https"):
        raise NotSentError("the reference does not hold an http:// or https:// URL")
    data = json.dumps(body).encode()
    headers = {"Content-Type": "application/json", "User-Agent": "reconciler"}
    request = urllib.request.Request(url, data, headers, method="POST")  # noqa: S310  the scheme is checked
    try:
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=TIMEOUT) as answer:
            answer.read(1)
    except urllib.error.HTTPError as error:
        error.close()
        redirected = "; redirects are not followed, name the final URL" if 300 <= error.code < 400 else ""
        raise NotSentError(f"answered with status {error.code}{redirected}") from None
    except urllib.error.URLError as error:
        raise NotSentError(_why(error.reason)) from None
    except (OSError, http.client.HTTPException) as error:
        raise NotSentError(_why(error)) from None


def _why(error: object) -> str:
    """What went wrong on the way, without the address: the system's words, or the sort of error."""
    if isinstance(error, TimeoutError):
        return f"no answer within {TIMEOUT:.0f} s"
    if isinstance(error, OSError) and error.errno is not None and not isinstance(error, ssl.SSLError):
        return os.strerror(error.errno) if error.errno > 0 else "its host is not known"
    return f"no connection ({type(error).__name__})"


def send(receiver: Notify, text: str, about: str) -> None:
    """Mail a text with a subject through the receiver's server. Raises NotSentError."""
    server = urlsplit(_smtp_url(receiver))
    message = EmailMessage(policy=SMTP)
    message["Subject"], message["To"], message["From"] = (
        about,
        receiver.mail,
        receiver.sender or receiver.mail,
    )
    message.set_content(text)
    try:
        with _connected(server) as session:
            if server.username:
                session.login(unquote(server.username), unquote(server.password or ""))
            session.send_message(message)
    except smtplib.SMTPResponseException as error:
        raise NotSentError(f"the mail server answered with {error.smtp_code}") from None
    except smtplib.SMTPRecipientsRefused:
        raise NotSentError("the mail server refuses this address") from None
    except (OSError, smtplib.SMTPException) as error:
        raise NotSentError(_why(error)) from None


def _smtp_url(receiver: Notify) -> str:
    """`smtp://[user:password@]host[:port]` or `smtps://…`; a bare host[:port] is taken as the former."""
    address = resolved(receiver.smtp) if is_reference(receiver.smtp) else receiver.smtp or "localhost"
    url = address if "://" in address else f"smtp://{address}"
    if urlsplit(url).scheme not in ("smtp", "smtps") or not urlsplit(url).hostname:
        raise NotSentError("`smtp` does not hold smtp://host:port or smtps://host:port")
    return url


def _connected(server: SplitResult) -> smtplib.SMTP:
    """A session; encrypted wherever the server offers it, and always before a password is sent."""
    host, context = server.hostname or "", ssl.create_default_context()
    if server.scheme == "smtps":
        return smtplib.SMTP_SSL(host, server.port or 465, timeout=TIMEOUT, context=context)
    session = smtplib.SMTP(host, server.port or 25, timeout=TIMEOUT)
    session.ehlo()
    local = host in ("localhost", "127.0.0.1", "::1") and not server.username
    if session.has_extn("starttls") and not local:
        session.starttls(context=context)
    elif server.username:
        session.close()
        raise NotSentError("the mail server offers no encryption, so the password was not sent: use smtps://")
    return session


def resolved(reference: str) -> str:
    """What the reference to an address stands for. Raises NotSentError."""
    trouble = "expected a reference: env:NAME or file:/path#key"
    try:
        named = parse(reference)
        if not isinstance(named, Generated):
            return read(named)
    except NoSecret as error:
        trouble = str(error).removeprefix(f"{reference}: ")  # the line begins with it
    raise NotSentError(trouble)


__all__ = ["NotSentError", "is_reference", "post", "resolved", "send"]
