"""Whether a whole scan shows anything of what a model knows, judged by volumes and places in its training.

A network names a class everywhere, also in an abdomen if it was trained on heads. What it then finds are specks, hardly
any of which has a fair share of the smallest one of the training, or structures that lie anyhow to one another. Only
models of many structures are judged, of which some may be missing, displaced or out of sight; that a scan has no lesion
is a result.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimseg.bundle.description import Description
from mimseg.data.volume import Grid
from mimseg.errors import UserError
from mimseg.inference.known_places import LIKE, extents_of, known_places, likeness, seen_in

# In a description's `training`: what `volumes_record` gives.
ENTRY = "volumes_ml"
# Structures that every case of the training had; as many have to be there for their places to be judged.
FEWEST_STRUCTURES = 8
# A structure is there if it has this share of its least volume in the training.
SHARE_OF_VOLUME = 0.2
# Fewer of the structures are nothing,
SHARE_OF_STRUCTURES = 0.25
# but of a dozen organs a scan may truly show one: where the training had fewer structures than this, one that is as
# large as in some case of the training is something. Of dozens, one has such a size by chance.
MANY_STRUCTURES = 20


def volumes_record(names: Sequence[str], volumes: Sequence[Sequence[float]]) -> dict[str, Any]:
    """What is kept of the volumes of the training, by structure.

    Args:
        names: Of the structures.
        volumes: For each case the mL of each structure.
    """
    columns = zip(names, np.asarray(volumes, float).T, strict=True)
    return {name: {"least": round(float(own.min()), 4), "largest": round(float(own.max()), 4)} for name, own in columns}


def refuse_nothing_known(classes: NDArray[np.integer], description: Description, grid: Grid, scan: str) -> None:
    """Raise UserError if what was found in a whole scan is not what the model knows; see `finds_nothing_known`.

    Args:
        scan: What the scan is called in the message.
    """
    if finds_nothing_known(classes, description, grid):
        raise UserError(
            f"{description.name} finds nothing in {scan} that has the sizes and places of what it knows, so nothing is "
            "written.",
            "Check that the scan shows that part of the body. If it does, give a box around it.",
            "nothing-known",
        )


def finds_nothing_known(classes: NDArray[np.integer], description: Description, grid: Grid) -> bool:
    """Whether hardly any structure that each case of the training had is in the scan, or they lie anyhow.

    Args:
        classes: Class indices `(i, j, k)` of the whole scan.
        description: Of the model.
        grid: Of the scan.

    Returns:
        False also where the training does not tell, or the model has few structures.
    """
    known = known_volumes(description)
    if description.multilabel or len(known) < FEWEST_STRUCTURES:
        return False
    extents = extents_of(classes, len(description.labels) + 1, grid)
    volumes = extents.voxels * float(np.prod(grid.spacing)) / 1000
    present = [index for index, (least, _) in known.items() if volumes[index] >= SHARE_OF_VOLUME * least]
    if len(present) < SHARE_OF_STRUCTURES * len(known):
        whole = any(least <= volumes[index] <= largest for index, (least, largest) in known.items())
        return len(known) >= MANY_STRUCTURES or not whole
    places = known_places(description)
    placed = [index for index in present if index in places]
    if len(placed) < FEWEST_STRUCTURES:
        return False
    known_ones = seen_in(np.array([places[index] for index in placed]), grid)
    return likeness(known_ones, extents.middles[placed]) < LIKE


def known_volumes(description: Description) -> dict[int, tuple[float, float]]:
    """Least and largest mL in the training by class index (from 1), of the structures that each of its cases had."""
    record = description.training.get(ENTRY)
    if not isinstance(record, dict):
        return {}
    found = {}
    for index, label in enumerate(description.labels, start=1):
        entry = record.get(label.name)
        least, largest = (entry.get("least"), entry.get("largest")) if isinstance(entry, dict) else (None, None)
        if isinstance(least, (int, float)) and isinstance(largest, (int, float)) and least > 0:
            found[index] = (float(least), float(largest))
    return found
