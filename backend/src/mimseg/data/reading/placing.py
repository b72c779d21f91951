"""One rule for all files that do not say how they are oriented."""

from __future__ import annotations

import numpy as np

from mimseg.data.orientation import check_orientation, vectors_of
from mimseg.data.volume import Grid
from mimseg.formats import UNSAID_ORIENTATION

_TOWARDS = {"R": "right", "L": "left", "A": "front", "P": "back", "S": "top", "I": "bottom"}


def placed(grid: Grid, orientation: str, turn_origin: bool = True) -> Grid:
    """A grid whose space has no name, with the axes of that space running as `orientation` says.

    Args:
        grid: As if its space were LPS.
        turn_origin: False if the origin is in LPS whatever the axes are.
        orientation: Three letters, `RAS` if the first axis runs to the patient's right, the second to the front, the
            third to the top.

    Raises:
        UserError: `orientation` is no such code.
    """
    check_orientation(orientation)
    turn = vectors_of(orientation)
    x, y, z = (float(value) for value in (turn if turn_origin else np.eye(3)) @ np.asarray(grid.origin, float))
    return Grid(grid.size, grid.spacing, (x, y, z), turn @ np.asarray(grid.direction, float))


def in_doubt(path: object, what_is_missing: str, orientation: str) -> tuple[str, str]:
    """Code and message of the warning for a file that was placed by `placed`."""
    ways = ", ".join(
        f"{axis} to the {_TOWARDS[letter]}"
        for axis, letter in zip(("first axis", "second", "third"), orientation, strict=True)
    )
    why = "as NIfTI's method 1 says" if orientation == UNSAID_ORIENTATION else "as was asked for"
    return (
        "no-orientation",
        f"{path} does not say how it is oriented ({what_is_missing}). It was read as {orientation}, {why}: {ways} of "
        "the patient. All three axes are in doubt: left and right, front and back, top and bottom may be swapped. "
        "Other programs may read it otherwise (3D Slicer: LPS); compare with a scan of known orientation. If it is "
        "wrong, say it with --orientation, in the column orientation of a case list, or in the file itself.",
    )
