"""Plots as PNG. A variant has the same colour in all plots of an experiment, of a set that all can tell apart."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

from skylark_testbed.experiments.definition import Plot
from skylark_testbed.experiments.extras import needed
from skylark_testbed.experiments.summary import Group, Spread

_COLOURS = ("#0072B2", "#56B4E9", "#E69F00", "#D55E00", "#009E73", "#CC79A7")  # Okabe and Ito, Color Universal Design
_MARKS = ("o", "^", "s", "D", "v", "P")
_SIZE_INCHES = (7.2, 4.2)
_DPI = 130


def draw(plot: Plot, groups: Sequence[Group]) -> bytes | None:
    """The plot as PNG; None where nothing was measured for it.

    Raises:
        InvalidArgument: matplotlib is not installed.
    """
    chosen = [group for group in groups if group.matches(plot.where) and set(_metrics(plot)) <= set(group.spreads)]
    if not chosen:
        return None
    figure, axes = _figure()
    colours = {name: _COLOURS[number % len(_COLOURS)] for number, name in enumerate(_variants(groups))}
    _KINDS[plot.kind](axes, plot, chosen, colours)
    axes.set_title(plot.title, fontsize=10)
    axes.set_ylabel(plot.y_label or _metrics(plot)[0])
    axes.grid(axis="y", alpha=0.3)
    axes.legend(fontsize=8)
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=_DPI, bbox_inches="tight")
    return out.getvalue()


def _figure() -> tuple[Any, Any]:
    figure = needed("matplotlib.figure", "report").Figure(figsize=_SIZE_INCHES)
    return figure, figure.add_subplot()


def _lines(axes: Any, plot: Plot, groups: Sequence[Group], colours: Mapping[str, str]) -> None:
    for number, name in enumerate(_variants(groups)):
        own = sorted((group for group in groups if group.variant == name), key=lambda group: float(group.case[plot.x]))
        xs = [float(group.case[plot.x]) for group in own]
        spreads = [group.spreads[_metrics(plot)[0]] for group in own]
        mark = _MARKS[number % len(_MARKS)]
        axes.plot(xs, [one.median for one in spreads], color=colours[name], marker=mark, markersize=4, label=name)
        lows, highs = [one.q1 for one in spreads], [one.q3 for one in spreads]
        axes.fill_between(xs, lows, highs, color=colours[name], alpha=0.2, linewidth=0)
    if plot.published:
        axes.plot(list(plot.published), list(plot.published.values()), "k--x", markersize=5, label="published")
    axes.set_xlabel(plot.x_label or plot.x)
    axes.set_xscale("log" if plot.log_x else "linear")
    if plot.log_y:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)


def _bars(axes: Any, plot: Plot, groups: Sequence[Group], colours: Mapping[str, str]) -> None:
    names, xs = _variants(groups), list(dict.fromkeys(group.case[plot.x] for group in groups))
    width = 0.8 / len(names)
    for number, name in enumerate(names):
        own = [(xs.index(group.case[plot.x]), group) for group in groups if group.variant == name]
        spreads = [group.spreads[_metrics(plot)[0]] for _, group in own]
        axes.bar(
            [at + (number - (len(names) - 1) / 2) * width for at, _ in own],
            [one.median for one in spreads],
            width,
            color=colours[name],
            label=name,
            yerr=[[one.median - one.q1 for one in spreads], [one.q3 - one.median for one in spreads]],
            capsize=2,
        )
    axes.set_xticks(range(len(xs)), [str(x) for x in xs])
    axes.set_xlabel(plot.x_label or plot.x)


def _parts(axes: Any, plot: Plot, groups: Sequence[Group], _colours: Mapping[str, str]) -> None:
    largest = max(groups, key=lambda group: float(group.case[plot.x])).case[plot.x]
    own = sorted((group for group in groups if group.case[plot.x] == largest), key=lambda group: group.variant)
    bottoms = [0.0] * len(own)
    for number, metric in enumerate(_metrics(plot)):
        heights = [group.spreads[metric].median for group in own]
        axes.bar(
            [group.variant for group in own],
            heights,
            bottom=bottoms,
            color=_COLOURS[number % len(_COLOURS)],
            label=metric.removesuffix("_ms"),
        )
        bottoms = [bottom + height for bottom, height in zip(bottoms, heights, strict=True)]
    axes.set_xlabel(f"{plot.x_label or plot.x} {largest}")


_KINDS = {"lines": _lines, "bars": _bars, "parts": _parts}


def _metrics(plot: Plot) -> list[str]:
    return [plot.y] if isinstance(plot.y, str) else plot.y


def _variants(groups: Sequence[Group]) -> list[str]:
    """By name, so that the colours do not depend on which of them came first."""
    return sorted({group.variant for group in groups})


def spread_text(spread: Spread) -> str:
    """A median with its quartiles, for tables."""
    digits = 0 if abs(spread.median) >= 100 else 1 if abs(spread.median) >= 10 else 2
    if spread.n == 1:
        return f"{spread.median:,.{digits}f}"
    return f"{spread.median:,.{digits}f} ({spread.q1:,.{digits}f}–{spread.q3:,.{digits}f})"
