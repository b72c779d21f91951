"""`mimseg models`: the models on this computer."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mimseg.cli.options.training import window_from
from mimseg.cli.requirements import need_training_runtime
from mimseg.errors import UserError
from mimseg.events import Reporter

if TYPE_CHECKING:
    from mimseg.bundle.reader import Bundle
    from mimseg.commands.models.collection import ModelEntry

HELP = "list, show, export, import and remove models"
EPILOG = """\
examples:
  mimseg models list
  mimseg models show hippocampus-mr
  mimseg models export hippocampus-mr hippocampus-mr.zip
  mimseg models export hippocampus-mr hippocampus-onnx.zip --format onnx
  mimseg models export my-model my-model-monai.zip --format monai
  mimseg models export my-pretraining encoder.pth --format nnssl
  mimseg models import hippocampus-mr.zip
  mimseg models import PrimusM-OpenMind-MAE.pth my-encoder
  mimseg models import vitmae.ckpt my-encoder --preprocessing btcv
  mimseg models import unetr.pt --preprocessing btcv --labels organs.json --name organs-ct
  mimseg models remove my-model

Imported models are kept in the folder MIMSEG_MODELS, or else in the user's data folder. Weights of MIM-Med3D, MONAI
and nnssl (Primus) are recognised by the names of their tensors: a UNETR becomes a model, an encoder alone a
pre-training run in the folder OUT, for `mimseg finetune --init OUT`. Nothing in a file is run as a program; damaged
and unsafe files are refused.
"""


ACTIONS = ("list", "show", "export", "import", "remove")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    # No parsers of their own for the actions: options such as --json-lines may stand behind them.
    parser.add_argument("action", choices=ACTIONS, help="what to do")
    parser.add_argument("model", nargs="?", help="name, folder or .zip; for import also a file of weights")
    parser.add_argument(
        "output", nargs="?", type=Path, metavar="OUT", help="export: .zip file or existing folder; import: new folder"
    )
    parser.add_argument(
        "--format",
        choices=("zip", "onnx", "monai", "nnssl"),
        default="zip",
        help="export: a model as zip; for other programs, as ONNX with a README of all around it, or with "
        "MONAI's own models/model.pt; the encoder of a pre-trained Primus for nnU-Net (default: %(default)s)",
    )
    parser.add_argument(
        "--classes",
        type=int,
        metavar="N",
        help="export to nnssl: add a decoder with fresh weights for N classes, background included, as "
        "`nnUNetv2_train -pretrained_weights` wants it",
    )
    parser.add_argument("--replace", action="store_true", help="import: replace a model of the same name")
    group = parser.add_argument_group("import of weights of other programs (what their files do not say)")
    group.add_argument("--preprocessing", help="btcv, brats, or a JSON file as in segmentation.json")
    group.add_argument("--labels", type=Path, help="JSON file with value, name, color and codes of each structure")
    group.add_argument("--modality", choices=("CT", "MR"))
    group.add_argument("--multilabel", action="store_true", help="the outputs are independent (sigmoid)")
    group.add_argument("--window", help="voxels that the network sees at once, e.g. 96,96,64 (default: a cube)")
    group.add_argument("--heads", type=int, help="attention heads (default: 12 for ViT-B)")
    group.add_argument("--patch-size", type=int, help="edge of a patch in voxels")
    group.add_argument("--name", help="name of the model (default: that of the file)")
    group.add_argument("--title", default="", help="one line about the model")
    group.add_argument("--licence", default="Not stated", help="licence of the weights")
    group.add_argument("--source", help="importer, where several know the file; the error message lists them")
    group.add_argument("--prefix", default="", help="beginning of the encoder's names, where a file holds several")
    group.add_argument("--allow-incomplete", action="store_true", help="accept an encoder that lacks tensors")


def run(arguments: argparse.Namespace, reporter: Reporter) -> None:
    """Carry out the command."""
    from mimseg.cli.output import print_out
    from mimseg.commands.models import collection as models

    _check_usage(arguments)
    if arguments.json_lines:
        reporter.start("models", action=arguments.action)
    if arguments.action == "list":
        entries = models.list_models()
        if arguments.json_lines:
            reporter.result(models=[entry.to_json() for entry in entries], methods=models.list_methods())
        else:
            print_out(format_list(entries))
    elif arguments.action == "show":
        bundle = models.show_model(arguments.model)
        if arguments.json_lines:
            reporter.result(**_facts(bundle), description=bundle.description.to_json())
        else:
            print_out(format_bundle(bundle))
    elif arguments.action == "export":
        reporter.result(file=str(_export(arguments)))
    elif arguments.action == "import":
        _import(arguments, reporter)
    else:
        reporter.result(removed=str(models.remove_model(arguments.model)))


def _export(arguments: argparse.Namespace) -> Path:
    if arguments.format == "nnssl":
        need_training_runtime()
        from mimseg.commands.models.export_nnssl import export_nnssl

        return export_nnssl(Path(arguments.model), arguments.output, arguments.classes)
    if arguments.format == "monai":
        need_training_runtime()
        from mimseg.commands.models.export_monai import export_monai

        return export_monai(arguments.model, arguments.output)
    if arguments.format == "onnx":
        from mimseg.commands.models.export_onnx import export_onnx

        return export_onnx(arguments.model, arguments.output)
    from mimseg.commands.models.collection import export_model

    return export_model(arguments.model, arguments.output)


def _import(arguments: argparse.Namespace, reporter: Reporter) -> None:
    from mimseg.commands.models.import_settings import ImportSettings, is_model_of_mimseg

    source = Path(arguments.model)
    if is_model_of_mimseg(source):
        from mimseg.commands.models.collection import take_in_model

        if arguments.output is not None:
            raise UserError("A model of mimseg is imported under its own name.", "Leave OUT out.", "usage")
        reporter.result(**_facts(take_in_model(source, arguments.replace)))
        return
    need_training_runtime()
    from mimseg.commands.models.import_weights import import_weights

    names = (
        "output", "prefix", "heads", "patch_size", "preprocessing", "labels", "modality", "multilabel", "name", "title",
        "licence", "replace", "allow_incomplete",
    )  # fmt: skip
    settings = ImportSettings(
        source=source,
        importer=arguments.source,
        window=window_from(arguments),
        **{name: getattr(arguments, name) for name in names},
    )
    imported = import_weights(settings, reporter)
    arrived, expected = imported.report.encoder_counts
    reporter.result(
        **(_facts(imported.bundle) if imported.bundle else {"run": str(imported.path)}),
        source=imported.source,
        encoder_tensors=f"{arrived} of {expected}",
        notes=list(imported.notes),
        transfer=imported.report.to_json(),
    )


def _check_usage(arguments: argparse.Namespace) -> None:
    """Raise UserError unless the action has just what it needs."""
    if arguments.classes is not None and (arguments.format != "nnssl" or arguments.classes < 2):
        raise UserError(
            "--classes belongs to `models export --format nnssl` and is 2 or more.",
            "Count the background, too.",
            "usage",
        )
    needs_model = arguments.action != "list"
    outputs = {"export": (True,), "import": (False, True)}.get(arguments.action, (False,))
    if (arguments.model is not None) == needs_model and (arguments.output is not None) in outputs:
        return
    output = {"export": " OUT.zip", "import": " [OUT]"}.get(arguments.action, "")
    needed = (" MODEL" if needs_model else "") + output
    raise UserError(
        f"`models {arguments.action}` takes {needed.strip() or 'nothing more'}.",
        f"Write: mimseg models {arguments.action}{needed}",
        "usage",
    )


def format_list(entries: list[ModelEntry]) -> str:
    """Models as a table, one line each."""
    if not entries:
        return "No models. Import one with `mimseg models import FILE.zip`, or train one with `mimseg finetune`."
    rows = [("NAME", "VERSION", "", "NETWORK", "TITLE")]
    for entry in entries:
        description = entry.description
        origin = "shipped" if entry.bundle.shipped else "yours"
        if description is None:
            rows.append((entry.bundle.name, "?", origin, "?", f"unusable: {entry.fault}"))
        else:
            quick = f" (quick mode: {-description.quick.dice_loss:+.3f} Dice)" if description.quick else ""
            network = description.network_settings.title
            rows.append((entry.bundle.name, description.version, origin, network, description.title + quick))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join("  ".join([*map(str.ljust, row[:4], widths), row[4]]).rstrip() for row in rows)


def format_bundle(bundle: Bundle) -> str:
    """A model's description for a person."""
    description = bundle.description
    lines = [
        f"{description.title} ({description.name} {description.version})",
        description.description,
        "",
        f"Input:      {description.modality} ({', '.join(description.channels)})",
        f"Network:    {description.network_settings.in_words()}",
        "Structures: " + ", ".join(f"{label.value} {label.name}" for label in description.labels),
    ]
    summary = description.scores.get("summary") or {}
    if isinstance(summary.get("mean_dice"), (int, float)):
        whose = f" (version {summary['version']}, which had not seen them)" if summary.get("version") else ""
        lines.append(f"Accuracy:   mean Dice {summary['mean_dice']:.3f} on its validation cases{whose}")
    if description.quick:
        lines.append(f"Quick mode: {description.quick_in_words()}")
    if description.locator:
        lines.append(f"Locator:    {description.locator.in_words()}.")
    if description.one_piece:
        lines.append(f"Afterwards: {description.pieces_in_words()}")
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
