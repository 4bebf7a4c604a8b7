"""The simulated back-end: a world in one SQLite file, with latency and faults.

For the tutorial, the laws, benches and rehearsal. One generic hand serves every primitive kind: it
stores the spec, invents the computed attributes and is Ready after `buildSeconds`. A simulated world
survives kill -9 of everyone who uses it; it does not promise to survive a power cut.
"""

from __future__ import annotations

from reconciler.drivers.simulated.client import Reader, Writer, facts
from reconciler.drivers.simulated.hand import GenericHand
from reconciler.drivers.simulated.settings import SETTINGS
from reconciler.kind import Driver

DRIVER = Driver(
    name="simulated",
    settings=SETTINGS,
    reader=Reader,
    writer=Writer,
    hands={},
    facts=facts,
    serves_every_kind=GenericHand,
    place=("world",),
    traits=lambda _target: {"rehearsal": True},
)
