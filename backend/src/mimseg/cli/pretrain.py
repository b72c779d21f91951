"""`mimseg pretrain`: an encoder from unlabelled volumes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mimseg.cli.options.presets import METHOD_SCHEDULES, METHOD_SETTINGS, PRETRAIN, apply_preset
from mimseg.cli.options.training import add_network_options, add_run_options, decoder_from, shared_settings
from mimseg.errors import UserError
from mimseg.events import Reporter
from mimseg.networks.methods import METHODS

if TYPE_CHECKING:
    from mimseg.commands.pretrain.settings import PretrainSettings

HELP = f"pre-train an encoder on unlabelled volumes ({', '.join(method.title for method in METHODS.values())})"
EPILOG = """examples:
  mimseg pretrain scans/ -o my-pretraining --minutes 60
  mimseg pretrain scans/ -o run --method simmim --mask-ratio 0.6 --set head=perceptron --minutes 60
  mimseg pretrain scans/ -o run --preset paper --preprocessing btcv --steps 100000 --device cuda

settings of the methods, for --set NAME=VALUE:
  mae     mask_ratio, decoder_size, decoder_layers, decoder_heads, target (raw, normalized), loss (l1, l2),
          loss_on (masked, all), encoder_norm (true, false)
  simmim  mask_ratio, head (linear, perceptron, transposed_convolution), target, loss, loss_on, encoder_norm
  simclr  temperature, projection_size, chunk (crops in memory at once)"""

# Options of their own for what is changed most; everything else goes through --set.
FREQUENT = ("mask_ratio", "decoder_layers", "decoder_size", "decoder_heads")

# What --help shows; --help-all shows the rest.
EVERYDAY = (
    "--output",
    "--minutes",
    "--steps",
    "--method",
    "--mask-ratio",
    "--cases",
    "--init",
    "--preset",
    "--window",
    "--spacing",
    "--resume",
    "--device",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("data", nargs="+", type=Path, help="files or folders with volumes, DICOM included; data sets")
    parser.add_argument("-o", "--output", required=True, type=Path, help="folder of the run")
    parser.add_argument("--cases", help="only these volumes: names without extension, a text file, or FILE.json:key")
    parser.add_argument("--init", default="none", help="pre-training run or model to go on from (default: none)")
    group = parser.add_argument_group("method")
    group.add_argument(
        "--method",
        choices=tuple(METHODS),
        default="mae",
        help="; ".join(f"{name}: {method.summary}" for name, method in METHODS.items()) + " (default: %(default)s)",
    )
    group.add_argument("--mask-ratio", type=float, help="share of patches hidden (default: the method's)")
    group.add_argument(
        "--decoder",
        metavar="WxL[xH]",
        help="MAE: width, blocks and heads of the decoder at once: 512x8 and 768x1 are those of Chen et al.",
    )
    group.add_argument("--decoder-layers", type=int, help="MAE: transformer blocks of the decoder")
    group.add_argument("--decoder-size", type=int, help="MAE: width of the decoder's tokens")
    group.add_argument("--decoder-heads", type=int, help="MAE: attention heads of the decoder")
    group.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="another setting of the method; may be repeated",
    )
    add_run_options(parser)
    add_network_options(parser)


def run(arguments: argparse.Namespace, reporter: Reporter) -> None:
    """Pre-train."""
    from mimseg.cli.requirements import need_training_runtime

    need_training_runtime()
    from mimseg.commands.pretrain.run import pretrain

    pretrain(settings_from(arguments), reporter)


def settings_from(arguments: argparse.Namespace) -> PretrainSettings:
    """What the arguments and their preset mean."""
    from mimseg.commands.pretrain.settings import PretrainSettings
    from mimseg.training.budget import Budget

    apply_preset(arguments, METHOD_SCHEDULES[arguments.preset].get(arguments.method, {}))
    apply_preset(arguments, PRETRAIN[arguments.preset])
    return PretrainSettings(
        data=tuple(arguments.data),
        output=arguments.output,
        budget=Budget(arguments.steps, arguments.minutes),
        method=arguments.method,
        method_settings=_method_settings(arguments),
        initial=None if arguments.init.lower() == "none" else arguments.init,
        resume=arguments.resume,
        **shared_settings(arguments),
    )


def _method_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """The preset's settings of the method, overridden by options, overridden by --set."""
    given = {name: getattr(arguments, name) for name in FREQUENT if getattr(arguments, name) is not None}
    decoder = {}
    if arguments.decoder:
        decoder = dict(
            zip(("decoder_size", "decoder_layers", "decoder_heads"), decoder_from(arguments.decoder), strict=True)
        )
    values = {**METHOD_SETTINGS[arguments.preset].get(arguments.method, {}), **decoder, **given}
    for entry in arguments.set:
        name, separator, text = entry.partition("=")
        if not separator or not name:
            raise UserError(f"--set {entry} is not NAME=VALUE.", "For example --set target=normalized.", "bad-usage")
        values[name.strip().replace("-", "_")] = _value(text.strip())
    return values


def _value(text: str) -> Any:
    """A number or truth value if it looks like one, else the text."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
