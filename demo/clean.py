"""Remove the demo with everything that runs in it: `make demo-clean`."""

from __future__ import annotations

import shutil
from pathlib import Path

from demo.services import end, machines, supervisors

DEMO = Path(__file__).parents[1] / ".demo"


def remove() -> None:
    """End the services of its machines, then remove the folder."""
    for data in DEMO.glob("home/.local/share/reconciler/*"):
        end(sorted(supervisors(data)))
        end([pid for _, root in machines(data) for pid in _inside(root)])
    shutil.rmtree(DEMO, ignore_errors=True)


def _inside(root: Path) -> list[int]:
    """The processes that were started for this machine: their environment names its directory."""
    word = f"RECONCILER_ROOT={root}".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*/environ"):
        try:
            if word in entry.read_bytes().split(b"\0"):
                found.append(int(entry.parent.name))
        except OSError:
            continue
    return found


def _remove_real() -> None:
    """What `make demo-machines` left when it was killed."""
    if (DEMO.parent / ".demo-machines").exists():
        from demo import machines as real  # noqa: PLC0415  needs the environment; plain Python has none

        real.remove()


if __name__ == "__main__":
    remove()
    _remove_real()
