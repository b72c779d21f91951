"""All folders below one, linked ones included."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


def walk(folder: Path) -> Iterator[tuple[Path, list[Path]]]:
    """Each folder at or below `folder` with its files, sorted; without hidden ones.

    Cohorts are often made of links. Linked folders come after the others; what was seen, under whatever name, is not
    entered again, so that links to a folder above them end.
    """
    seen: set[Path] = set()
    waiting = [folder]
    while waiting:
        linked: list[Path] = []
        for start in waiting:
            if start.resolve() in seen:
                continue
            for parent, folders, names in os.walk(start):
                place = Path(parent)
                seen.add(place.resolve())
                inner = [Path(parent, name) for name in sorted(folders) if not name.startswith(".")]
                linked += [path for path in inner if path.is_symlink()]
                folders[:] = [path.name for path in inner if not path.is_symlink() and path.resolve() not in seen]
                yield place, [Path(parent, name) for name in sorted(names) if not name.startswith(".")]
        waiting = linked
