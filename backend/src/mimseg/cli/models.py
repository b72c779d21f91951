"""`mimseg models`: the models on this computer."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mimseg.errors import UserError
from mimseg.events import Reporter

if TYPE_CHECKING:
    from mimseg.bundle.reader import Bundle
    from mimseg.tasks.models import ModelEntry

HELP = "list, show, export, import and remove models"
EPILOG = """\
examples:
  mimseg models list
  mimseg models show hippocampus-mr
  mimseg models export hippocampus-mr hippocampus-mr.zip
  mimseg models import hippocampus-mr.zip
  mimseg models remove my-model

Imported models are kept in the folder MIMSEG_MODELS, or else in the user's data folder. Nothing in a model is run
as a program; damaged and unsafe files are refused.
"""


ACTIONS = ("list", "show", "export", "import", "remove")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    # No parsers of their own for the actions: options such as --json-lines may stand behind them.
    parser.add_argument("action", choices=ACTIONS, help="what to do")
    parser.add_argument("model", nargs="?", help="name, folder or .zip; a zip or a folder for import")
    parser.add_argument("output", nargs="?", type=Path, metavar="OUT.zip", help="of export: file, or existing folder")
    parser.add_argument("--replace", action="store_true", help="import: replace a model of the same name")


def run(arguments: argparse.Namespace, reporter: Reporter) -> None:
    """Carry out the command."""
    from mimseg.cli.output import print_out
    from mimseg.tasks import models

    _check_usage(arguments)
    if arguments.json_lines:
        reporter.start("models", action=arguments.action)
    if arguments.action == "list":
        entries = models.list_models()
        if arguments.json_lines:
            reporter.result(models=[entry.to_json() for entry in entries])
        else:
            print_out(format_list(entries))
    elif arguments.action == "show":
        bundle = models.show_model(arguments.model)
        if arguments.json_lines:
            reporter.result(**_facts(bundle), description=bundle.description.to_json())
        else:
            print_out(format_bundle(bundle))
    elif arguments.action == "export":
        reporter.result(file=str(models.export_model(arguments.model, arguments.output)))
    elif arguments.action == "import":
        reporter.result(**_facts(models.take_in_model(Path(arguments.model), arguments.replace)))
    else:
        reporter.result(removed=str(models.remove_model(arguments.model)))


def _check_usage(arguments: argparse.Namespace) -> None:
    """Raise UserError unless the action has just what it needs."""
    needs_model, needs_output = arguments.action != "list", arguments.action == "export"
    if (arguments.model is not None) == needs_model and (arguments.output is not None) == needs_output:
        return
    needed = (" MODEL" if needs_model else "") + (" OUT.zip" if needs_output else "")
    raise UserError(
        f"`models {arguments.action}` takes {needed.strip() or 'nothing more'}.",
        f"Write: mimseg models {arguments.action}{needed}",
        "usage",
    )


def format_list(entries: list[ModelEntry]) -> str:
    """Models as a table, one line each."""
    if not entries:
        return "No models. Import one with `mimseg models import FILE.zip`, or train one with `mimseg finetune`."
    rows = [("NAME", "VERSION", "", "TITLE")]
    for entry in entries:
        description = entry.description
        origin = "shipped" if entry.bundle.shipped else "yours"
        if description is None:
            rows.append((entry.bundle.name, "?", origin, f"unusable: {entry.fault}"))
        else:
            rows.append((entry.bundle.name, description.version, origin, description.title))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join("  ".join([*map(str.ljust, row[:3], widths), row[3]]).rstrip() for row in rows)


def format_bundle(bundle: Bundle) -> str:
    """A model's description for a person."""
    description = bundle.description
    lines = [
        f"{description.title} ({description.name} {description.version})",
        description.description,
        "",
        f"Input:      {description.modality} ({', '.join(description.channels)})",
        "Structures: " + ", ".join(f"{label.value} {label.name}" for label in description.labels),
    ]
    dice = (description.scores.get("summary") or {}).get("mean_dice")
    if isinstance(dice, (int, float)):
        lines.append(f"Accuracy:   mean Dice {dice:.3f} on its validation cases")
    lines += [
        f"Licence:    {description.licence}",
        *([f"Cite:       {description.citation}"] if description.citation else []),
        f"Files:      {bundle.path} ({bundle.size_bytes / 1e6:.1f} MB, all unchanged)",
        description.intended_use,
    ]
    return "\n".join(lines)


def _facts(bundle: Bundle) -> dict[str, Any]:
    return {
        "name": bundle.description.name,
        "version": bundle.description.version,
        "path": str(bundle.path),
        "size_bytes": bundle.size_bytes,
        "identity": bundle.identity,
    }
