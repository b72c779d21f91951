"""Which files of an output folder mimseg wrote and nobody changed since: the others may be corrected by hand."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from mimseg.bundle.checked_folder import sha256_of
from mimseg.errors import UserError
from mimseg.files import write_text

# Hidden: it is of no use to people. Written case by case, since a run may be stopped.
RECORD = ".mimseg-written.json"


class Written:
    """The record in an output folder, of SHA-256 checksums by name.

    Processes that share the work have a record each, so that none has to wait for another or undoes what it noted.

    Args:
        folder: Of the results; need not exist.
        rank: Of this process.
    """

    def __init__(self, folder: Path, rank: int = 0) -> None:
        self._folder = folder
        self._own = folder / (RECORD if rank == 0 else RECORD.replace(".json", f"-{rank}.json"))

    def refuse_changed(self, files: Iterable[Path]) -> None:
        """Refuse to replace files that were corrected, or come from elsewhere.

        Raises:
            UserError: Naming them.
        """
        known = {
            pair for record in self._folder.glob(RECORD.replace(".json", "*.json")) for pair in _read(record).items()
        }
        changed = [path.name for path in files if path.exists() and not _is_known(path, known)]
        if changed:
            more = f" and {len(changed) - 5} more" if len(changed) > 5 else ""
            raise UserError(
                f"{self._folder} holds files that were changed since they were written, or that mimseg did not write "
                f"there: {', '.join(changed[:5])}{more}.",
                "Choose another output, or give --replace if these files may be lost.",
                "output-exists",
            )

    def note(self, *files: Path) -> None:
        """Record files that were just written.

        Raises:
            UserError: The record cannot be written.
        """
        hashes = _read(self._own) | {path.name: sha256_of(path) for path in files}
        write_text(self._own, json.dumps(hashes, indent=1) + "\n")


def _read(record: Path) -> dict[str, str]:
    try:
        content = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # Without it, every file counts as somebody's work.
        return {}
    return {str(name): str(value) for name, value in content.items()} if isinstance(content, dict) else {}


def _is_known(path: Path, known: set[tuple[str, str]]) -> bool:
    """Also true of an empty file, which is nobody's work: a full disk left it."""
    return path.is_file() and (path.stat().st_size == 0 or (path.name, sha256_of(path)) in known)
