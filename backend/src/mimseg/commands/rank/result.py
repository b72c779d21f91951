"""What `mimseg rank` found out, as its report and its JSON lines show it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mimseg.commands.rank.scores import Doubt


@dataclass(frozen=True)
class RankedCase:
    """One case.

    Attributes:
        name: Of the case.
        images: The files read, one for each channel.
        doubt: How doubtful its segmentation is.
        volumes_ml: Volume of each structure in mL, by name.
        uncertainty_map: The map written, or None.
        segmentation: The labelmap written, or None.
        pictures: PNG: the scan with its structures, and the uncertainty.
        rank: 1 for the case to label first.
        proposed: Whether it is among those to label next.
        distance: To the nearest other or labelled case in the space of features; None if there is none.
        warnings: Code and text of each.
    """

    name: str
    images: tuple[Path, ...]
    doubt: Doubt
    volumes_ml: dict[str, float]
    uncertainty_map: Path | None = None
    segmentation: Path | None = None
    pictures: tuple[bytes, ...] = ()
    rank: int = 0
    proposed: bool = False
    distance: float | None = None
    warnings: tuple[tuple[str, str], ...] = ()

    def to_json(self, paths: bool = False) -> dict[str, Any]:
        """Plain dictionary.

        Args:
            paths: With whole paths of images and maps; otherwise names of the maps only, for a report that says nothing
                of the computer it was made on.
        """
        files = {"uncertainty_map": self.uncertainty_map, "segmentation": self.segmentation}
        return {
            "case": self.name,
            "rank": self.rank,
            "proposed": self.proposed,
            **{key: _rounded(value) for key, value in asdict(self.doubt).items()},
            "volumes_ml": {name: round(value, 4) for name, value in self.volumes_ml.items()},
            "distance": _rounded(self.distance),
            "warnings": [{"code": code, "message": message} for code, message in self.warnings],
            **{key: None if file is None else str(file) if paths else file.name for key, file in files.items()},
            **({"images": [str(path) for path in self.images]} if paths else {}),
        }


@dataclass(frozen=True)
class Ranking:
    """All cases in the order in which to label them.

    Attributes:
        cases: Proposed ones first.
        models: Names of the models.
        members: Answers that were compared for each case.
        labelled: Number of labelled cases that were compared with.
        feature_kind: `encoder` or `intensity`.
        left_out: Names of the cases that could not be judged.
    """

    cases: tuple[RankedCase, ...]
    models: tuple[str, ...]
    members: int
    labelled: int
    feature_kind: str
    left_out: tuple[str, ...]


def _rounded(value: float | int | None) -> float | int | None:
    return round(value, 5) if isinstance(value, float) else value
