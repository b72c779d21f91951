"""`mimseg`: reads the arguments, runs one command, and turns every outcome into an exit code.

Exit codes: 0 done, 1 a fault of ours (the traceback is in a log file), 2 bad usage or input,
3 out of memory, 130 stopped. Only the module of the command that runs is imported.
"""

from __future__ import annotations

import argparse
import importlib
import io
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import TextIO, cast

from mimseg import __version__, stopping
from mimseg.cli import failures
from mimseg.cli.output import Output, QuietReporter, make_output_robust
from mimseg.cli.parser import ArgumentParser
from mimseg.errors import EXIT_DONE, EXIT_STOPPED, EXIT_USER, Stopped
from mimseg.events import JsonLinesReporter, Reporter, TerminalReporter

COMMANDS = (
    "segment", "pretrain", "check", "finetune", "measure", "rank", "study", "evaluate", "convert", "models", "doctor"
)  # fmt: skip

DESCRIPTION = "Segment CT and MR volumes, and train the networks that do it. For research use only."
EPILOG = """\
example:
  mimseg segment brain.nii.gz --model hippocampus-mr -o hippocampus.seg.nrrd

exit codes: 0 done, 1 a fault of mimseg (a log file is named), 2 bad usage or input, 3 out of memory, 130 stopped
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: Arguments without the program's name, default those of the process.

    Returns:
        The exit code.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    make_output_robust()
    stopping.clear()
    restore_handlers = stopping.install_signal_handlers()
    reporter = _reporter("--json-lines" in arguments, "--quiet" in arguments)
    try:
        return _run(arguments, reporter)
    except BaseException as fault:
        return _report(fault, arguments, reporter)
    finally:
        restore_handlers()


def build_parser(only: str | None = None) -> ArgumentParser:
    """The parser of the whole command line.

    Args:
        only: Give details of this command alone, which spares importing the others.
    """
    parser = ArgumentParser(
        prog="mimseg",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"mimseg {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="command", parser_class=ArgumentParser)
    for name in COMMANDS if only is None else (only,):
        module = _load(name)
        command = commands.add_parser(
            name,
            help=module.HELP,
            description=module.HELP,
            epilog=module.EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        module.add_arguments(command)
        _add_common_options(command)
        if hasattr(module, "EVERYDAY"):
            command.show_only(module.EVERYDAY)
        command.set_defaults(module=module)
    return parser


def _run(arguments: list[str], reporter: Reporter) -> int:
    command = arguments[0] if arguments and arguments[0] in COMMANDS else None
    parser = build_parser(command)
    try:
        parsed = parser.parse_args(arguments)
    except SystemExit as end:  # --help and --version
        return int(end.code or EXIT_DONE)
    if parsed.command is None:
        parser.print_help(sys.stderr)
        return EXIT_USER
    if parsed.stop_with_stdin:
        stopping.watch_stdin()
    module = parsed.module
    del parsed.module
    module.run(parsed, reporter)
    return EXIT_DONE


def _load(name: str) -> ModuleType:
    return importlib.import_module(f"mimseg.cli.{name}")


def _add_common_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("output and control")
    group.add_argument("--json-lines", action="store_true", help="write events as JSON, one per line, to stdout")
    group.add_argument("--quiet", action="store_true", help="say nothing but warnings and errors")
    group.add_argument(
        "--stop-with-stdin",
        action="store_true",
        help="stop cleanly when standard input closes (for programs that start mimseg)",
    )


def _reporter(json_lines: bool, quiet: bool) -> Reporter:
    if json_lines:
        log = io.StringIO() if quiet else None
        return JsonLinesReporter(stream=cast(TextIO, Output()), log=log)
    return QuietReporter() if quiet else TerminalReporter()


def _report(fault: BaseException, arguments: Sequence[str], reporter: Reporter) -> int:
    error = failures.explain(fault)
    if error is None:
        error = failures.describe_bug(fault, failures.write_bug_log(fault, arguments))
    try:
        reporter.error(error.code, error.message, error.hint)
    except (OSError, Stopped):
        return EXIT_STOPPED if isinstance(error, Stopped) else error.exit_code
    return error.exit_code
