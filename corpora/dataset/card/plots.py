"""The plots of a card, as PNG bytes. Drawn with matplotlib's Agg canvas, without its global state or a clock."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from corpora.dataset.card.numbers import BINS, GROUPS, CardNumbers
from corpora.dataset.recipe import SPLITS
from corpora.imaging.extras import need

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOURS = ("#2f6690", "#d9833b", "#5a9367", "#8d5a97", "#b23a48", "#4d4d4d", "#c9a227", "#3a7ca5", "#999999")
_FEATURE = "the data card's plots"


def draw_plots(numbers: CardNumbers, funnel: Mapping[str, int]) -> dict[str, bytes]:
    """Return file name to PNG."""
    plots = {
        "prevalence.png": _prevalence(numbers),
        "unsaid.png": _unsaid(numbers),
        "together.png": _together(numbers),
        "confidence.png": _confidence(numbers),
        "funnel.png": _funnel(funnel),
    }
    plots |= {f"by_{name}.png": _by_group(numbers, name) for name in GROUPS}
    return {name: _png(figure) for name, figure in plots.items()}


def _figure(width: float, height: float) -> tuple[Figure, Any]:
    module = need("matplotlib.figure", "matplotlib", _FEATURE)
    figure = module.Figure(figsize=(width, height), dpi=100, layout="constrained")
    return figure, figure.subplots()


def _png(figure: Figure) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    stream = io.BytesIO()
    # Without the name and version of the software: they are in dataset.json.
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def _bars(axes: Any, numbers: CardNumbers, series: Mapping[str, Any], title: str) -> None:
    places = np.arange(len(numbers.labels))
    height = 0.8 / max(len(series), 1)
    for index, (name, shares) in enumerate(series.items()):
        axes.barh(places + index * height, np.nan_to_num(shares) * 100, height, label=name, color=_COLOURS[index % 9])
    axes.set_yticks(places + 0.4 - height / 2, numbers.labels)
    axes.invert_yaxis()
    axes.set_xlabel("per cent of rows")
    axes.set_title(title)
    axes.legend(fontsize="small")


def _prevalence(numbers: CardNumbers) -> Figure:
    figure, axes = _figure(8, 0.35 * len(numbers.labels) + 1.6)
    series: dict[str, Any] = {
        split: numbers.share(place, "positive") for place, split in enumerate(SPLITS) if numbers.values[place].sum() > 0
    }
    _bars(axes, numbers, series, "Positive, by split")
    return figure


def _unsaid(numbers: CardNumbers) -> Figure:
    figure, axes = _figure(8, 0.35 * len(numbers.labels) + 1.6)
    series = {"uncertain": numbers.share(None, "uncertain"), "not mentioned": numbers.share(None, "blank")}
    _bars(axes, numbers, series, "Uncertain and not mentioned")
    return figure


def _together(numbers: CardNumbers) -> Figure:
    size = 0.45 * len(numbers.labels) + 2.4
    figure, axes = _figure(size, size)
    own = np.maximum(np.diag(numbers.together), 1)
    axes.imshow(numbers.together / own[:, None], cmap="Blues", vmin=0, vmax=1)
    places = range(len(numbers.labels))
    axes.set_xticks(places, numbers.labels, rotation=90)
    axes.set_yticks(places, numbers.labels)
    for row in places:
        for column in places:
            number = int(numbers.together[row, column])
            if number:
                dark = number / own[row] > 0.5
                axes.text(column, row, number, ha="center", va="center", fontsize=7, color="white" if dark else "black")
    axes.set_title("Positive together (number; shade: share of the row's label)")
    return figure


def _confidence(numbers: CardNumbers) -> Figure:
    module = need("matplotlib.figure", "matplotlib", _FEATURE)
    columns = 3
    rows = max(-(-len(numbers.labels) // columns), 1)
    figure = module.Figure(figsize=(9, 1.7 * rows + 0.6), dpi=100, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    edges = np.linspace(0, 1, BINS + 1)
    for place, axes in enumerate(grid.ravel()):
        if place >= len(numbers.labels):
            axes.set_axis_off()
            continue
        counts = numbers.confidence[place]
        axes.bar(edges[:-1], counts, width=1 / BINS, align="edge", color=_COLOURS[0])
        axes.set_title(numbers.labels[place], fontsize="small")
        axes.set_xlim(0, 1)
        if counts.sum():
            axes.set_yscale("symlog")
            axes.set_ylim(0, 2 * counts.max())
        else:
            axes.text(0.5, 0.5, "no probabilities", ha="center", va="center", transform=axes.transAxes, fontsize=8)
    figure.suptitle("Probability of positive, as the reader of the reports gave it (rows, logarithmic)")
    return figure  # type: ignore[no-any-return]


def _by_group(numbers: CardNumbers, group: str) -> Figure:
    figure, axes = _figure(8, 0.45 * len(numbers.labels) + 1.8)
    series = {
        f"{name} ({rows:,})": sums / rows if rows else sums * np.nan
        for name, (rows, sums) in numbers.groups[group].items()
    }
    _bars(axes, numbers, series, f"Positive, by {group}")
    return figure


def _funnel(steps: Mapping[str, int]) -> Figure:
    figure, axes = _figure(8, 0.45 * len(steps) + 1)
    places = np.arange(len(steps))
    axes.barh(places, list(steps.values()), color=_COLOURS[0])
    axes.set_yticks(places, list(steps))
    axes.invert_yaxis()
    most = max([*steps.values(), 1])
    for place, number in zip(places, steps.values(), strict=True):
        axes.text(number + most * 0.01, place, f"{number:,}", va="center", fontsize=9)
    axes.set_xlim(0, most * 1.15)
    axes.set_title("From what was there to rows")
    return figure
