"""The parser of the command line: errors like all others, a short and a whole help, values that begin with a minus."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from typing import Any, NoReturn, TypeVar

from mimseg.cli.output import print_out
from mimseg.errors import UserError

Settings = TypeVar("Settings")

# Options whose value may begin with a minus, which argparse would take for an option of its own.
_SIGNED = frozenset({"--roi"})
_NUMBERS = re.compile(r"-\.?\d[\d.,eE+-]*")


class ArgumentParser(argparse.ArgumentParser):
    """A parser of one command.

    `show_only` keeps the everyday options in `--help`; the others are shown by `--help-all`.
    """

    _everyday: frozenset[str] = frozenset()

    def show_only(self, options: Iterable[str]) -> None:
        """Let `--help` show these options only, and add `--help-all`, which shows all."""
        self.add_argument("--help-all", action=_HelpAll, help="show all options, not only the everyday ones")
        self._everyday = frozenset({*options, "--help", "--help-all"})

    def format_help(self) -> str:
        """The help with the everyday options, or all where there are no such."""
        if not self._everyday:
            return super().format_help()
        hidden = [action for action in self._actions if action.option_strings and not self._is_everyday(action)]
        texts = [action.help for action in hidden]
        for action in hidden:
            action.help = argparse.SUPPRESS
        try:
            return super().format_help() + f"\nAll {len(self._actions)} options: {self.prog} --help-all\n"
        finally:
            for action, text in zip(hidden, texts, strict=True):
                action.help = text

    def format_whole_help(self) -> str:
        """The help with all options."""
        return super().format_help()

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> Any:
        """As argparse does it, but `--roi -45,...` is what `--roi=-45,...` is."""
        return super().parse_known_args(None if args is None else _joined(args), namespace)

    def error(self, message: str) -> NoReturn:
        """Refuse the arguments.

        Raises:
            UserError: Always.
        """
        raise UserError(f"{message[:1].upper()}{message[1:]}.", f"See `{self.prog} --help`.", code="usage")

    def _is_everyday(self, action: argparse.Action) -> bool:
        return not self._everyday.isdisjoint(action.option_strings)


def settings_of(kind: Callable[..., Settings], arguments: argparse.Namespace, **given: Any) -> Settings:
    """The settings of a command: what its arguments of the same names say, and what is given here.

    Args:
        kind: A dataclass; what neither names has its default, which so stands in one place.
        arguments: Parsed ones.
        given: What is called or written otherwise on the command line.
    """
    names = (entry.name for entry in fields(kind))  # type: ignore[arg-type]
    same = {name: getattr(arguments, name) for name in names if hasattr(arguments, name)}
    return kind(**{**same, **given})


class _HelpAll(argparse.Action):
    def __init__(self, option_strings: Sequence[str], dest: str, **texts: Any) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, default=argparse.SUPPRESS, **texts)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        if isinstance(parser, ArgumentParser):
            print_out(parser.format_whole_help().rstrip("\n"))
        parser.exit()


def _joined(arguments: Sequence[str]) -> list[str]:
    joined: list[str] = []
    for argument in arguments:
        if joined and joined[-1] in _SIGNED and _NUMBERS.fullmatch(argument):
            joined[-1] = f"{joined[-1]}={argument}"
        else:
            joined.append(argument)
    return joined
