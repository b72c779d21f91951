"""What is kept in the user's cache folder, so that it need not be computed again.

- `compiled`: networks as OpenVINO compiled them. Its own `CACHE_DIR` is not used: it writes in place, so that a second
  process can read half a file, and grows without end. Measured with OpenVINO 2026.4 (processor seconds to load): the
  hippocampus model 0.38 without and 0.21 with the cache, 12 MB; UNETR-B/16 0.95 and 0.55, but 372 MB, which a run of
  minutes does not pay back.
- `located`: where a locator found its structures in a scan, by the hash of its voxels.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from pathlib import Path

from mimseg.errors import UserError
from mimseg.files import write_bytes

# A larger entry is not kept.
LARGEST_BYTES = 64 << 20
# Of a folder; the ones unused for longest go first.
MOST_ENTRIES = 8

ENVIRONMENT_VARIABLE = "MIMSEG_CACHE"
_SUFFIX = ".blob"
_DIGEST = hashlib.sha256().digest_size


def cache_folder(kind: str) -> Path | None:
    """The folder of what is kept of this kind (it need not exist).

    `MIMSEG_CACHE` names the folder around it, or `off`: None. Otherwise that is `mimseg` in the platform's cache
    folder.
    """
    chosen = os.environ.get(ENVIRONMENT_VARIABLE, "").strip()
    if chosen.lower() == "off":
        return None
    if chosen:
        return Path(chosen).expanduser().absolute() / kind
    try:
        home = Path.home()
    except RuntimeError:  # A service account without a home folder.
        return None
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = home / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return base / "mimseg" / kind


class Cache:
    """Entries by key; every failure to read or write means no entry, never an error.

    An entry is its content's SHA-256 and the content, and appears by renaming: any number of processes may use the
    folder at once, and half an entry is none. Names are hashes and tell nothing of what they are made of.

    Args:
        folder: Where entries lie; None keeps nothing.
        most: So many entries stay.
    """

    def __init__(self, folder: Path | None, most: int = MOST_ENTRIES) -> None:
        self._folder, self._most = folder, most

    def read(self, *key: str) -> bytes | None:
        """The content kept under `key`, or None."""
        path = self._path(key)
        if path is None:
            return None
        try:
            stored = path.read_bytes()
            content = stored[_DIGEST:]
            if hashlib.sha256(content).digest() != stored[:_DIGEST]:
                return None
            os.utime(path)
            return content
        except OSError:
            return None

    def write(self, content: bytes, *key: str) -> None:
        """Keep `content` under `key` unless it is too large, and drop what was unused for longest."""
        path = self._path(key)
        if path is None or len(content) > LARGEST_BYTES:
            return
        # A read-only or full disk, or another process that tidies up: nothing is kept.
        with contextlib.suppress(OSError, UserError):
            write_bytes(path, hashlib.sha256(content).digest() + content)
            entries = sorted(path.parent.glob(f"*{_SUFFIX}"), key=lambda entry: entry.stat().st_mtime)
            for entry in entries[: -self._most]:
                entry.unlink(missing_ok=True)

    def drop(self, *key: str) -> None:
        """Forget an entry that turned out to be of no use."""
        path = self._path(key)
        if path is not None:
            _remove(path)

    def _path(self, key: tuple[str, ...]) -> Path | None:
        if self._folder is None:
            return None
        return self._folder / (hashlib.sha256("\0".join(key).encode()).hexdigest() + _SUFFIX)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
