"""`mimseg evaluate`: compare segmentations with references."""

from __future__ import annotations

import argparse
from pathlib import Path

from mimseg.events import Reporter

HELP = "compare segmentations with references: Dice, HD95, surface Dice, volume error"
EPILOG = """\
examples:
  mimseg evaluate --pred segmented/ --ref labelsTr/ -o scores
  mimseg evaluate --pred result.seg.nrrd --ref reference.seg.nrrd -o scores --tolerance 2

Files are matched by name without extension and without `_segmentation`. Labels are matched by name
where the files or --labels say the names, by value otherwise. --labels takes the file that finetune took:
structures of several values are compared as a whole, a prediction's values being those that segment writes.
A file that cannot be read is left out and named.
Writes scores.csv (one row a case and class) and scores.json (mean, median and 95 % bootstrap interval)."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("--pred", required=True, type=Path, help="label map, or folder of label maps, to judge")
    parser.add_argument("--ref", required=True, type=Path, help="reference label map or folder")
    parser.add_argument("-o", "--output", required=True, type=Path, help="report; .csv and .json are appended")
    parser.add_argument("--labels", type=Path, help="JSON file with value and name of the structures to score")
    parser.add_argument("--tolerance", type=float, default=1.0, help="of the surface Dice in mm (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap (default: %(default)s)")


def run(arguments: argparse.Namespace, reporter: Reporter) -> None:
    """Evaluate, and show the summary."""
    from mimseg.cli.output import print_out
    from mimseg.commands.evaluate.report import format_table
    from mimseg.commands.evaluate.run import EvaluateSettings, evaluate

    settings = EvaluateSettings(
        predictions=arguments.pred,
        references=arguments.ref,
        output=arguments.output,
        labels=arguments.labels,
        tolerance_mm=arguments.tolerance,
        seed=arguments.seed,
    )
    evaluation, (table, report) = evaluate(settings, reporter)
    if arguments.json_lines:
        for name, scores in evaluation.classes.items():
            for metric, summary in scores.items():
                reporter.metric(metric, summary.mean, label=name, median=summary.median, cases=summary.cases)
    reporter.result(
        csv=str(table), json=str(report), cases=len(evaluation.cases), mean_dice=evaluation.overall["dice"].mean
    )
    if not arguments.json_lines:
        print_out(format_table(evaluation))
