"""What Rucio's errors mean: who must act. The classes are those of rucio.common.exception, by their names."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any, Final

from reconciler.errors import BackendError, Conflict, Denied, Rejected, Transient
from reconciler.printable import shown

_LONGEST: Final = 300  # characters of what a server says


class Missing(Rejected):
    """The author must act: what was asked for is not there (any more)."""

    reason = "Missing"


class Exists(Conflict):
    """Time must act: what was to be made is there already, and was not when we looked."""

    reason = "Exists"


_ACCOUNT: Final = "the operator of Rucio can give the account the right to it"
_ROOM: Final = "the operator of Rucio can raise the account's limit there"

_MISSING: Final[Mapping[str, str]] = {
    "AccountNotFound": "correct the account, or an operator declares a DataAccount",
    "DataIdentifierNotFound": "correct `dataset`, name a folder in `source`, or declare a Dataset",
    "IdentityNotFound": "",
    "KeyNotFound": "",
    "LifetimeExceptionNotFound": "",
    "ReplicaNotFound": "",
    "RequestNotFound": "",
    "RSEAttributeNotFound": "",
    "RSENotFound": "correct the storage element's name, or an operator declares a StorageElement",
    "RuleNotFound": "",
    "ScopeNotFound": "correct the scope, or an operator declares a Scope",
    "SourceNotFound": "",
    "SubscriptionNotFound": "",
}
_EXISTS: Final = (
    "DataIdentifierAlreadyExists", "Duplicate", "DuplicateContent", "DuplicateRule", "FileAlreadyExists",
    "FileReplicaAlreadyExists", "LifetimeExceptionDuplicate", "SubscriptionDuplicate",
)  # fmt: skip
_DENIED: Final[Mapping[str, str]] = {
    "AccessDenied": _ACCOUNT,
    "CannotAuthenticate": "check the account and its login in the target's settings",
    "CannotAuthorize": _ACCOUNT,
    "IdentityError": "check the account and its login in the target's settings",
    "InsufficientAccountLimit": _ROOM,
    "ManualRuleApprovalBlocked": _ACCOUNT,
    "RSEAccessDenied": _ACCOUNT,
    "RSEOverQuota": _ROOM,
    "RSEWriteBlocked": "the operator of Rucio has closed the storage element for writing",
    "ScopeAccessDenied": _ACCOUNT,
    "SourceAccessDenied": _ACCOUNT,
    "VONotFound": "check `vo` in the target's settings",
}
_TRANSIENT: Final = (
    "DatabaseException", "FullStorage", "ReplicaIsLocked", "ReplicationRuleCreationTemporaryFailed",
    "ResourceTemporaryUnavailable", "RSENotConnected", "ServerConnectionException", "ServiceUnavailable",
    "TransferToolTimeout", "TransferToolWrongAnswer",
)  # fmt: skip
_BY_STATUS: Final[Mapping[int, type[BackendError]]] = {
    401: Denied,
    403: Denied,
    404: Missing,
    408: Transient,
    409: Exists,
    429: Transient,
}


def ours(error: Exception, status: int, what: str) -> BackendError:
    """A RucioException as one of ours. `status` is that of the answer it came with, 0: it came with none.

    Anything that Rucio does not name is judged by the status: 5xx Transient, 4xx Rejected. But what it calls
    invalid stays so, though it answers 500 to some of it.
    """
    name, said = type(error).__name__, said_by(error)
    message = f"{what}: {name}: {said}" if said else f"{what}: {name}"
    if name in _DENIED:
        return Denied(message, hint=_DENIED[name])
    if name in _MISSING:
        return Missing(message, hint=_MISSING[name])
    for names, sort in ((_EXISTS, Exists), (_TRANSIENT, Transient)):
        if name in names:
            return sort(message)
    if name == "RucioException":  # an answer with no class at all, or with one that the client does not know
        return by_status(status, message)
    invalid = name.startswith("Invalid") or name == "InputValidationError"
    return Rejected(message) if invalid or status < 500 else Transient(message)


def by_status(status: int, message: str) -> BackendError:
    """The same where there is only a status."""
    if status in _BY_STATUS:
        return _BY_STATUS[status](message)
    if status >= 500:
        return Transient(message)
    if 300 <= status < 400:
        return BackendError(f"{message}: answered with a redirection ({status})", hint="is `url` right?")
    return Rejected(message) if status >= 400 else BackendError(message)


def said_by(error: Exception) -> str:
    """What an error says, on one line, printable, and not endless."""
    first: Any = next((one for one in error.args if one), "")
    return shown(" ".join(str(first).split()), _LONGEST)


def reason(error: BaseException) -> str:
    """Why a connection failed: what the operating system or TLS says, else the name of the error.

    What libraries say beside that holds whole requests.
    """
    said = [str(one.strerror) for one in _causes(error) if isinstance(one, OSError) and one.strerror]
    return shown(said[-1] if said else type(error).__name__, _LONGEST)


def is_distrust(error: BaseException) -> bool:
    """Was it TLS that failed, and not because somebody hung up?"""
    causes = _causes(error)
    hung_up = any(isinstance(one, (ssl.SSLEOFError, ssl.SSLZeroReturnError)) for one in causes)
    return not hung_up and any(isinstance(one, ssl.SSLError) for one in causes)


def _causes(error: BaseException) -> list[BaseException]:
    """An error, and what it came from; libraries keep that in several places."""
    seen: list[BaseException] = []
    found: BaseException | None = error
    while found is not None:
        seen.append(found)
        near = [found.__cause__, found.__context__, getattr(found, "reason", None), *found.args]
        found = next((one for one in near if isinstance(one, BaseException) and one not in seen), None)
    return seen
