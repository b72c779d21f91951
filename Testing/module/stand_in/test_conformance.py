"""The stand-in for Slicer behaves as recorded in a running Slicer, expression by expression."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from harness import inside_slicer
from recorded_lines import Line, Replayed, read_lines, replay
from recorded_names import starting_names

FOLDER = Path(__file__).parents[1] / "recorded"
FILES = ("behaviour-1", "behaviour-2", "behaviour-3", "module-life")
LEAST_SHARE = 0.85

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="recorded on Linux, with its programs and paths")


def left_out() -> list[tuple[str, re.Pattern, bool, str]]:
    """Return file, expression, whether it is run all the same, and the reason, for each entry of left-out.txt."""
    entries = []
    for row in (FOLDER / "left-out.txt").read_text(encoding="utf-8").splitlines():
        if row.strip() and not row.startswith("#"):
            file, expression, reason = (part.strip() for part in row.split(" | "))
            entries.append((file, re.compile(expression), not reason.startswith("not run"), reason))
    return entries


def reason_for(line: Line, entries: list) -> tuple[bool, str]:
    """Return whether to run a line, and why it is not compared; nothing when it is."""
    for file, pattern, run, reason in entries:
        if matches(file, pattern, line):
            return run, reason
    return True, ""


def matches(file: str, pattern: re.Pattern, line: Line) -> bool:
    """Say whether an entry of left-out.txt means a line."""
    text = f"log  => {line.value}" if line.expression == "log" else line.expression
    return file in ("*", line.file) and bool(pattern.fullmatch(text))


def with_paths(line: Line, folder: Path) -> Line:
    """Return a line with this computer's folders instead of the names that the recording gives them."""

    def put(text: str | None) -> str | None:
        return text and text.replace("OUT/", f"{folder.as_posix()}/").replace("TESTS/", f"{FOLDER.as_posix()}/")

    return replace(line, expression=put(line.expression) or "", value=put(line.value), error=put(line.error))


@pytest.fixture(scope="module")
def outcomes(slicer: Any, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Line, str, Replayed | None]]:
    """Return every recorded line with the reason why it is left out, or what it gave here."""
    if inside_slicer.running():
        pytest.skip("this is Slicer")
    import harness

    entries = left_out()
    if sys.modules.pop("slicer.packaging", None) is not None:  # another test's
        del slicer.packaging
    results: list[tuple[Line, str, Replayed | None]] = []
    for file in FILES:
        folder = tmp_path_factory.mktemp(file)
        slicer.mrmlScene.Clear(1)  # also starts the nodes' IDs anew
        names = starting_names(file, FOLDER, folder)
        for line in read_lines(file, (FOLDER / f"{file}.txt").read_text(encoding="utf-8")):
            run, reason = reason_for(line, entries)
            given = with_paths(line, folder)
            outcome = replay(given, names, lambda done: harness.waitUntil(done, 1.5)) if run else None
            results.append((line, reason, outcome))
    harness.closeModule(slicer.modules.FactsModuleWidget)
    slicer.mrmlScene.Clear(1)
    harness.exceptions().clear()
    return results


@pytest.mark.parametrize("file", FILES)
def test_every_recorded_line_that_is_not_left_out_comes_out_the_same(outcomes: list, file: str) -> None:
    wrong = [
        f"{line.file}:{line.number} {line.expression}\n    Slicer  {line.recorded}\n    here    {found.found}"
        for line, reason, found in outcomes
        if line.file == file and not reason and not found.agrees
    ]
    assert not wrong, f"{len(wrong)} lines:\n" + "\n".join(wrong)


def test_the_share_of_recorded_lines_that_is_replayed(outcomes: list, capsys: pytest.CaptureFixture) -> None:
    compared = [line for line, reason, _ in outcomes if not reason]
    reasons: dict[str, int] = {}
    for _, reason, _ in outcomes:
        if reason:
            reasons[reason] = reasons.get(reason, 0) + 1
    with capsys.disabled():
        share = len(compared) / len(outcomes)
        print(f"\nreplayed {len(compared)} of {len(outcomes)} recorded lines ({share:.0%}); left out:")
        for reason, count in sorted(reasons.items(), key=lambda item: -item[1]):
            print(f"  {count:4} {reason}")
    assert share >= LEAST_SHARE


def test_every_entry_of_what_is_left_out_stands_for_lines_that_differ(outcomes: list) -> None:
    unused = []
    for file, pattern, run, reason in left_out():
        matching = [found for line, _, found in outcomes if matches(file, pattern, line)]
        compared = run and not reason.startswith("may agree")
        if not matching or (compared and all(found.agrees for found in matching if found)):
            unused.append(f"{file}: {pattern.pattern}")
    assert not unused


def test_the_shortened_api_is_the_recorded_one() -> None:
    recording = FOLDER.parents[3] / "shared" / "facts" / "pythonqt" / "widget-api.json"
    if not recording.is_file():
        pytest.skip("the full recording lies in ../shared only")
    sys.path.insert(0, str(FOLDER))
    try:
        from make_widget_api import shorten
    finally:
        sys.path.remove(str(FOLDER))
    shortened = json.loads((FOLDER / "widget-api.json").read_text(encoding="utf-8"))
    assert shorten(json.loads(recording.read_text(encoding="utf-8"))) == shortened
