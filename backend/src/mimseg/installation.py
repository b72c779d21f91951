"""Commands that install what is missing, from the place that this mimseg came from.

No package index is known to hold mimseg, so no command names it without the folder, file or repository of its origin.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

DOCUMENTATION = "See docs/installation.md in the copy of MIMSegment that this program came from."


def pip_install(arguments: str) -> tuple[str, ...]:
    """Commands that install into the Python that runs now."""
    python = f'"{sys.executable}"' if " " in (sys.executable or "") else sys.executable or "python"
    if find_spec("pip") is not None:
        return (f"{python} -m pip install {arguments}",)
    if shutil.which("uv"):
        return (f"uv pip install --python {python} {arguments}",)
    return f"{python} -m ensurepip --upgrade", f"{python} -m pip install {arguments}"


def remedy(extra: str = "") -> str:
    """What to do to get the packages that mimseg declares, as one sentence.

    Args:
        extra: `train`, or empty for what segmenting needs.
    """
    found = origin(extra)
    if not found:
        return DOCUMENTATION
    return f"Install what is missing: {' && '.join(pip_install(found))}"


def origin(extra: str = "") -> str:
    """What to give to pip so that it takes this mimseg again, quoted; empty where that is unknown."""
    wanted = f"[{extra}]" if extra else ""
    source = Path(__file__).resolve().parents[2]
    if (source / "pyproject.toml").is_file():
        return f'"{source}{wanted}"'
    try:
        text = metadata.distribution("mimseg").read_text("direct_url.json")
        described = json.loads(text or "{}")
    except (metadata.PackageNotFoundError, OSError, ValueError):
        return ""
    url = described.get("url", "")
    if "vcs_info" in described:
        return f'"mimseg{wanted} @ {described["vcs_info"].get("vcs", "git")}+{_part_of(described, url)}"'
    if url.startswith("file:"):
        path = _local_path(url)
        return f'"{path}{wanted}"' if path.exists() else ""
    return f'"mimseg{wanted} @ {url}"' if url else ""


def _part_of(described: dict, url: str) -> str:
    revision = described["vcs_info"].get("requested_revision", "")
    folder = described.get("subdirectory", "")
    return url + (f"@{revision}" if revision else "") + (f"#subdirectory={folder}" if folder else "")


def _local_path(url: str) -> Path:
    encoded = url.removeprefix("file://").encode()
    path = re.sub(rb"%([0-9A-Fa-f]{2})", lambda found: bytes.fromhex(found[1].decode()), encoded).decode()
    return Path(path[1:] if re.match(r"/[A-Za-z]:", path) else path)
