"""Which files of an output folder `mimseg rank` wrote and nobody changed since: the others may be corrected by hand."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from mimseg.bundle.checked_folder import sha256_of
from mimseg.errors import UserError
from mimseg.files import write_text

# Hidden: it is of no use to people. Written case by case, since a run may be stopped.
RECORD = ".mimseg-rank.json"


class Written:
    """The record in an output folder.

    Args:
        folder: Of the report; need not exist.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / RECORD
        self._hashes: dict[str, str] = {}
        try:
            content = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):  # Without it, every file counts as somebody's work.
            return
        if isinstance(content, dict):
            self._hashes = {str(name): str(value) for name, value in content.items()}

    def refuse_changed(self, files: Iterable[Path]) -> None:
        """Refuse to replace files that were corrected, or come from elsewhere.

        Raises:
            UserError: Naming them.
        """
        changed = [path.name for path in files if path.exists() and not self._is_ours(path)]
        if changed:
            more = f" and {len(changed) - 5} more" if len(changed) > 5 else ""
            raise UserError(
                f"{self._path.parent} holds files that were changed since they were written, or that rank did not "
                f"write: {', '.join(changed[:5])}{more}.",
                "Choose another folder, or give --replace if these files may be lost.",
                "output-exists",
            )

    def note(self, *files: Path) -> None:
        """Record files that were just written.

        Raises:
            UserError: The record cannot be written.
        """
        self._hashes.update({path.name: sha256_of(path) for path in files})
        write_text(self._path, json.dumps(self._hashes, indent=1, ensure_ascii=False) + "\n")

    def _is_ours(self, path: Path) -> bool:
        return path.is_file() and self._hashes.get(path.name) == sha256_of(path)
