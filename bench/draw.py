"""Time against the number of objects, as a picture: `python -m bench.draw`, in bench/out/growth.svg, .png."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from bench.__main__ import machine
from bench.command import Sample
from bench.field import Field
from bench.rows import created

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OUT = Path(__file__).parent / "out"
SIZES = (1_000, 2_000, 5_000, 10_000, 20_000, 30_000)
Series = dict[str, dict[str, list[float]]]

# name → (label, colour, marker)
LINES: Mapping[str, tuple[str, str, str]] = {
    "create": ("create all (50 ms a call)", "#b5532a", "s"),
    "plan-cold": ("quiet plan, nothing cached", "#3f6fb0", "^"),
    "validate-cold": ("validate, cold", "#6a9a3d", "D"),
    "plan-warm": ("quiet plan, warm", "#1f3d6b", "o"),
}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.draw", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, metavar="N")
    parser.add_argument("--repeat", type=int, default=3, metavar="N", help="of how many runs the median is")
    parser.add_argument("--again", action="store_true", help="only draw what was measured before")
    arguments = parser.parse_args(argv)
    kept = OUT / "growth.json"
    if not arguments.again:
        OUT.mkdir(exist_ok=True)
        found = {"machine": machine(), "series": measure(sorted(arguments.sizes), arguments.repeat)}
        kept.write_text(json.dumps(found, indent=2) + "\n")
    draw(json.loads(kept.read_text()))
    print(OUT / "growth.svg", OUT / "growth.png", kept, sep="\n")
    return 0


def measure(sizes: Sequence[int], repeat: int) -> Series:
    """Seconds by line and number of objects: all runs, sorted."""
    series: Series = {name: {} for name in LINES}
    for objects in sizes:
        with tempfile.TemporaryDirectory(prefix="reconciler-bench-") as folder:
            place = Field(Path(folder), repeat)
            lines = _runs(place, objects)
            for number in range(repeat):
                for name, run in lines.items():
                    if name != "create" or number == 0:
                        sys.stderr.write(f"{name} {objects} …\n")
                        series[name].setdefault(str(objects), []).append(round(run().seconds, 3))
    for runs in series.values():
        for seconds in runs.values():
            seconds.sort()
    return series


def _runs(place: Field, objects: int) -> dict[str, Callable[[], Sample]]:
    """The creating comes first: what it made is what the plans look at; the warm plan follows a cold one."""
    ground = place.ground("draw", objects)

    def cold(run: Callable[[], Sample]) -> Callable[[], Sample]:
        def forgetful() -> Sample:
            ground.forget_cache()
            return run()

        return forgetful

    return {
        "create": lambda: created(ground),
        "validate-cold": cold(ground.validate),
        "plan-cold": cold(ground.plan),
        "plan-warm": ground.plan,
    }


def draw(found: Mapping[str, Any]) -> None:
    """One panel with all lines, one with those of a converged repository from near."""
    from matplotlib.figure import Figure  # noqa: PLC0415  heavy, and only here

    figure = Figure(figsize=(11, 5), layout="constrained")
    left, right = figure.subplots(1, 2)
    names = tuple(LINES)
    _panel(left, found["series"], names, names[:1])
    _panel(right, found["series"], names[1:], names[1:])
    left.set_title("all of them", loc="left", fontsize=10)
    right.set_title("without creating", loc="left", fontsize=10)
    left.set_ylabel("seconds, whole process")
    title = "Time against the number of objects, on 20 simulated sites that answer after 50 ms"
    figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    caption = f"Median and range of the runs; dashed: linear from the first point. {found['machine']}"
    figure.supxlabel(caption, x=0.01, ha="left", fontsize=8.5, color="#555555")
    figure.savefig(OUT / "growth.svg", metadata={"Date": None})
    figure.savefig(OUT / "growth.png", dpi=150)


def _panel(panel: Axes, series: Series, names: Sequence[str], compared: Sequence[str]) -> None:
    """Lines with the range of their runs; those `compared` also as if they grew linearly."""
    for name in names:
        label, colour, marker = LINES[name]
        points = {int(objects): runs for objects, runs in series[name].items()}
        sizes = sorted(points)
        middle = [median(points[objects]) for objects in sizes]
        low = [value - points[objects][0] for objects, value in zip(sizes, middle, strict=True)]
        high = [points[objects][-1] - value for objects, value in zip(sizes, middle, strict=True)]
        panel.errorbar(
            sizes, middle, yerr=[low, high], label=label, color=colour, marker=marker, markersize=5, capsize=2
        )
        if name not in compared:
            continue
        straight = [middle[0] * objects / sizes[0] for objects in (sizes[0], sizes[-1])]
        panel.plot(
            (sizes[0], sizes[-1]), straight, color=colour, linestyle=(0, (4, 3)), linewidth=0.9, alpha=0.7
        )
    _frame(panel)


def _frame(panel: Axes) -> None:
    panel.set_xlabel("objects (files)")
    panel.set_xlim(left=0)
    panel.set_ylim(bottom=0)
    panel.xaxis.set_major_formatter(lambda value, _: f"{int(value):,}")
    panel.grid(color="#e4e4e4")
    panel.spines[["top", "right"]].set_visible(False)
    panel.legend(frameon=False, loc="upper left")


if __name__ == "__main__":
    sys.exit(main())
