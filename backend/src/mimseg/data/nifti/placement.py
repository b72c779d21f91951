"""Where the voxels of a NIfTI file lie: qform, sform, or neither."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mimseg.data.reading.placing import in_doubt, placed
from mimseg.data.source import NiftiTransforms, Source
from mimseg.data.volume import Grid
from mimseg.errors import UserError

# Sheared axes are straightened if no corner moves by more than this share of the smallest voxel edge.
SHEAR_VOXELS = 0.1
_SCANNER = 1
# The last code that the standard gives a meaning; programs on nibabel take higher ones for 0.
_LAST_CODE = 5
_TOO_FAR_MM = 1e9
_MILLIMETRES = {1: 1e3, 3: 1e-3}
_LPS = np.array([-1.0, -1.0, 1.0])

Warnings = list[tuple[str, str]]


class _Unusable(Exception):
    """Why a transform cannot be used; completes "its sform ..."."""


def place(
    transforms: NiftiTransforms, size: tuple[int, int, int], orientation: str, path: object
) -> tuple[Grid, Warnings]:
    """The grid of a file's voxels, with codes and messages of what must be told.

    Where both transforms are given and differ, the choice is ITK's and 3D Slicer's: the sform if its code is 1
    (scanner), else the qform. A file with neither is read by method 1 of the standard with axes along `orientation`.

    Raises:
        UserError: Voxel sizes that are not positive, or no usable transform.
    """
    _check_voxel_sizes(transforms, path)
    source = Source(nifti=transforms)
    qform_code, sform_code = transforms.codes
    if qform_code <= 0 and sform_code <= 0:
        grid = placed(Grid(size, _voxel_sizes(transforms)), orientation)
        missing = f"its qform and sform codes are {qform_code} and {sform_code}"
        return replace(grid, source=source), [in_doubt(path, missing, orientation)]
    usable: dict[str, Grid] = {}
    faults: dict[str, str] = {}
    notes: dict[str, Warnings] = {}
    for name in _in_order(transforms.codes):
        try:
            usable[name], notes[name] = _grid_of(name, transforms, size, path)
        except _Unusable as fault:
            faults[name] = str(fault)
    if not usable:
        raise UserError(
            f"{path}: its {' and its '.join(f'{name} {fault}' for name, fault in faults.items())}.",
            "Repair qform and sform, or resample it on a regular grid, e.g. in 3D Slicer with 'Resample "
            "Scalar/Vector/DWI Volume'.",
            "bad-geometry",
        )
    used = next(iter(usable))
    told = [*notes[used], *_unknown_codes(used, transforms.codes, path), *_disagreement(used, usable, faults, path)]
    return replace(usable[used], source=source), told


def grids_of(grid: Grid) -> list[Grid]:
    """`grid` itself and, if it came from a NIfTI file, where the file's other transform puts the same voxels."""
    transforms = grid.source.nifti if grid.source is not None else None
    grids = [grid]
    for name in _in_order(transforms.codes) if transforms else ():
        try:
            grids.append(_grid_of(name, transforms, grid.size, "")[0])  # type: ignore[arg-type]
        except _Unusable:
            continue
    return grids


def transforms_of(grid: Grid) -> NiftiTransforms:
    """What a NIfTI file on `grid` must say: as in the file it was read from, else both transforms with code 1.

    A transform that is no transform at all (NaN, no length) is not passed on; a sheared one is, and so is a code that
    the standard does not know: whatever a program makes of it, it puts scan and result at the same place.
    """
    transforms = grid.source.nifti if grid.source is not None else None
    if (
        transforms is not None
        and all(_invertible(name, transforms) for name in _in_order(transforms.codes))
        and _fit_nifti1(transforms)
    ):
        return transforms
    affine = np.diag([*_LPS, 1.0]) @ grid.affine
    axes = affine[:3, :3] / np.asarray(grid.spacing)
    qfac = 1.0 if np.linalg.det(axes) > 0 else -1.0
    x, y, z = (float(value) for value in affine[:3, 3])
    return NiftiTransforms(
        pixdim=(qfac, *(float(edge) for edge in grid.spacing)),
        units=2,
        codes=(_SCANNER, _SCANNER),
        quaternion=(*_quaternion(axes * [1.0, 1.0, qfac]), x, y, z),
        sform=tuple(float(value) for value in affine[:3].ravel()),
    )


