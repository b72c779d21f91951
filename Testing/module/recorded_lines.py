"""Reading the lines recorded in a running Slicer, replaying them, and comparing what comes out."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

OUTCOME = re.compile(r"^(?P<expression>.*?)\s+(?:=> (?P<value>.*)|!! (?P<error>.*)|(?P<ok>ok))$", re.DOTALL)
TYPED = re.compile(r"^(?P<text>.*?)\s*<(?P<type>[\w.]*)>$", re.DOTALL)
# Recorded with another number of QWidget's internals, addresses and paths.
ADDRESS = re.compile(r"0x[0-9a-f…]+")
PLAIN = {"str", "int", "float", "bool", "NoneType", "bytes", "list", "dict", "tuple", "int64"}


@dataclass(frozen=True)
class Line:
    """One recorded expression and its outcome."""

    file: str
    section: str
    number: int
    expression: str
    value: str | None = None
    type: str | None = None
    error: str | None = None

    @property
    def recorded(self) -> str:
        """Return the outcome in one line."""
        if self.error is not None:
            return f"!! {self.error.splitlines()[0]}"
        return "ok" if self.value is None else f"=> {self.value} <{self.type}>"


def read_lines(file: str, text: str) -> list[Line]:
    """Return all expressions of a recording, in order."""
    lines: list[Line] = []
    section, pending = "", ""
    rows = text.splitlines()
    number = 0
    while number < len(rows):
        row = rows[number]
        number += 1
        if row.startswith("== "):
            section = row[3:]
            continue
        if not pending and (not row.strip() or row.startswith("   (")):
            continue
        candidate = f"{pending}\n{row}" if pending else row
        match = OUTCOME.match(candidate)
        if not match:
            pending = candidate
            continue
        pending = ""
        start = number
        value, error = match["value"], match["error"]
        if value is not None:
            while not TYPED.match(value):
                value += "\n" + rows[number]
                number += 1
        elif error is not None and ("overload" in error or "Could not load" in error):
            while number < len(rows) and rows[number].strip():
                error += "\n" + rows[number]
                number += 1
        typed = TYPED.match(value) if value is not None else None
        lines.append(
            Line(
                file,
                section,
                start,
                match["expression"].strip(),
                typed["text"].strip() if typed else None,
                typed["type"] if typed else None,
                error,
            )
        )
    return lines


@dataclass
class Replayed:
    """What a line gave here."""

    line: Line
    found: str
    agrees: bool


def replay(line: Line, names: dict[str, Any], wait: Callable[[Callable[[], bool]], bool]) -> Replayed:
    """Run one expression in a namespace and compare its outcome with the recorded one.

    Args:
        line: The recorded expression.
        names: The names that earlier expressions have made.
        wait: Runs the event loop until a condition holds, for expressions whose value comes later.
    """
    expression = line.expression
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        try:
            if line.value is None and line.error is None:
                exec(expression, names)
                return Replayed(line, "ok", True)
            code = compiled(expression)
            result = eval(code, names) if code is not None else exec(expression, names)
            if line.error is None and not same_value(line, result) and expression in ("log", "len(log)>0", "res"):
                wait(lambda: same_value(line, eval(expression, names)))
                result = eval(expression, names)
        except Exception as error:
            found = f"!! {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            return Replayed(line, found, line.error is not None and same_error(line.error, found[3:]))
    if line.error is not None:
        return Replayed(line, f"=> {result!r}", False)
    return Replayed(line, f"=> {result!r} <{type(result).__name__}>", same_value(line, result))


def compiled(expression: str) -> Any:
    """Return the code of an expression, or None for a statement."""
    try:
        return compile(expression, "<recorded>", "eval")
    except SyntaxError:
        return None


def same_value(line: Line, result: Any) -> bool:
    """Say whether a value is the recorded one: plain values by their text, objects by their class and text form."""
    name = type(result).__name__
    recorded = line.type or ""
    if recorded.rstrip("s") != name.rstrip("s") and not (recorded == "type" and isinstance(result, type)):
        return False
    if (recorded in ("str",) and line.value in ("'PATH'", "'/tmp/Slicer-tmp-'")) or "PATH" in (line.value or ""):
        return True
    if isinstance(result, int) or recorded in PLAIN or recorded == "type":
        return masked(repr(result)) == masked(line.value or "")
    return class_text(masked(repr(result))) == class_text(masked(line.value or ""))


def masked(text: str) -> str:
    """Return a text without addresses and without the spaces that QDebug leaves."""
    text = re.sub(r"\s*\(([\w:]+) at: 0x[0-9a-f…]+\)", r"(0x)", ADDRESS.sub("0x", text.replace("…", "")))
    text = re.sub(r"<slicer_core[^>]*\.(\w+)\(0x\) at 0x>", r"<\1>", text)
    text = re.sub(r"<slicer_core\.\w+\.(\w+)\(0x\) at 0x>", r"<\1>", text)
    return re.sub(r"\s+(?=[,)\]])|\s+$", "", text)


def class_text(text: str) -> str:
    """Return the class at the front of an object's text, and its name where it has one."""
    named = re.search(r'name="(\w+)"', text)
    front = re.match(r"<?[\w .']+", text)
    return (front[0].strip() if front else text) + (named[0] if named else "")


def same_error(recorded: str, found: str) -> bool:
    """Say whether an exception is the recorded one: its type, and its first line but for overload lists."""
    kind, _, message = recorded.partition(":")
    found_kind, _, found_message = found.partition(":")
    if kind == "AttributeError" and found_kind == "NotOffered":
        return False
    if kind != found_kind:
        return False
    if kind == "ValueError" or not message.strip():
        return True
    return masked(message.splitlines()[0].strip()) == masked(found_message.strip())
