"""What a run tells its caller: progress, metrics, warnings, the result, errors.

`JsonLinesReporter` writes one JSON object per line on stdout (schema:
`mimseg/schemas/events.schema.json`); `TerminalReporter` writes for people, on stderr, with a
progress bar and an ETA. Nothing else in the package writes to stdout.
"""

from __future__ import annotations

import json
import math
import sys
import time
from typing import Any, TextIO

# The phase that covers all parts of a run of several trainings; phases of the parts are reported beside it.
WHOLE_RUN = "all"


class Reporter:
    """Receives the events of one run; this base class ignores them (useful in tests and libraries)."""

    def start(self, command: str, **fields: Any) -> None:
        """The run begins. `fields`: what will be used (device, engine, model, ...)."""

    def progress(self, phase: str, done: float, total: float) -> None:
        """`done` of `total` units of `phase` are finished. Cheap: may be called often."""

    def metric(self, name: str, value: float, **fields: Any) -> None:
        """One measured number, e.g. `metric("validation_dice", 0.84, step=300)`."""

    def model(self, path: str, step: int, validation_dice: float | None) -> None:
        """A model of the best weights so far can be used while training goes on; it replaces the one before."""

    def warning(self, code: str, message: str) -> None:
        """Something the user should know; the run goes on."""

    def info(self, message: str) -> None:
        """Free text for the log."""

    def result(self, **fields: Any) -> None:
        """The run succeeded; `fields` name the outputs."""

    def error(self, code: str, message: str, hint: str = "") -> None:
        """The run failed."""


class RemainingTime:
    """Seconds until a phase is done, from its mean speed so far; phases may take turns."""

    def __init__(self) -> None:
        # Of each phase: when it began, where it began, where it was last.
        self._phases: dict[str, tuple[float, float, float]] = {}

    def estimate(self, phase: str, done: float, total: float) -> float | None:
        """Expected seconds to go, or None while nothing is known."""
        now = time.monotonic()
        start, first, last = self._phases.get(phase, (now, done, done))
        if done < last:  # it begins once more
            start, first = now, done
        self._phases[phase] = start, first, done
        if done <= first:
            return None
        return max(0.0, (now - start) / (done - first) * (total - done))


class JsonLinesReporter(Reporter):
    """One JSON object per line on `stream`; free text goes to `log`.

    Args:
        stream: Where events go, default stdout.
        log: Where free text goes, default stderr.
        interval: Least seconds between two progress events of one phase (the last one is always sent).
    """

    def __init__(self, stream: TextIO | None = None, log: TextIO | None = None, interval: float = 0.2) -> None:
        self._stream = stream if stream is not None else sys.stdout
        self._log = log if log is not None else sys.stderr
        self._interval = interval
        self._remaining = RemainingTime()
        self._last: dict[str, float] = {}

    def _write(self, event: str, fields: dict[str, Any]) -> None:
        # ASCII only: the reader's console encoding must not matter for non-ASCII file names.
        self._stream.write(json.dumps({"event": event, **_finite(fields)}, ensure_ascii=True) + "\n")
        self._stream.flush()

    def start(self, command: str, **fields: Any) -> None:
        self._write("start", {"command": command, **fields})

    def progress(self, phase: str, done: float, total: float) -> None:
        now = time.monotonic()
        eta = self._remaining.estimate(phase, done, total)
        if 0 < done < total and now - self._last.get(phase, -math.inf) < self._interval:
            return
        self._last[phase] = now
        self._write("progress", {"phase": phase, "done": done, "total": total, "eta_s": eta})

    def metric(self, name: str, value: float, **fields: Any) -> None:
        self._write("metric", {"name": name, "value": value, **fields})

    def model(self, path: str, step: int, validation_dice: float | None) -> None:
        self._write("model", {"path": path, "step": step, "validation_dice": validation_dice})

    def warning(self, code: str, message: str) -> None:
        self._write("warning", {"code": code, "message": message})

    def info(self, message: str) -> None:
        self._log.write(message + "\n")
        self._log.flush()

    def result(self, **fields: Any) -> None:
        self._write("result", fields)

    def error(self, code: str, message: str, hint: str = "") -> None:
        self._write("error", {"code": code, "message": message, "hint": hint})


