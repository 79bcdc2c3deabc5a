"""The growth of distinct sentences as a picture, from the numbers of the scale benchmark.

python -m tests.benchmarks.growth_plot results.json growth.png
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.simulate import Heaps

#: Colours that can be told apart with colour-blind eyes (Okabe and Ito 2008).
SERIES = {
    "openi": ("Open-i", "#0072b2"),
    "padchest": ("PadChest", "#d55e00"),
    "simulated": ("simulated", "#009e73"),
}
FITTED_FROM = 1000  # as `Growth.fit`
WIDTH_IN, HEIGHT_IN, DPI = 9.6, 4.2, 100


def main() -> None:
    """Draw what a run of the benchmark has written."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="what bench_scale --json wrote, with the part growth")
    parser.add_argument("plot", type=Path, help="the PNG file to write")
    options = parser.parse_args()
    plot_growth(json.loads(options.results.read_text(encoding="utf-8"))["growth"], options.plot)


def plot_growth(growth: Mapping[str, Any], path: Path) -> None:
    """Draw measured curves (points) and the laws fitted to them (lines), as counts and as shares, to a PNG file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    counts, shares = figure.subplots(1, 2)
    for key, (name, colour) in SERIES.items():
        if key not in growth:
            continue
        part = growth[key]
        law = Heaps(**part["heaps"])
        points = [*part["curve"], [part["sentences"], part["distinct"]]]
        sentences, distinct = ([point[column] for point in points] for column in (0, 1))
        fitted = [n for n in sentences if n >= FITTED_FROM]
        expected = [law.expected(n) for n in fitted]
        counts.plot(sentences, distinct, "o", color=colour, markersize=3, label=_told(name, part))
        counts.plot(fitted, expected, color=colour, linewidth=1)
        shares.plot(sentences, _shares(distinct, sentences), "o", color=colour, markersize=3)
        shares.plot(fitted, _shares(expected, fitted), color=colour, linewidth=1)
    counts.set_yscale("log")
    counts.set_ylabel("distinct sentences")
    shares.set_ylabel("distinct sentences, share of all read")
    shares.set_ylim(0, 1.05)
    for axes in (counts, shares):
        axes.set_xscale("log")
        axes.set_xlabel("sentences read")
        axes.grid(alpha=0.3, linewidth=0.5)
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(
        *counts.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False, fontsize="small"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Software": None})  # which version drew it is no matter


def _shares(parts: Sequence[float], wholes: Sequence[float]) -> list[float]:
    return [part / whole for part, whole in zip(parts, wholes, strict=True)]


def _told(name: str, part: Mapping[str, Any]) -> str:
    law = part["heaps"]
    return f"{name}, {part['reports']:,} reports: {law['k']:.2f} n$^{{{law['beta']:.3f}}}$"


if __name__ == "__main__":
    main()
