"""`mimseg doctor`: what this computer can do and what it lacks."""

from __future__ import annotations

import argparse
import json

from mimseg.errors import UserError
from mimseg.events import Reporter

HELP = "show what this computer can do, what is missing, and the command that mends it"
EPILOG = """\
examples:
  mimseg doctor
  mimseg doctor --json > computer.json

The exit code is 0 even if something is missing. Nothing is sent anywhere."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    parser.add_argument("--quick", action="store_true", help="do not try the training packages, measure no speed")


def run(arguments: argparse.Namespace, reporter: Reporter) -> None:
    """Examine this computer, and show what was found."""
    from mimseg.cli.output import print_out
    from mimseg.commands.doctor.run import examine, format_examination

    if arguments.json and arguments.json_lines:
        raise UserError("--json and --json-lines exclude each other.", "Choose one of them.", code="usage")
    found = examine(reporter, quick=arguments.quick)
    if arguments.json_lines:
        reporter.result(**found.to_json())
    else:
        print_out(json.dumps(found.to_json(), indent=1) if arguments.json else format_examination(found))
