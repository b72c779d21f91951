"""`mimseg finetune`: a UNETR from labelled cases."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mimseg.cli.options.presets import FINETUNE, METHOD_SCHEDULES, METHOD_SETTINGS, PRETRAIN, apply_preset
from mimseg.cli.options.reading import add_orientation_option
from mimseg.cli.options.training import add_network_options, add_run_options, shared_settings
from mimseg.errors import UserError
from mimseg.events import Reporter

if TYPE_CHECKING:
    from mimseg.bundle.locator import Locator
    from mimseg.commands.finetune.settings import FinetuneSettings
    from mimseg.commands.pretrain.settings import PretrainSettings

HELP = "train a segmentation model on labelled cases"
EPILOG = """examples:
  mimseg finetune Task04_Hippocampus -o my-model --init my-pretraining --minutes 60
  mimseg finetune cases.csv -o my-model --init none --labels labels.json --minutes 60
  mimseg finetune cases.csv -o my-model --init hippocampus-mr --minutes 60 --plan-only
  mimseg finetune cases.csv -o my-model --init hippocampus-mr --folds auto --compare --minutes 240
  mimseg finetune cases.csv -o my-model --init hippocampus-mr --pretrain-on scans/ --pretrain-minutes 60 \\
      --folds auto --compare --minutes 240"""

# What --help shows; --help-all shows the rest.
EVERYDAY = (
    "--output",
    "--init",
    "--minutes",
    "--labels",
    "--cases",
    "--validation",
    "--folds",
    "--compare",
    "--plan-only",
    "--resume",
    "--finish",
    "--device",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("data", type=Path, help="folder with imagesTr and labelsTr, dataset.json, or a case list")
    parser.add_argument("-o", "--output", required=True, type=Path, help="folder of the new model")
    parser.add_argument("--init", required=True, help="pre-training run, model, or none")
    parser.add_argument("--cases", help="training cases: names, a text file, or FILE.json:key")
    parser.add_argument(
        "--validation",
        help="validation cases, likewise (default: those of every fifth subject); none: all cases train, no score",
    )
    parser.add_argument("--labels", type=Path, help="JSON file with value, name, color and codes of each structure")
    add_orientation_option(parser)
    parser.add_argument("--name", help="name of the model (default: that of its folder)")
    parser.add_argument("--title", default="", help="one line about the model")
    parser.add_argument("--licence", default="Not stated", help="licence of the model")
    parser.add_argument("--attribution", default="", help="where the training data come from")
    parser.add_argument("--card", type=Path, help="JSON file with more entries for the model's description")
    parser.add_argument("--overlap", type=float, help="of windows at inference (default: measured at the end)")
    parser.add_argument(
        "--no-measure", action="store_true", help="do not measure overlap and quick mode of the finished model"
    )
    parser.add_argument(
        "--validations",
        type=_count,
        default=20,
        metavar="N",
        help="how often to score the validation cases and keep the best weights (default: %(default)s); 0 keeps the "
        "last ones, so that nothing is chosen on the cases that score it",
    )
    parser.add_argument("--layer-decay", type=float, help="rate factor per pre-trained block (default: the preset's)")
    parser.add_argument("--foreground-share", type=float, help="share of crops at a structure (default: the preset's)")
    parser.add_argument(
        "--balance",
        action="store_true",
        help="rare structures count more in the cross entropy; for many small ones in large windows",
    )
    parser.add_argument(
        "--locator",
        metavar="MODEL:STRUCTURE",
        help="in large scans the new model finds its region by this structure of another one, e.g. head:hippocampus; "
        "cases that are such scans are cut there",
    )
    parser.add_argument(
        "--trained-side",
        choices=("left", "right"),
        help="with --locator: the model sees this side only, as small cases show it; the other one is mirrored for it",
    )
    parser.add_argument(
        "--allow-incomplete", action="store_true", help="accept start weights that lack parts of the encoder"
    )
    parser.add_argument(
        "--finish",
        action="store_true",
        help="make a model of a stopped training's best weights, without training on",
    )
    parser.add_argument(
        "--plan-only", action="store_true", help="probe this computer and say what would be done; train nothing"
    )
    parser.add_argument(
        "--drawn-images",
        type=Path,
        metavar="FILE.png",
        help="where to show some of the images that are drawn from cases with labels only, also with --plan-only "
        "(default: drawn.png in the folder of the training)",
    )
    group = parser.add_argument_group("few cases")
    group.add_argument(
        "--folds",
        type=_folds,
        metavar="auto|N",
        help="cross-validate by subject (by case where none is known), then train on all cases; auto: leave-one-out up "
        "to six subjects, else 5 folds",
    )
    group.add_argument("--compare", action="store_true", help="with --folds: the same folds from scratch, paired")
    group.add_argument("--pretrain-on", type=Path, nargs="+", help="first pre-train (MAE) on these volumes of your own")
    group.add_argument("--pretrain-minutes", type=float, help="for that, in addition to --minutes")
    group.add_argument("--pretrain-steps", type=int, help="instead of --pretrain-minutes")
    add_run_options(parser)
    add_network_options(parser)


def run(arguments: argparse.Namespace, reporter: Reporter) -> None:
    """Fine-tune."""
    from mimseg.cli.requirements import need_training_runtime

    need_training_runtime()
    _check_usage(arguments)
    own = _own_pretraining(arguments)
    settings = _settings(arguments)
    if arguments.folds is None and not arguments.plan_only:
        from mimseg.commands.finetune.run import finetune

        finetune(settings, reporter)
        return
    from mimseg.commands.crossvalidate.settings import CrossvalidationSettings

    folds = CrossvalidationSettings(settings, arguments.folds or 0, arguments.compare, own)
    if arguments.plan_only:
        from mimseg.commands.crossvalidate.preview import preview_plan

        preview_plan(folds, arguments.folds is not None, reporter)
        return
    from mimseg.commands.crossvalidate.run import crossvalidate

    crossvalidate(folds, reporter)


def _settings(arguments: argparse.Namespace) -> FinetuneSettings:
    """What the arguments and their preset mean."""
    from mimseg.commands.finetune.settings import FinetuneSettings
    from mimseg.training.budget import Budget

    # The plan chooses what is left open; a run that goes on keeps what was chosen, and steps do not depend on time.
    going_on = arguments.resume or arguments.finish
    keep_overlap = arguments.overlap is not None
    planned = arguments.batch is None and arguments.preset == "small" and (going_on or arguments.minutes is not None)
    apply_preset(arguments, FINETUNE[arguments.preset])
    arguments.batch = None if planned else arguments.batch
    return FinetuneSettings(
        data=arguments.data,
        output=arguments.output,
        budget=Budget(1) if arguments.finish else Budget(arguments.steps, arguments.minutes),
        initial=None if arguments.init.lower() == "none" else arguments.init,
        validation=arguments.validation,
        labels=arguments.labels,
        name=arguments.name,
        title=arguments.title,
        layer_decay=arguments.layer_decay,
        foreground_share=arguments.foreground_share,
        include_background=arguments.include_background,
        balance=arguments.balance,
        locator=_locator(arguments),
        drawn_images=arguments.drawn_images,
        allow_incomplete=arguments.allow_incomplete,
        overlap=arguments.overlap,
        keep_overlap=keep_overlap,
        validations=arguments.validations,
        measure=not arguments.no_measure,
        licence=arguments.licence,
        attribution=arguments.attribution,
        notes=_read_card(arguments.card),
        resume=arguments.resume or arguments.finish,
        **shared_settings(arguments),
        orientation=arguments.orientation,
        finish=arguments.finish,
    )


def _own_pretraining(arguments: argparse.Namespace) -> PretrainSettings | None:
    """The pre-training on the user's own volumes, with pretrain's defaults; before fine-tuning's preset is applied."""
    if not arguments.pretrain_on:
        return None
    from mimseg.commands.pretrain.settings import PretrainSettings
    from mimseg.training.budget import Budget

    copy = argparse.Namespace(**vars(arguments))
    own = ("batch", "crops_per_volume", "learning_rate", "weight_decay", "warmup", "floor", "clip", "average")
    for name in (*own, "optimizer"):
        setattr(copy, name, None)
    copy.cases = None
    apply_preset(copy, METHOD_SCHEDULES[copy.preset].get("mae", {}))
    apply_preset(copy, PRETRAIN[copy.preset])
    return PretrainSettings(
        data=tuple(arguments.pretrain_on),
        output=arguments.output,
        budget=Budget(arguments.pretrain_steps, arguments.pretrain_minutes),
        method_settings=METHOD_SETTINGS[copy.preset].get("mae", {}),
        **shared_settings(copy),
    )