def _in_order(codes: tuple[int, int]) -> list[str]:
    qform_code, sform_code = codes
    order = ["sform", "qform"] if sform_code == _SCANNER else ["qform", "sform"]
    given = {"qform": qform_code > 0, "sform": sform_code > 0}
    return [name for name in order if given[name]]


def _check_voxel_sizes(transforms: NiftiTransforms, path: object) -> None:
    sizes = transforms.pixdim[1:4]
    if any(not 0 < value <= _TOO_FAR_MM for value in sizes):
        shown = ", ".join(f"{value:g}" for value in sizes)
        what = "not positive" if any(not value > 0 for value in sizes) else "far too large"
        raise UserError(
            f"{path} has voxel sizes that are {what} ({shown}).", "Repair pixdim in its header.", "bad-geometry"
        )


def _voxel_sizes(transforms: NiftiTransforms) -> tuple[float, float, float]:
    factor = _MILLIMETRES.get(transforms.units & 7, 1.0)
    x, y, z = (float(value) * factor for value in transforms.pixdim[1:4])
    return x, y, z


def _grid_of(name: str, transforms: NiftiTransforms, size: tuple[int, int, int], path: object) -> tuple[Grid, Warnings]:
    axes, origin = _sform(transforms) if name == "sform" else _qform(transforms)
    numbers = np.concatenate([axes.ravel(), origin])
    if not np.isfinite(numbers).all() or np.abs(numbers).max() > _TOO_FAR_MM:
        raise _Unusable("holds numbers that are none or far too large")
    spacing = np.linalg.norm(axes, axis=0)
    if spacing.min() <= 0:
        raise _Unusable("gives an axis no length")
    direction = (axes / spacing) * _LPS[:, np.newaxis]
    left, stretch, right = np.linalg.svd(direction)
    if stretch[-1] < 1e-3:
        raise _Unusable("lays two axes on one line")
    straight = left @ right
    # How far straightening moves the corners, seen from the middle, which stays where it is.
    reach = (np.asarray(size) - 1) / 2 * spacing
    corners = np.array([[i, j, k] for i in (-1, 1) for j in (-1, 1) for k in (-1, 1)]) * reach
    moved = float(np.abs(corners @ (direction - straight).T).max())
    if moved > SHEAR_VOXELS * spacing.min():
        raise _Unusable("has axes that are not at right angles")
    origin = origin * _LPS + (direction - straight) @ reach
    x, y, z = (float(value) for value in spacing)
    grid = Grid(size, (x, y, z), (float(origin[0]), float(origin[1]), float(origin[2])), straight)
    # Rounding in the header's 32-bit numbers is no shear to speak of.
    if moved <= 0.01 * spacing.min():
        return grid, []
    message = f"{path}: its {name} is slightly sheared; its axes were straightened, which moves no corner by more than "
    return grid, [("shear-straightened", f"{message}{moved:.2g} mm.")]


def _invertible(name: str, transforms: NiftiTransforms) -> bool:
    try:
        axes, origin = _sform(transforms) if name == "sform" else _qform(transforms)
    except _Unusable:
        return False
    return bool(np.isfinite(origin).all() and np.isfinite(axes).all() and abs(np.linalg.det(axes)) > 0)


def _fit_nifti1(transforms: NiftiTransforms) -> bool:
    """Whether the numbers of a NIfTI-2 file, also those of a transform that its code switches off, fit into 32 bits."""
    numbers = np.abs([*transforms.pixdim, *transforms.quaternion, *transforms.sform])
    return not (numbers[np.isfinite(numbers)] > np.finfo(np.float32).max).any()