class InnerReporter(Reporter):
    """Passes on what happens inside one of several runs, but its start and result, which are not the whole's."""

    def __init__(self, outer: Reporter) -> None:
        self.progress = outer.progress  # type: ignore[method-assign]
        self.metric = outer.metric  # type: ignore[method-assign]
        self.model = outer.model  # type: ignore[method-assign]
        self.warning = outer.warning  # type: ignore[method-assign]
        self.info = outer.info  # type: ignore[method-assign]


class TerminalReporter(Reporter):
    """Text for a person on `stream` (stderr): a progress bar with ETA on a terminal, plain lines elsewhere."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream if stream is not None else sys.stderr
        self._terminal = bool(getattr(self._stream, "isatty", lambda: False)())
        self._remaining = RemainingTime()
        self._bar_shown = False
        self._whole = False
        self._last = -math.inf

    def _line(self, text: str) -> None:
        if self._bar_shown:
            self._stream.write("\r" + " " * 79 + "\r")
            self._bar_shown = False
        self._stream.write(text + "\n")
        self._stream.flush()

    def start(self, command: str, **fields: Any) -> None:
        shown = ", ".join(f"{key}: {value}" for key, value in fields.items() if _worth_showing(value))
        self._line(f"mimseg {command}" + (f" ({shown})" if shown else ""))

    def progress(self, phase: str, done: float, total: float) -> None:
        eta = self._remaining.estimate(phase, done, total)
        now = time.monotonic()
        # One bar at a time: that of the whole run, where it is known.
        self._whole = self._whole or phase == WHOLE_RUN
        hidden = self._whole and phase != WHOLE_RUN
        if not self._terminal or hidden or (done < total and now - self._last < 0.1):
            return
        self._last = now
        share = done / total if total else 1.0
        filled = round(24 * share)
        remaining = f", {format_seconds(eta)} left" if eta is not None and done < total else ""
        text = f"{phase}: [{'#' * filled}{'.' * (24 - filled)}] {share:4.0%}{remaining}"
        self._stream.write("\r" + text[:79].ljust(79))
        self._bar_shown = True
        if done >= total:
            self._stream.write("\n")
            self._bar_shown = False
        self._stream.flush()

    def metric(self, name: str, value: float, **fields: Any) -> None:
        where = " ".join(f"{key} {_short(val)}" for key, val in fields.items())
        self._line(f"{name} {_short(value)}" + (f" ({where})" if where else ""))

    def model(self, path: str, step: int, validation_dice: float | None) -> None:
        dice = "" if validation_dice is None else f", validation Dice {validation_dice:.3f}"
        self._line(f"The best model so far (step {step}{dice}) can be used: {path}")

    def warning(self, code: str, message: str) -> None:
        self._line(f"Warning: {message}")

    def info(self, message: str) -> None:
        self._line(message)

    def result(self, **fields: Any) -> None:
        for key, value in fields.items():
            if isinstance(value, (str, int, float)):
                self._line(f"{key}: {_short(value)}")

    def error(self, code: str, message: str, hint: str = "") -> None:
        self._line(f"Error: {message}")
        if hint:
            self._line(f"  What to do: {hint}")


def format_seconds(seconds: float) -> str:
    """`75.2` becomes `1 min 15 s`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _worth_showing(value: Any) -> bool:
    """Details in dictionaries are for programs; people get them in words."""
    return value not in (None, "") and not isinstance(value, dict)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _finite(value: Any) -> Any:
    """JSON has no NaN or infinity: they become null. numpy numbers become Python's."""
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if hasattr(value, "item") and not isinstance(value, (str, bytes)):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)
