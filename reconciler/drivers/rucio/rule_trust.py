"""Whose marks count: any account of a Rucio can write ours on rules of its own.

Those of the target's account, of the accounts that its settings call former ones, and of accounts that a file
of git names. Natural keys tell the latter: `<account>|…`, and `<account>|` alone where nothing else is known.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Final

from reconciler.drivers.rucio.client import Reader
from reconciler.kind import Ask

# An account by Rucio's generic schema, and after it nothing, or data set, copies and expression.
_KEY: Final = re.compile(r"([A-Za-z0-9_.-]{0,255})\|([^|]+:[^|]+\|[0-9]+\|.*)?", re.DOTALL)


def trusted(client: Reader, accounts: Iterable[str] = ()) -> frozenset[str]:
    """The accounts whose rules may be ours at this target, and these."""
    former = client.settings.get("formerAccounts", ())
    return frozenset((client.server.account, *former, *filter(None, accounts)))


def asking(client: Reader, ask: Ask) -> frozenset[str]:
    """The same for all that is asked for."""
    return trusted(client, (found[1] for key in ask.natural if (found := _KEY.fullmatch(key))))


def of_rules(natural: Collection[str]) -> set[str]:
    """The natural keys that name a rule, not only an account, nor something else."""
    return {key for key in natural if (found := _KEY.fullmatch(key)) and found[2]}
