"""The embedded data lake: directories as storage elements, and verified copies of data sets in them.

Everything that we make carries a receipt; unmarked directories are left alone. Layout on disk: `layout.py`.
"""

from __future__ import annotations

from reconciler.drivers.storage.client import Reader, Writer, facts
from reconciler.drivers.storage.element import ElementHand
from reconciler.drivers.storage.layout import ELEMENT, REPLICA
from reconciler.drivers.storage.replica import ReplicaHand
from reconciler.kind import Driver

_SETTINGS = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Settings of a storage target",
    "description": "A directory that holds storage elements, and one from which data sets are taken in.",
    "type": "object",
    "additionalProperties": False,
    "required": ["path"],
    "properties": {
        "path": {
            "title": "Path",
            "description": "The directory of the lake at this target. Relative: below our data folder, made "
            "when needed. Absolute: it must be there (mounted), else the target can't be read.",
            "type": "string",
            "minLength": 1,
            "maxLength": 1024,
            "examples": ["sites/recas/disk", "/srv/lake"],
        },
        "uploads": {
            "title": "Uploads",
            "description": "The directory below which `source` of a DataRule is looked for, like `path`.",
            "type": "string",
            "minLength": 1,
            "maxLength": 1024,
            "examples": ["uploads/data"],
        },
    },
}

DRIVER = Driver(
    name="storage",
    settings=_SETTINGS,
    reader=Reader,
    writer=Writer,
    hands={ELEMENT: ElementHand(), REPLICA: ReplicaHand()},
    facts=facts,
    write_seconds=6 * 3600.0,  # a large data set is one write; it goes on where it was if the run ends
    place=("path",),
)
