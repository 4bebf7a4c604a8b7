"""What a pass remembers for the next: history and proof, never the truth. Deleting it is allowed.

`open_store` gives a `Store`; `Store.history` is what the pure stages may look at, `Store.lease` is the
one lock per owner. SQLAlchemy and the database clients are imported on first use only; on SQLite reading
needs neither.
"""

from __future__ import annotations

from reconciler.store.history import History, empty_history
from reconciler.store.lease import Lease
from reconciler.store.rows import Done, LastTry, Reading, Removal, Retention, Run
from reconciler.store.store import Store, open_store

__all__ = [
    "Done",
    "History",
    "LastTry",
    "Lease",
    "Reading",
    "Removal",
    "Retention",
    "Run",
    "Store",
    "empty_history",
    "open_store",
]
