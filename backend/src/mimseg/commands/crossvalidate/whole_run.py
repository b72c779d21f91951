"""How far a run of several trainings is, as a whole."""

from __future__ import annotations

from collections.abc import Sequence

from mimseg.events import WHOLE_RUN, InnerReporter, Reporter


class WholeRun(InnerReporter):
    """Passes on what happens inside the parts, and says after every step how far all of them are.

    A warning that came before in the same words is not repeated.

    Args:
        outer: Is told.
        parts: Expected length of each part, in the same unit, whatever it is.
    """

    def __init__(self, outer: Reporter, parts: Sequence[float]) -> None:
        super().__init__(outer)
        self._outer, self._parts, self._part = outer, list(parts), 0
        self._warned: set[tuple[str, str]] = set()
        self.progress = self._progress  # type: ignore[method-assign]
        self.warning = self._warning  # type: ignore[method-assign]

    def begin(self, part: int) -> None:
        """Part number `part`, from 0, begins."""
        self._part = part

    def end(self) -> None:
        """Everything is done."""
        self._outer.progress(WHOLE_RUN, sum(self._parts), sum(self._parts))

    def _progress(self, phase: str, done: float, total: float) -> None:
        self._outer.progress(phase, done, total)
        if phase == "train" and total:
            before = sum(self._parts[: self._part])
            self._outer.progress(WHOLE_RUN, before + self._parts[self._part] * done / total, sum(self._parts))

    def _warning(self, code: str, message: str) -> None:
        if (code, message) not in self._warned:
            self._warned.add((code, message))
            self._outer.warning(code, message)