def _sform(transforms: NiftiTransforms) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rows = np.array(transforms.sform, float).reshape(3, 4) * _MILLIMETRES.get(transforms.units & 7, 1.0)
    return rows[:, :3], rows[:, 3]


def _qform(transforms: NiftiTransforms) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    factor = _MILLIMETRES.get(transforms.units & 7, 1.0)
    b, c, d, *offset = (float(value) for value in transforms.quaternion)
    if not all(map(math.isfinite, (b, c, d))):
        raise _Unusable("holds numbers that are none")
    rest = 1 - (b * b + c * c + d * d)
    if rest < 1e-7:  # As the standard's own code: a turn by 180 degrees, but for rounding.
        if rest < -1e-2:
            raise _Unusable("holds no rotation (its quaternion is too long)")
        length = math.sqrt(b * b + c * c + d * d)
        a, b, c, d = 0.0, b / length, c / length, d / length
    else:
        a = math.sqrt(rest)
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - c * c - b * b],
        ]
    )
    qfac = -1.0 if transforms.pixdim[0] < 0 else 1.0
    return rotation * _voxel_sizes(transforms) * [1.0, 1.0, qfac], np.array(offset) * factor


def _quaternion(rotation: NDArray[np.float64]) -> tuple[float, float, float]:
    """`b, c, d` of a proper rotation with `a >= 0`.

    The products of the quaternion's numbers stand in the matrix, four times each; the row of the largest square is the
    quaternion itself but for its length, and never short of digits.
    """
    r = rotation
    products = np.zeros((4, 4))
    products[np.diag_indices(4)] = [
        1 + r[0, 0] + r[1, 1] + r[2, 2],
        1 + r[0, 0] - r[1, 1] - r[2, 2],
        1 - r[0, 0] + r[1, 1] - r[2, 2],
        1 - r[0, 0] - r[1, 1] + r[2, 2],
    ]
    products[0, 1:] = products[1:, 0] = [r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]]
    products[1, 2] = products[2, 1] = r[0, 1] + r[1, 0]
    products[1, 3] = products[3, 1] = r[0, 2] + r[2, 0]
    products[2, 3] = products[3, 2] = r[1, 2] + r[2, 1]
    row = products[int(np.argmax(np.diag(products)))]
    a, b, c, d = row / np.linalg.norm(row)
    sign = -1.0 if a < 0 else 1.0
    return float(b * sign), float(c * sign), float(d * sign)


def _unknown_codes(used: str, codes: tuple[int, int], path: object) -> Warnings:
    """The warning where only a transform with a code above those of the standard says where the scan lies."""
    if any(0 < code <= _LAST_CODE for code in codes):
        return []
    code = codes[0 if used == "qform" else 1]
    return [
        (
            "unknown-transform-code",
            f"{path}: its {used} code is {code}, which NIfTI does not know. The {used} was used, as 3D Slicer does; "
            "programs that take such a code for 0 (those on nibabel) show the scan elsewhere. Results in NIfTI keep "
            "it, so they lie on the scan in either kind of program.",
        )
    ]


def _disagreement(used: str, usable: dict[str, Grid], faults: dict[str, str], path: object) -> Warnings:
    """The warning where a file has two transforms and one was not followed."""
    other = "sform" if used == "qform" else "qform"
    if other in faults:
        return [(f"{other}-ignored", f"{path}: its {other} {faults[other]}, so the {used} was used.")]
    if other not in usable:
        return []
    apart = usable[used].apart_from(usable[other])
    if apart <= SHEAR_VOXELS * min(usable[used].spacing):
        return []
    return [
        (
            f"{other}-ignored",
            f"{path}: its qform and sform say different things. The {used} was used, as 3D Slicer does; programs that "
            f"use the {other} show the scan up to {apart:.3g} mm elsewhere. Results in NIfTI keep both, so they lie on "
            "the scan in either kind of program.",
        )
    ]