def _check_usage(arguments: argparse.Namespace) -> None:
    """Refuse options that need --folds without it.

    Raises:
        UserError: One of them stands alone.
    """
    if arguments.folds is None and (arguments.compare or arguments.pretrain_on):
        raise UserError("--compare and --pretrain-on need --folds.", "For example --folds auto.", "bad-usage")
    if arguments.pretrain_on and (arguments.pretrain_minutes is None) == (arguments.pretrain_steps is None):
        raise UserError(
            "--pretrain-on needs either --pretrain-minutes or --pretrain-steps.", "For example 60.", "bad-usage"
        )


def _locator(arguments: argparse.Namespace) -> Locator | None:
    from mimseg.commands.finetune.locator import parse_locator

    if arguments.locator is None:
        if arguments.trained_side:
            raise UserError("--trained-side needs --locator.", "For example --locator head:hippocampus.", "bad-usage")
        return None
    return parse_locator(arguments.locator, arguments.trained_side or "")


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text} is less than 0")
    return number


def _folds(text: str) -> int:
    """Number of folds; 0 for `auto`."""
    if text == "auto":
        return 0
    if not text.isdigit() or int(text) < 2:
        raise argparse.ArgumentTypeError(f"{text} is neither auto nor a number from 2")
    return int(text)


def _read_card(path: Path | None) -> dict[str, Any] | None:
    allowed = {"title", "description", "version", "citation", "intended_use", "channels"}
    if path is None:
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as fault:
        raise UserError(f"The card {path} cannot be read ({fault}).", "Give a JSON object.", "bad-card") from fault
    if not isinstance(content, dict) or set(content) - allowed:
        raise UserError(f"The card {path} has entries other than {sorted(allowed)}.", "Remove them.", code="bad-card")
    return content
