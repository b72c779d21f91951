"""What was measured during a run: `log.csv` for programs, `curves.png` for people."""

from __future__ import annotations

import csv
import io
import math
import time
from pathlib import Path
from typing import Any

from mimseg.events import Reporter
from mimseg.files import replacing, write_text

LOSS_EVERY = 10
# A picture costs more than many steps of a small network.
DRAW_SECONDS = 15.0


class Curves:
    """Collects losses and validation numbers; writes them to `folder`.

    Attributes:
        rows: One dictionary per measurement: step, seconds, name, value.
    """

    def __init__(self, folder: Path, reporter: Reporter) -> None:
        self.rows: list[dict[str, Any]] = []
        self._folder, self._reporter = folder, reporter
        self._losses: list[float] = []
        self._drawn = -DRAW_SECONDS

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"rows": list(self.rows), "losses": list(self._losses)}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue the curves of a checkpoint."""
        self.rows, self._losses = list(state["rows"]), list(state["losses"])

    def loss(self, step: int, value: float, rate: float) -> None:
        """Record a training loss; the mean of ten steps becomes one row, of those whose loss is finite."""
        if math.isfinite(value):
            self._losses.append(value)
        if step % LOSS_EVERY == 0 and self._losses:
            mean = sum(self._losses) / len(self._losses)
            self._losses = []
            self.rows.append({"step": step, "seconds": None, "name": "loss", "value": mean})
            self._reporter.metric("loss", mean, step=step, learning_rate=rate)

    def add(self, step: int, seconds: float, measured: dict[str, float]) -> None:
        """Record validation numbers."""
        for name, value in measured.items():
            self.rows.append({"step": step, "seconds": round(seconds, 2), "name": name, "value": value})
            self._reporter.metric(name, value, step=step)

    def write(self, final: bool = True) -> None:
        """Write `log.csv` and, if matplotlib is there, `curves.png`: at the end, and else not too often."""
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, ["step", "seconds", "name", "value"])
        writer.writeheader()
        writer.writerows(self.rows)
        write_text(self._folder / "log.csv", text.getvalue())
        if final or time.monotonic() - self._drawn >= DRAW_SECONDS:
            self._draw()
            self._drawn = time.monotonic()

    def _draw(self) -> None:
        try:
            from matplotlib.backends.backend_agg import FigureCanvasAgg
            from matplotlib.figure import Figure
        except ImportError:
            return
        series: dict[str, list[tuple[float, float]]] = {}
        for row in self.rows:
            series.setdefault(row["name"], []).append((row["step"], row["value"]))
        if not series:
            return
        figure = Figure(figsize=(8, 3 * len(series)), layout="constrained")
        FigureCanvasAgg(figure)
        for number, (name, points) in enumerate(series.items(), start=1):
            axes = figure.add_subplot(len(series), 1, number)
            axes.plot(*zip(*points, strict=True), marker="." if len(points) < 60 else "")
            axes.set_xlabel("step")
            axes.set_ylabel(name)
            axes.grid(alpha=0.3)
        with replacing(self._folder / "curves.png") as temporary:
            figure.savefig(temporary, dpi=80)
