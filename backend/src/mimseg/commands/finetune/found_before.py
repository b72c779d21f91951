"""Where a locator found its structures is kept: a plan, a training and its resumption look at the same scans."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence

import numpy as np

from mimseg.bundle.locator import Locator
from mimseg.cache import Cache, cache_folder
from mimseg.data.volume import Volume
from mimseg.inference.locating import Middle

# Of a hundred bytes each.
MOST_SCANS = 2000
# To be raised when `find_middles` finds something else in the same voxels by the same model.
LOOK_VERSION = "1"


def find_again(
    volume: Volume, locator: Locator, identity: str, find: Callable[[Volume], Sequence[Middle]]
) -> Sequence[Middle]:
    """What `find` finds in a scan, or found there before: in the same voxels, by the same model.

    Args:
        volume: The scan.
        locator: What is looked for.
        identity: Of the locator's model.
        find: Gives the middles; whatever it raises is raised.
    """
    cache = Cache(cache_folder("located"), MOST_SCANS)
    key = (LOOK_VERSION, identity, json.dumps(locator.to_json()), _fingerprint(volume))
    kept = cache.read(*key)
    if kept is not None:
        try:
            stored = [(int(number), np.array(index, float).reshape(3)) for number, index in json.loads(kept)]
            return [Middle(locator.places[number], number, index) for number, index in stored]
        except (ValueError, TypeError, IndexError):
            cache.drop(*key)
    found = find(volume)
    cache.write(json.dumps([[middle.number, middle.index.tolist()] for middle in found]).encode(), *key)
    return found


def _fingerprint(volume: Volume) -> str:
    """SHA-256 of voxels and grid."""
    digest = hashlib.sha256(repr((volume.array.shape, volume.array.dtype.str)).encode())
    digest.update(volume.grid.affine.tobytes())
    digest.update(np.ascontiguousarray(volume.array).data)
    return digest.hexdigest()
