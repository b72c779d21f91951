"""The locator of a model at work: which structures a scan gets, and where their boxes lie."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mimseg.bundle.description import Description
from mimseg.bundle.locations import find_bundle
from mimseg.bundle.locator import located_labels
from mimseg.bundle.reader import Bundle, open_bundle
from mimseg.commands.segment.cases import choose_structures
from mimseg.data.labels.structures import Label
from mimseg.data.volume import Grid, Volume
from mimseg.errors import UserError
from mimseg.events import Reporter
from mimseg.inference.engines import Engine
from mimseg.inference.locating import Located, is_larger_than_trained, locate


class Finder:
    """Finds the region of a model in large scans; does nothing for a model without a locator.

    Args:
        description: Of the model for the region.
        wanted: False where the user has drawn boxes.
        names: Structures to keep, of the model or of one side; empty keeps all.
        reporter: Is told if the locator is not there.

    Attributes:
        bundle: The model that looks at the whole scan; None if there is none.

    Raises:
        UserError: There is no such structure.
    """

    def __init__(self, description: Description, wanted: bool, names: Sequence[str], reporter: Reporter) -> None:
        self._description, self._names, self._reporter = description, names, reporter
        self._engine: Engine | None = None
        self.bundle: Bundle | None = _bundle_of(description, reporter) if wanted else None
        self.sided: tuple[Label, ...] = ()
        if self.bundle is not None and description.locator is not None:
            self.sided = located_labels(description.labels, description.locator)
        self._kept = {sided: self._choose(sided) for sided in (False, True)}

    def runs_on(self, grid: Grid) -> bool:
        """Whether a scan is so large that the region has to be found."""
        return self.bundle is not None and is_larger_than_trained(grid, self._description)

    def labels(self, grid: Grid) -> tuple[Label, ...]:
        """All structures that a scan may get."""
        return self.sided if self.runs_on(grid) else self._description.labels

    def kept(self, grid: Grid) -> tuple[Label, ...]:
        """Those of them that were asked for."""
        return self._kept[self.runs_on(grid)]

    @property
    def choices(self) -> tuple[tuple[Label, ...], ...]:
        """What `kept` gives for some grid."""
        return tuple(self._kept.values())

    def boxes(self, volume: Volume, open_engine: Callable[[Bundle], Engine]) -> list[Located]:
        """Where the model is to look; empty if it looks at the whole scan.

        Args:
            volume: The scan.
            open_engine: Opens the locator's engine, once.

        Raises:
            UserError: Nothing is found.
            OutOfMemory, Stopped: As for `segment_volume`.
        """
        if not self.runs_on(volume.grid) or self.bundle is None or self._description.locator is None:
            return []
        if self._engine is None:
            self._engine = open_engine(self.bundle)
        locator, looking = self._description.locator, self.bundle.description
        return locate(volume, self._description, locator, looking, self._engine, self._reporter)

    def forget_engine(self) -> None:
        """Let the next scan open the engine again, on another device."""
        self._engine = None

    def _choose(self, sided: bool) -> tuple[Label, ...]:
        """The asked structures among those of a large scan (`sided`), or of a small one."""
        if not self.sided:
            return choose_structures(self._description, self._names)
        if not self._names:
            return self.sided if sided else self._description.labels
        own = len(self._description.labels)
        wanted = {name.strip().casefold() for name in self._names}
        known = {label.name.casefold() for label in (*self.sided, *self._description.labels)}
        if wanted - known:
            choose_structures(self._description, sorted(wanted - known))  # raises, and says which ones there are
        # A name without a side means both sides.
        matches = [
            number
            for number, label in enumerate(self.sided)
            if {label.name.casefold(), self._description.labels[number % own].name.casefold()} & wanted
        ]
        if sided:
            return tuple(self.sided[number] for number in matches)
        plain = sorted({number % own for number in matches})
        return tuple(self._description.labels[number] for number in plain)


def _bundle_of(description: Description, reporter: Reporter) -> Bundle | None:
    if description.locator is None:
        return None
    try:
        return open_bundle(find_bundle(description.locator.model))
    except UserError as fault:
        reporter.warning(
            "no-locator",
            f"{description.name} finds its region by the model {description.locator.model}, which cannot be used "
            f"({fault.message}) In large scans draw a box around the structure.",
        )
        return None
