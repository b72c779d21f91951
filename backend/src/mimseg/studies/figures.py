"""The pictures of a report, as PNG by matplotlib without a display. Everything drawn was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from mimseg.studies.statistics import SMOOTHING, Estimate, smooth

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {"scratch": "#6b7280", "SimCLR": "#d97706", "MAE": "#2563eb", "SimMIM": "#059669"}
OTHERS = ("#7c3aed", "#db2777", "#0891b2", "#65a30d")
MARKERS = "osD^vP*X"
DPI = 150
FLOOR = "reached without looking at the image"


@dataclass(frozen=True)
class Curve:
    """Validation Dice of one run at its steps."""

    name: str
    steps: Sequence[int]
    values: Sequence[float]


@dataclass(frozen=True)
class Point:
    """A row at a place of the horizontal axis."""

    name: str
    x: float
    estimate: Estimate
    group: str


def draw_convergence(
    target: IO[bytes], curves: Sequence[Curve], thresholds: Sequence[float], floor: float | None
) -> None:
    """Validation curves, one panel raw and one smoothed, a thin line a seed."""
    figure, (raw, smoothed) = _figure(1, 2, (10, 3.8), sharey=True)
    names = list(dict.fromkeys(curve.name for curve in curves))
    for number, curve in enumerate(curves):
        colour = _colour(curve.name, names.index(curve.name))
        label = None if any(earlier.name == curve.name for earlier in curves[:number]) else curve.name
        raw.plot(curve.steps, curve.values, color=colour, linewidth=1, label=label)
        smoothed.plot(curve.steps[SMOOTHING - 1 :], smooth(curve.values), color=colour, linewidth=1.4, label=label)
    for value in thresholds:
        smoothed.axhline(value, color="black", linewidth=0.7, linestyle=":")
    for axes, title in ((raw, "as measured"), (smoothed, f"mean of {SMOOTHING} validations")):
        _floor(axes, floor)
        axes.set(title=title, xlabel="fine-tuning step")
        axes.grid(alpha=0.25)
    raw.set_ylabel("validation Dice")
    _legend(raw)
    _save(figure, target)


def draw_estimates(target: IO[bytes], names: Sequence[str], estimates: Sequence[Estimate], floor: float | None) -> None:
    """One row an entry: mean, interval over subjects, and a dot a seed."""
    figure, axes = _figure(1, 1, (7.5, 1.2 + 0.34 * len(names)))
    for number, (name, found) in enumerate(zip(names, estimates, strict=True)):
        row, colour = -number, _colour(name, number)
        axes.plot(found.interval, (row, row), color=colour, linewidth=2, solid_capstyle="butt")
        axes.plot(found.seeds, [row] * len(found.seeds), ".", color=colour, markersize=5, alpha=0.6)
        axes.plot(found.mean, row, "o", color=colour, markersize=7)
    axes.set_yticks([-number for number in range(len(names))], names)
    axes.set(xlabel="mean foreground Dice", ylim=(0.6 - len(names), 0.6))
    if floor is not None:
        axes.axvline(floor, color="black", linewidth=0.8, linestyle="--", label=FLOOR)
    axes.grid(alpha=0.25, axis="x")
    _legend(axes)
    _save(figure, target)


def draw_lines(
    target: IO[bytes],
    places: Sequence[str],
    series: Mapping[str, Sequence[Estimate | None]],
    label: str,
    floor: float | None,
) -> None:
    """Dice at a few places of the horizontal axis: a line a start, bars for the range over seeds."""
    figure, axes = _figure(1, 1, (6.5, 3.8))
    for number, (name, estimates) in enumerate(series.items()):
        shift = 0.08 * (number - (len(series) - 1) / 2)
        found = [(place, item) for place, item in enumerate(estimates) if item is not None]
        if not found:
            continue
        below = [item.mean - min(item.seeds) for _, item in found]
        above = [max(item.seeds) - item.mean for _, item in found]
        axes.errorbar(
            [place + shift for place, _ in found], [item.mean for _, item in found], yerr=(below, above),
            color=_colour(name, number), marker="o", capsize=3, linewidth=1.6, label=name,
        )  # fmt: skip
    _floor(axes, floor)
    axes.set_xticks(range(len(places)), places)
    axes.set(xlabel=label, ylabel="mean foreground Dice", xlim=(-0.4, len(places) - 0.6))
    axes.grid(alpha=0.25)
    _legend(axes)
    _save(figure, target)


def draw_cost(target: IO[bytes], points: Sequence[Point], label: str, floor: float | None) -> None:
    """Dice over cost on a logarithmic axis, a marker a row, bars for the range over seeds."""
    figure, axes = _figure(1, 1, (7.5, 4.2))
    groups = list(dict.fromkeys(point.group for point in points))
    for number, point in enumerate(points):
        colour = _colour(point.group, groups.index(point.group))
        found = point.estimate
        bars = [[found.mean - min(found.seeds)], [max(found.seeds) - found.mean]]
        marker = MARKERS[number % len(MARKERS)]
        name = f"{point.group} {point.name}"
        axes.errorbar(point.x, found.mean, yerr=bars, color=colour, marker=marker, capsize=3, linestyle="", label=name)
    _floor(axes, floor)
    axes.set_xscale("log")
    axes.set(xlabel=label, ylabel="mean foreground Dice")
    axes.margins(x=0.18, y=0.15)
    axes.grid(alpha=0.25)
    _legend(axes)
    _save(figure, target)


def draw_grids(
    target: IO[bytes], rows: Sequence[str], columns: Sequence[str], panels: Mapping[str, Sequence[Sequence[float]]]
) -> None:
    """Tables of numbers as coloured squares, NaN left white, one panel a quantity."""
    width = max(3.4, 0.95 * len(columns) + 1.6)
    figure, all_axes = _figure(1, len(panels), (width * len(panels), 0.75 * len(rows) + 1.6))
    for axes, (title, values) in zip(all_axes if len(panels) > 1 else [all_axes], panels.items(), strict=True):
        image = axes.imshow(values, cmap="viridis", aspect="auto")
        for i, line in enumerate(values):
            for j, value in enumerate(line):
                bright = image.norm(value) > 0.6
                text = "missing" if value != value else f"{value:.3f}"
                axes.text(j, i, text, ha="center", va="center", color="black" if bright or value != value else "white")
        axes.set_xticks(range(len(columns)), columns)
        axes.set_yticks(range(len(rows)), rows)
        axes.set_title(title)
    _save(figure, target)


def _figure(rows: int, columns: int, size: tuple[float, float], **options: Any) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, **options)
    for one in axes.flat if hasattr(axes, "flat") else [axes]:
        one.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _save(figure: Any, target: IO[bytes]) -> None:
    figure.savefig(target, format="png", dpi=DPI, metadata={"Software": None})


def _colour(name: str, number: int) -> str:
    start = next((colour for known, colour in COLOURS.items() if name.startswith(known)), None)
    return start or OTHERS[number % len(OTHERS)]


def _floor(axes: Axes, floor: float | None) -> None:
    if floor is not None:
        axes.axhline(floor, color="black", linewidth=0.8, linestyle="--", label=FLOOR)


def _legend(axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        axes.legend(handles, labels, frameon=False, fontsize=9)
