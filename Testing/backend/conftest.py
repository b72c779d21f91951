"""Fixtures for all tests of the backend."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from mimseg import stopping
from mimseg.events import Reporter

# Also for the processes that tests start: nothing is written into the user's own cache.
os.environ["MIMSEG_CACHE"] = "off"
REPOSITORY = Path(__file__).resolve().parents[2]


class RecordingReporter(Reporter):
    """Keeps the warnings it receives."""

    def __init__(self) -> None:
        self.warnings: list[tuple[str, str]] = []

    def warning(self, code: str, message: str) -> None:
        self.warnings.append((code, message))

    @property
    def codes(self) -> list[str]:
        return [code for code, _ in self.warnings]


@pytest.fixture(autouse=True)
def no_stop_from_before() -> Iterator[None]:
    """A wish to stop that a test leaves behind is not the next one's."""
    stopping.clear()
    yield
    stopping.clear()


@pytest.fixture
def reporter() -> RecordingReporter:
    return RecordingReporter()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The project's folder of real volumes, which is not part of the repository."""
    folder = Path(os.environ.get("MIMSEG_SHARED_DATA") or REPOSITORY.parent / "shared" / "data")
    if not (folder / "manifest.csv").is_file():
        pytest.skip(f"needs the real volumes in {folder} (set MIMSEG_SHARED_DATA to another folder)")
    return folder
