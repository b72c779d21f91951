"""Where models lie: those shipped with the package, and those the user imported or trained."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import mimseg
from mimseg.errors import UserError

ENVIRONMENT_VARIABLE = "MIMSEG_MODELS"
DESCRIPTION_FILE = "segmentation.json"


@dataclass(frozen=True)
class ListedBundle:
    """A model that can be called by its name.

    Attributes:
        name: Folder name, which is the model's name.
        path: The folder.
        shipped: It came with the package, so it cannot be removed.
    """

    name: str
    path: Path
    shipped: bool


def shipped_folder() -> Path:
    """The folder of models that come with mimseg (it need not exist).

    `mimseg/shipped_models` in an installed package, `Resources/Models` in a checkout.
    """
    package = Path(mimseg.__file__).resolve().parent
    inside = package / "shipped_models"
    if inside.is_dir():
        return inside
    checkout = package.parents[2]
    return checkout / "Resources" / "Models"


def user_folder() -> Path:
    """The folder of the user's own models (it need not exist): `MIMSEG_MODELS`, or the platform's data folder."""
    chosen = os.environ.get(ENVIRONMENT_VARIABLE, "").strip()
    if chosen:
        return Path(chosen).expanduser().absolute()
    home = Path.home()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = home / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    return base / "mimseg" / "models"


def list_bundles() -> list[ListedBundle]:
    """All models that can be called by name, sorted; a user's model hides a shipped one of the same name."""
    found: dict[str, ListedBundle] = {}
    for folder, shipped in ((shipped_folder(), True), (user_folder(), False)):
        if not folder.is_dir():
            continue
        for path in sorted(folder.iterdir()):
            if not path.name.startswith(".") and (path / DESCRIPTION_FILE).is_file():
                found[path.name] = ListedBundle(path.name, path, shipped)
    return [found[name] for name in sorted(found)]


def find_bundle(name_or_path: str | os.PathLike[str]) -> Path:
    """The folder or zip file of a model.

    A path wins over a name: `./mine` and `mine` both mean the folder `mine` here, if it holds a model.

    Args:
        name_or_path: Path of a model's folder or `.zip`, or the name of a shipped or imported model.

    Raises:
        UserError: There is no such model.
    """
    text = os.fspath(name_or_path)
    path = Path(text).expanduser()
    if text.strip() and ((path / DESCRIPTION_FILE).is_file() or (path.suffix.lower() == ".zip" and path.is_file())):
        return path
    bundles = list_bundles()
    for bundle in bundles:
        if bundle.name == text:
            return bundle.path
    if path.exists() and (path.is_file() or os.sep in text or "/" in text):
        raise UserError(
            f"{text} is not a model: it has no {DESCRIPTION_FILE}.",
            "Give the folder that `mimseg finetune -o` wrote, or a .zip that `mimseg models export` wrote.",
            "not-a-model",
        )
    names = ", ".join(bundle.name for bundle in bundles) or "none"
    raise UserError(
        f"There is no model {text!r}.",
        f"Models on this computer: {names}. Or give the path of a model's folder or .zip file.",
        "no-such-model",
    )
