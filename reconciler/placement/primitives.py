"""What rules on data expand into: copies that we make ourselves, or a rule that Rucio sees to. Pure data.

The kinds DataRule and Lifecycle share these. A `rule` has the spec

    dataset "scope:name", copies, expression, grouping DATASET | ALL | NONE, account (only where the file
    names one), activity, priority, purge, sources (an expression or empty), lastCopy keep | delete, repairs

and an `upload` {dataset, source}. The fact `begun` (ISO 8601) tells a new rule since when its object has had
copies of the data set, and `declared` (absent where its file names a target) which RSEs of that server are
declared and may have its copies: it must select no others; `element` and `uploads` tell an upload on which
RSE and from which folders.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from reconciler.kind import Primitive
from reconciler.placement.copies import REPLICA

RULE: Final = "rule"
UPLOAD: Final = "upload"
RSE: Final = "rse"
MAIN: Final = "main"

PARTS: Final[tuple[Primitive, ...]] = (
    Primitive(
        REPLICA,
        immutable=frozenset({"dataset"}),
        computed={"path": "string"},
        marked="atomic",
        listed="full",
        holds_data=True,
        cadence=timedelta(days=7),
    ),
    Primitive(
        RULE,
        immutable=frozenset({"dataset", "copies", "expression", "grouping", "account"}),
        replace_order="create-first",
        computed={
            "id": "string",
            "state": "string",
            "ok": "integer",
            "replicating": "integer",
            "stuck": "integer",
            "account": "string",
        },
        marked="atomic",
        keyed=True,
        listed="full",
        holds_data=True,
        slow=True,
        undeletes=True,
        cadence=timedelta(days=7),
    ),
    Primitive(
        UPLOAD,
        computed={"files": "integer", "bytes": "integer"},
        marked="natural",
        listed="each",
        slow=True,
    ),
)
