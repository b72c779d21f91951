"""Structures in more pieces, or with more holes, than those of the other cases: stray voxels and forgotten slices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from mimseg.checks.cases.loaded_case import LoadedCase
from mimseg.checks.comparison import USUAL_SHARE, share_of_others, unusual_cases
from mimseg.checks.context import Context
from mimseg.checks.finding import Finding, Spot
from mimseg.data.regions import Box, bounding_box

# Fewer than three cases cannot be compared; pieces below this share of the largest one are probably strays.
_STRAY_SHARE = 0.05
# So few voxels beside a structure are a slip of the pen that training does not notice.
_ISLAND_VOXELS = 2
# Of a pair of organs, the smaller one has at least this share of the larger one, and lies beside it.
_PAIR_SHARE = 0.4
_PAIR_GAP_VOXELS, _PAIR_GAP_SHARE = 4, 0.2
_LEAST_SPREAD, _TIMES = 1.0, 6.0
# Smaller holes are one voxel here or there, which training does not notice.
_LARGE_HOLE_VOXELS = 10
_LARGE_HOLE_SHARE = 0.01


@dataclass(frozen=True)
class Pieces:
    """Connected components.

    Attributes:
        voxels: Of each component, largest first.
        second: Box of the second largest one in the file's array, if there is one.
        pair: The two largest are of similar size, one to the left and one to the right.
    """

    voxels: tuple[int, ...]
    second: Box | None
    pair: bool = False


@dataclass(frozen=True)
class PiecesAndHoles:
    """Of one case.

    Attributes:
        pieces: By label value; voxels that touch at a corner are connected.
        holes: Background that all structures together enclose; `second` is the largest hole.
        labelled: Voxels of all structures.
    """

    pieces: dict[int, Pieces]
    holes: Pieces
    labelled: int


def measure(case: LoadedCase) -> PiecesAndHoles | None:
    """Count them; None if nothing is labelled."""
    if case.labels is None or case.labelled_box is None:
        return None
    pieces = {}
    for value, structure in case.structures.items():
        mask = case.labels[structure.box.slices] == value
        found = _components(mask, structure.box, first=1)
        pieces[value] = replace(found, pair=_is_pair(mask, found, case))
    # One voxel of background around it, so that everything outside is one component, the largest.
    inside = np.pad(case.labels[case.labelled_box.slices] != 0, 1)
    box = case.labelled_box
    (a, b, c), (d, e, f) = box.start, box.stop
    holes = _holes(~inside, Box((a - 1, b - 1, c - 1), (d + 1, e + 1, f + 1)))
    return PiecesAndHoles(pieces, holes, sum(structure.voxels for structure in case.structures.values()))


def find(measured: Mapping[str, PiecesAndHoles | None], context: Context) -> list[Finding]:
    """See the module."""
    known = {name: found for name, found in measured.items() if found is not None}
    findings = []
    islands: dict[str, list[int]] = {}
    for value in sorted({value for found in known.values() for value in found.pieces}):
        pieces = {name: found.pieces[value] for name, found in known.items() if value in found.pieces}
        # Islands must not make what is worse look usual.
        large = {name: _without_islands(found) for name, found in pieces.items()}
        many = _too_many(large, least=1)
        findings += [_many_pieces(n, large[n], usual, context.name(value), value) for n, usual in many.items()]
        for name in _too_many(pieces, least=1):
            if name not in many and len(large[name].voxels) < len(pieces[name].voxels):
                islands.setdefault(name, []).append(value)
    findings += [_islands(name, known[name], values, context) for name, values in islands.items()]
    for name, usual in _too_many({name: found.holes for name, found in known.items()}, least=0).items():
        findings.append(_with_holes(name, known[name], usual))
    return findings


def _without_islands(found: Pieces) -> Pieces:
    large = tuple(voxels for voxels in found.voxels if voxels > _ISLAND_VOXELS)
    return replace(found, voxels=large or found.voxels[:1])


def _too_many(counted: Mapping[str, Pieces], least: int) -> dict[str, float]:
    """Cases with more components than is usual, and how many are.

    Args:
        counted: By case.
        least: How many a clean structure has: 1 piece, 0 holes.
    """
    counts = {name: len(found.voxels) for name, found in counted.items()}
    if len(counts) <= 2:
        # Nothing to compare with: only what is small beside the largest piece.
        return {
            name: float(least)
            for name, found in counted.items()
            if counts[name] > least and (least == 0 or found.voxels[1] < _STRAY_SHARE * found.voxels[0])
        }
    clean = share_of_others({name: count <= least for name, count in counts.items()})
    far = unusual_cases({name: float(count) for name, count in counts.items()}, _LEAST_SPREAD, _TIMES)
    odd = {name: float(least) for name, share in clean.items() if share >= USUAL_SHARE and counts[name] > least}
    return odd | {name: far[name].usual for name in far if name not in odd and far[name].value > far[name].usual}


def _many_pieces(name: str, found: Pieces, usual: float, structure: str, value: int) -> Finding:
    listed = ", ".join(str(voxels) for voxels in found.voxels[:5]) + (" ..." if len(found.voxels) > 5 else "")
    evidence = {"value": value, "pieces": len(found.voxels), "voxels": list(found.voxels[:20]), "usual": usual}
    spots = (Spot(name, "the second largest piece", found.second),)
    if found.pair and len(found.voxels) == 2:
        text = (
            f"The structure {structure} is in two pieces of similar size side by side ({listed} voxels), as a pair of "
            f"organs is; {'one is' if usual <= 1 else f'{usual:g} are'} usual."
        )
        remedy = "Nothing, if both organs are meant; if only one is in the other cases, give each side its own value."
        return Finding(name, "note", "pair-of-pieces", text, remedy, evidence, spots)
    text = (
        f"The structure {structure} is in {len(found.voxels)} pieces ({listed} voxels); "
        f"{'one is' if usual <= 1 else f'{usual:g} are'} usual."
    )
    if found.voxels[1] < _STRAY_SHARE * found.voxels[0]:
        remedy = "Remove stray voxels (in 3D Slicer: Islands), or fill the gap between the pieces."
    else:
        remedy = "Look whether all pieces belong to it: fill the gap, or give what is something else its own value."
    return Finding(name, "warning", "many-pieces", text, remedy, evidence, spots)


def _islands(name: str, found: PiecesAndHoles, values: Sequence[int], context: Context) -> Finding:
    """Of one or two voxels each, of all structures of a case."""
    count = sum(voxels <= _ISLAND_VOXELS for value in values for voxels in found.pieces[value].voxels[1:])
    text = (
        f"{count} island{'s' if count > 1 else ''} of one or two voxels beside "
        f"{', '.join(context.name(value) for value in values)}."
    )
    remedy = "Hardly matters; in 3D Slicer, Islands removes them."
    voxels = {context.name(value): list(found.pieces[value].voxels[:20]) for value in values}
    spots = (Spot(name, "one of them", found.pieces[values[0]].second),)
    return Finding(name, "note", "many-pieces", text, remedy, {"values": list(values), "voxels": voxels}, spots)


def _is_pair(mask: NDArray[np.bool_], found: Pieces, case: LoadedCase) -> bool:
    """Whether the two largest of the pieces `mask` consists of are about equal, and beside each other."""
    if len(found.voxels) < 2 or found.voxels[1] < _PAIR_SHARE * found.voxels[0]:
        return False
    image = sitk.GetImageFromArray(np.ascontiguousarray(mask, np.uint8))
    numbered = sitk.GetArrayFromImage(sitk.ConnectedComponent(image, True))
    largest = np.argsort(-np.bincount(numbered.ravel())[1:], kind="stable")[:2] + 1
    grid = case.volume.grid
    first, second = (grid.to_point(np.argwhere(numbered == number).astype(float)) for number in largest)
    apart = np.abs(first.mean(axis=0) - second.mean(axis=0))  # to the left, back and top, wherever the array begins
    widths = [np.ptp(points[:, 0]) for points in (first, second)]
    gap = max(first[:, 0].min() - second[:, 0].max(), second[:, 0].min() - first[:, 0].max())
    # A slice that was forgotten leaves a narrow gap.
    wide = gap >= _PAIR_GAP_VOXELS * max(grid.spacing) and gap >= _PAIR_GAP_SHARE * min(widths)
    return bool(wide and apart[0] > 2 * max(apart[1], apart[2]))


def _with_holes(name: str, found: PiecesAndHoles, usual: float) -> Finding:
    voxels = sum(found.holes.voxels)
    large = voxels >= _LARGE_HOLE_VOXELS and voxels >= _LARGE_HOLE_SHARE * found.labelled
    count = len(found.holes.voxels)
    others = "most others have none" if usual < 1 else f"{usual:g} are usual"
    holes, size = ("holes" if count > 1 else "hole"), ("voxels" if voxels > 1 else "voxel")
    text = f"The structures enclose {count} {holes} of {voxels} {size}; {others}."
    remedy = "Fill it (in 3D Slicer: Islands or Smoothing, closing), unless it is truly hollow."
    evidence = {"holes": count, "voxels": voxels, "share": voxels / max(1, found.labelled)}
    spots = (Spot(name, "around the largest hole", _widened(found.holes.second)),)
    return Finding(name, "warning" if large else "note", "holes", text, remedy, evidence, spots)


def _components(mask: NDArray[np.bool_], box: Box, first: int, corners: bool = True) -> Pieces:
    """Components of `mask`, whose array begins at `box.start`; `second` is the box of number `first` by size."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(mask, np.uint8))
    numbered = sitk.GetArrayFromImage(sitk.ConnectedComponent(image, corners))
    voxels = np.bincount(numbered.ravel())[1:]
    order = np.argsort(-voxels, kind="stable")
    second = None
    if len(order) > first:
        second = bounding_box(numbered == order[first] + 1)
    return Pieces(tuple(int(voxels[k]) for k in order), second.shifted(box.start) if second else None)


def _holes(background: NDArray[np.bool_], box: Box) -> Pieces:
    # The outside is the component of the first voxel; it may be smaller than a hole in a thin shell.
    image = sitk.GetImageFromArray(np.ascontiguousarray(background, np.uint8))
    numbered = sitk.GetArrayFromImage(sitk.ConnectedComponent(image, False))
    return _components(background & (numbered != numbered[0, 0, 0]), box, first=0, corners=False)


def _widened(box: Box | None) -> Box | None:
    if box is None:
        return None
    (a, b, c), (d, e, f) = box.start, box.stop
    return Box((max(0, a - 3), max(0, b - 3), max(0, c - 3)), (d + 3, e + 3, f + 3))
