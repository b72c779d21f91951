"""Graphics cards as the driver sees them, whether or not PyTorch is installed."""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass

from mimseg.computer.processor import output_of

_QUERY = "name,memory.total,memory.free,driver_version,compute_cap"


@dataclass(frozen=True)
class GraphicsCard:
    """A graphics card that could compute.

    Attributes:
        name: Model name.
        kind: `cuda` or `mps`.
        total: Memory in bytes, None if it shares the main memory.
        free: Free memory in bytes, None likewise.
        driver: Version of the driver, empty if there is none to tell.
        capability: CUDA compute capability such as `9.0`, empty elsewhere.
    """

    name: str
    kind: str
    total: int | None = None
    free: int | None = None
    driver: str = ""
    capability: str = ""


def describe_graphics() -> tuple[GraphicsCard, ...]:
    """The graphics cards of this computer."""
    listing = output_of("nvidia-smi", f"--query-gpu={_QUERY}", "--format=csv,noheader,nounits", timeout=15)
    if not listing:  # Old drivers do not know compute_cap and refuse the whole query.
        shorter = _QUERY.removesuffix(",compute_cap")
        listing = output_of("nvidia-smi", f"--query-gpu={shorter}", "--format=csv,noheader,nounits", timeout=15)
    cards = tuple(parse_nvidia_smi(listing))
    if sys.platform == "darwin" and platform.machine() == "arm64":
        cards += (GraphicsCard("Apple GPU (shares the main memory)", "mps"),)
    return cards


def parse_nvidia_smi(listing: str) -> list[GraphicsCard]:
    """Cards in the CSV that `nvidia-smi` prints; lines of another form are passed over."""
    cards = []
    for line in listing.splitlines():
        fields = [field.strip() for field in line.split(",")]
        if len(fields) not in (4, 5):
            continue
        total, free = (int(field) * 2**20 if field.isdigit() else None for field in fields[1:3])
        cards.append(GraphicsCard(fields[0], "cuda", total, free, fields[3], fields[4] if len(fields) == 5 else ""))
    return cards
