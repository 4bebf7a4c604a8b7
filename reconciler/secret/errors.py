"""Why a secret can't be had, and who must act. No message holds a value, or text that could be one.

They are raised where no other exception is being handled: what a library says of bad input often holds
that input, and must not be found in `__context__` either.
"""

from __future__ import annotations

from reconciler.errors import Denied


class NoSecret(Denied):
    """The operator must act: what a reference names is not there, or can't be read where this runs."""

    reason = "NoSecret"
    who = "operator"


class NoKey(NoSecret):
    """The operator must act: there is no instance key, or it can't be used."""

    reason = "NoInstanceKey"


class BadReference(NoSecret):
    """The author must act: this is no reference to a secret, or no public key."""

    reason = "BadReference"
    who = "author"
