"""`mimseg study`: answer a claim of the paper on one's own data."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from mimseg.cli.options.training import add_network_options, decoder_from, network_from, spacing_from, window_from
from mimseg.errors import UserError
from mimseg.events import Reporter
from mimseg.networks.settings import pretrainable
from mimseg.studies.design import GIVEN, Design, given_starts, starts

Value = TypeVar("Value")

CLAIMS = ("convergence", "masking", "decoder", "resolution", "labels")
HELP = "compare pre-training methods and settings on your own data, with a report"
EPILOG = """examples:
  mimseg study convergence Task04_Hippocampus -o report --minutes 240
  mimseg study labels cases.csv -o report --sizes 1,3,10,all --steps 2000 --pretrain-steps 4000
  mimseg study labels cases.csv -o report --report-only
  mimseg study labels cases.csv -o report --init my-encoder --sizes 3,10 --minutes 240

claims:
  convergence  do MAE and SimMIM make fine-tuning faster and better than SimCLR and random weights?
  masking      which mask ratio and patch size?
  decoder      does a light decoder or head suffice?
  resolution   does MAE help at every working resolution?
  labels       does MAE help when few cases are labelled?

The report is report.html in the folder, with results.csv, results.json and figures/ beside it. A stopped study goes on
when the same command is given again; several processes may share the runs of one or several studies (--runs)."""

# Options whose values name files or cases: the report shows a word in capitals instead.
PRIVATE = {"init": "WEIGHTS", "runs": "RUNS", "labels": "LABELS", "pool": "POOL", "validation": "VALIDATION"}
NOT_SHOWN = {"command", "module", "claim", "data", "output", "report_only", "json_lines", "quiet", "stop_with_stdin"}

# What --help shows; --help-all shows the rest.
EVERYDAY = (
    "--output",
    "--minutes",
    "--steps",
    "--pretrain-steps",
    "--seeds",
    "--labelled",
    "--labels",
    "--pool",
    "--validation",
    "--runs",
    "--report-only",
    "--device",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("claim", choices=CLAIMS, help="what to find out")
    parser.add_argument("data", type=Path, help="folder with imagesTr and labelsTr, dataset.json, or a case list")
    parser.add_argument("-o", "--output", required=True, type=Path, help="folder of the report")
    parser.add_argument("--runs", type=Path, help="folder of the runs; may be shared (default: runs in the report)")
    parser.add_argument("--report-only", action="store_true", help="train nothing; write the report of what is there")
    usual = Design(CLAIMS[0])
    _add_data_options(parser.add_argument_group("data"), usual)
    _add_budget_options(parser.add_argument_group("budget"), usual)
    _add_claim_options(parser.add_argument_group("what is compared"), usual)
    _add_training_options(parser.add_argument_group("training, equal for all runs"), usual)
    add_network_options(parser)


def _add_data_options(group: argparse._ArgumentGroup, usual: Design) -> None:
    group.add_argument("--pool", help="cases to learn from: names, a text file, or FILE.json:key (default: the rest)")
    group.add_argument("--validation", help="cases to score, likewise (default: every fifth subject)")
    group.add_argument("--labels", type=Path, help="JSON file with value and name of each structure")
    group.add_argument(
        "--labelled", type=int, default=usual.labelled, help="cases to fine-tune on (default: %(default)s)"
    )
    group.add_argument("--modality", choices=("CT", "MR"), help="default: guessed from the values")
    group.add_argument("--spacing", help="working spacing in mm (default: median of the data)")


def _add_budget_options(group: argparse._ArgumentGroup, usual: Design) -> None:
    group.add_argument("--minutes", type=float, help="for the whole study in one process; a probe finds the steps")
    group.add_argument("--pretrain-steps", type=int, help="of each pre-training")
    group.add_argument("--steps", type=int, help="of each fine-tuning")
    group.add_argument(
        "--seeds",
        default=_joined(usual.seeds),
        help="repeat with each; one alone shows no difference (default: %(default)s)",
    )
    group.add_argument("--pretrain-every-seed", action="store_true", help="pre-train once a seed, not once for all")


def _add_claim_options(group: argparse._ArgumentGroup, usual: Design) -> None:
    for option, default, text in (
        ("--mask-ratios", _joined(usual.mask_ratios), "masking: shares hidden"),
        ("--patch-sizes", _joined(usual.patch_sizes), "masking: voxels"),
        ("--decoders", _joined(usual.decoders), "decoder: MAE's, width x blocks or width x blocks x heads"),
        ("--simmim-heads", _joined(usual.heads), "decoder: SimMIM's"),
        ("--spacings", _joined(x for x, _, _ in usual.spacings), "resolution: mm; several axes as in 1,1,3;2,2,3"),
        ("--sizes", _joined(size or "all" for size in usual.sizes), "labels: numbers of labelled cases"),
    ):
        group.add_argument(option, default=default, help=f"{text} (default: %(default)s)")
    group.add_argument(
        "--init",
        metavar="RUN|MODEL",
        help="convergence, labels: weights to start from as well, as they are and continued on the pool; pre-training "
        "run (also one that `mimseg models import` made) or model",
    )
    group.add_argument(
        "--methods",
        help=f"convergence: starts of {_joined((*starts(), *given_starts()))} (default: {_joined(usual.methods)}, with "
        f"--init {GIVEN} and {GIVEN}+mae, too)",
    )
    group.add_argument(
        "--reference",
        default=usual.reference,
        help="convergence: whose best is the threshold (default: simclr)",
    )
    group.add_argument("--with-scratch", action="store_true", help="masking: each patch size from scratch as well")
    group.add_argument("--pretrain-spacing", help="resolution: pre-train once, at this spacing")
    group.add_argument("--floor", type=float, help="Dice that is reached without looking at the image")


def _add_training_options(group: argparse._ArgumentGroup, usual: Design) -> None:
    for option, default, text in (
        ("--batch", usual.batch, "crops per fine-tuning step"),
        ("--pretrain-batch", usual.pretrain_batch, "of pre-training"),
        ("--learning-rate", usual.learning_rate, "of fine-tuning"),
        ("--pretrain-learning-rate", usual.pretrain_learning_rate, "peak"),
        ("--layer-decay", usual.layer_decay, "rate factor per pre-trained block"),
        ("--validations", usual.validations, "points of a curve"),
        ("--overlap", usual.overlap, "of windows at inference"),
    ):
        group.add_argument(option, type=type(default), default=default, help=f"{text} (default: %(default)s)")
    group.add_argument(
        "--flip-left-right", action="store_true", help="mirror half of the crops; where no structure has a side"
    )
    group.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto")
    group.add_argument("--precision", default=usual.precision, help="auto, 32-true, bf16-mixed or 16-mixed")


def run(arguments: argparse.Namespace, reporter: Reporter) -> None:
    """Carry out a study."""
    if not arguments.report_only:
        from mimseg.cli.requirements import need_training_runtime

        need_training_runtime()
    from mimseg.commands.study.run import study
    from mimseg.commands.study.settings import StudySettings

    settings = StudySettings(
        design=design_from(arguments),
        data=arguments.data,
        report=arguments.output,
        command=shown_command(arguments),
        initial=arguments.init,
        network_asked=arguments.network is not None,
        **{
            name: getattr(arguments, name)
            for name in (
                "runs", "minutes", "pretrain_steps", "steps", "pool", "validation", "labels", "device", "report_only"
            )
        },
    )  # fmt: skip
    study(settings, reporter)


def design_from(arguments: argparse.Namespace) -> Design:
    """What is compared."""
    # Starts from given weights are for those who have some.
    methods = arguments.methods or _joined((*starts(), *((GIVEN, f"{GIVEN}+mae") if arguments.init else ())))
    same = (
        "claim", "pretrain_every_seed", "reference", "with_scratch", "labelled", "floor", "modality", "batch",
        "pretrain_batch", "learning_rate", "pretrain_learning_rate", "layer_decay", "validations", "overlap",
        "flip_left_right", "precision",
    )  # fmt: skip
    return Design(
        seeds=_values(arguments.seeds, "--seeds", int),
        methods=_values(methods, "--methods", str),
        mask_ratios=_values(arguments.mask_ratios, "--mask-ratios", float),
        patch_sizes=_values(arguments.patch_sizes, "--patch-sizes", int),
        decoders=_values(arguments.decoders, "--decoders", decoder_from),
        heads=_values(arguments.simmim_heads, "--simmim-heads", str),
        spacings=_spacings(arguments.spacings, "--spacings"),
        pretrain_spacing=_spacings(arguments.pretrain_spacing, "--pretrain-spacing")[0]
        if arguments.pretrain_spacing
        else None,
        sizes=_values(arguments.sizes, "--sizes", lambda text: 0 if text == "all" else _positive(text)),
        network=pretrainable(network_from(arguments)),
        window=window_from(arguments),
        spacing=spacing_from(arguments),
        **{name: getattr(arguments, name) for name in same},
    )


def shown_command(arguments: argparse.Namespace) -> str:
    """The command as it may be shown to anyone: without defaults, and without the names of files and cases."""
    defaults = argparse.ArgumentParser(add_help=False)
    add_arguments(defaults)
    words = ["mimseg", "study", arguments.claim, "DATA", "-o", "REPORT"]
    for name, value in vars(arguments).items():
        if name in NOT_SHOWN or value == defaults.get_default(name):
            continue
        words.append(f"--{name.replace('_', '-')}")
        if value is not True:
            words.append(PRIVATE.get(name, str(value)))
    return shlex.join(words)


def _joined(values: Iterable[Any]) -> str:
    """As `_values` reads it; several numbers of one value with an x between them."""
    return ",".join("x".join(map(str, value)) if isinstance(value, tuple) else str(value) for value in values)


def _values(text: str, option: str, convert: Callable[[str], Value]) -> tuple[Value, ...]:
    try:
        return tuple(convert(part.strip()) for part in text.split(",") if part.strip())
    except ValueError as fault:
        raise UserError(f"{option} {text} is not usable ({fault}).", "See `mimseg study --help`.", "usage") from fault


def _spacings(text: str, option: str) -> tuple[tuple[float, float, float], ...]:
    """`1;1.5` or `1,1,3;2,2,3`; also `1,1.5,2`, a list of isotropic ones, where there is no semicolon."""
    parts = text.split(";") if ";" in text or option != "--spacings" else text.split(",")
    found = []
    for part in filter(None, parts):
        edges = _values(part, option, float)
        if len(edges) not in (1, 3) or min(edges) <= 0:
            raise UserError(f"{option} {text} is not made of one or three millimetres each.", "For example 1;1,1,3.")
        x, y, z = edges * 3 if len(edges) == 1 else edges
        found.append((x, y, z))
    return tuple(found)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(f"{text} is smaller than 1")
    return number
