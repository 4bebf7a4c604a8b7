"""A data lake that Rucio keeps (https://rucio.github.io): storage elements, data sets, replication rules.

Rucio moves the data; we say what is wanted, and read what became of it. Its own client library is loaded by
the first connection to such a target, and by nothing else.
"""

from __future__ import annotations

from reconciler.drivers.rucio.account import AccountHand
from reconciler.drivers.rucio.client import Reader, Writer
from reconciler.drivers.rucio.dataset import DatasetHand
from reconciler.drivers.rucio.element import RSE, ElementHand
from reconciler.drivers.rucio.rule import RuleHand
from reconciler.drivers.rucio.rule_words import RULE
from reconciler.drivers.rucio.scope import ScopeHand
from reconciler.drivers.rucio.settings import SETTINGS
from reconciler.drivers.rucio.subscription import SubscriptionHand
from reconciler.drivers.rucio.upload import UploadHand
from reconciler.kind import Driver

DRIVER = Driver(
    name="rucio",
    settings=SETTINGS,
    reader=Reader,
    writer=Writer,
    hands={
        RSE: ElementHand(),
        RULE: RuleHand(),
        "upload": UploadHand(),
        "DataAccount": AccountHand(),
        "Dataset": DatasetHand(),
        "Scope": ScopeHand(),
        "Subscription": SubscriptionHand(),
    },
    write_seconds=6 * 3600.0,  # many rules are made by one call after the other, and files are uploaded
    place=("url", "vo"),  # accounts of one server see the same things
)
