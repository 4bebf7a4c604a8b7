"""`python -m bench`: one line of JSON per row on stdout, a table for people on stderr."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from bench.field import Field, Goal, Measured, Row
from bench.rows import ROWS

QUICK = 0.1  # of every number of objects
WIDTH = 60  # of a title
_GOALS = ("seconds", "mib", "calls", "ratio", "blocked", "ansible")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure; 0 when every row reaches its goal, 1 when one does not or could not be measured."""
    arguments = _arguments(argv)
    chosen = [row for row in ROWS if not arguments.only or row.name in arguments.only]
    repeat, scale = (1, QUICK) if arguments.quick else (arguments.repeat, 1.0)
    results = []
    with tempfile.TemporaryDirectory(prefix="reconciler-bench-") as folder:
        place = Field(Path(folder), repeat, scale)
        for row in chosen:
            results.append(_measured(row, place))
            print(json.dumps(results[-1]), flush=True)
    sys.stderr.write(table(results))
    return 0 if all(result["met"] for result in results) else 1


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    names = [row.name for row in ROWS]
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--repeat", type=int, default=5, metavar="N", help="of how many runs the median is")
    parser.add_argument("--quick", action="store_true", help="one run with a tenth of the objects, to try it")
    return parser.parse_args(argv)


def _measured(row: Row, place: Field) -> dict[str, Any]:
    """One row; what goes wrong in it is said in it, and the others go on."""
    began = time.perf_counter()
    sys.stderr.write(f"{row.name} …\n")
    try:
        result = result_of(row, row.measure(place))
    except Exception as error:  # noqa: BLE001  one row must not hold up the others
        result = {
            "name": row.name,
            "error": f"{type(error).__name__}: {error}",
            "target": _goal(row.goal),
            "met": False,
        }
    return {**result, "took": round(time.perf_counter() - began, 1)}


def result_of(row: Row, measured: Measured) -> dict[str, Any]:
    """The numbers of a row: medians of time, the worst of memory and calls."""
    seconds = [sample.seconds for sample in measured.samples]
    result: dict[str, Any] = {
        "name": row.name,
        "objects": measured.objects,
        "seconds": round(median(seconds), 3),
        "spread": [round(min(seconds), 3), round(max(seconds), 3)],
        "cpu": round(median(sample.cpu for sample in measured.samples), 3),
        "mib": round(max(sample.mib for sample in measured.samples), 1),
        "calls": max(sample.calls for sample in measured.samples),
    }
    if measured.ratios:
        result["ratio"] = round(median(measured.ratios), 3)
        result["ratios"] = [round(ratio, 3) for ratio in measured.ratios]
    for name in ("blocked", "ansible"):
        if getattr(measured, name) is not None:
            result[name] = getattr(measured, name)
    goal = _goal(row.goal)
    return {**result, "target": goal, "met": all(result[name] <= limit for name, limit in goal.items())}


def _goal(goal: Goal) -> dict[str, float]:
    named = {name: getattr(goal, name) for name in _GOALS}
    return {name: limit for name, limit in named.items() if limit is not None}


def table(results: Sequence[dict[str, Any]]) -> str:
    """What people read at the end."""
    titles = {row.name: row.title for row in ROWS}
    head = f"  {'':{WIDTH}} {'time':>9} {'spread':>13} {'memory':>9} {'calls':>6}  goal"
    lines = [f"{'✓' if result['met'] else '✗'} {_line(result, titles)}" for result in results]
    return "\n".join(["", machine(), "", head, *lines, ""])


def _line(result: dict[str, Any], titles: dict[str, str]) -> str:
    title = f"{titles[result['name']]:{WIDTH}}"
    if "error" in result:
        return f"{title} {result['error'].splitlines()[0][:120]}"
    spread = "–".join(f"{seconds:.2f}" for seconds in result["spread"])
    numbers = f"{result['seconds']:7.2f} s {spread:>13} {result['mib']:5.0f} MiB {result['calls']:6}"
    goals = [f"{name} ≤ {limit:g}{_got(result, name)}" for name, limit in result["target"].items()]
    return f"{title} {numbers}  {', '.join(goals)}"


def _got(result: dict[str, Any], name: str) -> str:
    """What has no column of its own."""
    return f" ({result[name]:g})" if name in ("ratio", "blocked", "ansible") else ""


def machine() -> str:
    """Where this was measured: cores, memory, Python."""
    gibibytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{os.cpu_count()} cores, {gibibytes:.0f} GiB, {python}, {platform.system()} {platform.machine()}"


if __name__ == "__main__":
    sys.exit(main())
