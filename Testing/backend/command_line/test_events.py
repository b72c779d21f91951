"""The events of a run: as JSON lines that the schema describes, and as text on a terminal."""

from __future__ import annotations

import io
import json
import math
import subprocess
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mimseg.cli.output import QuietReporter
from mimseg.events import JsonLinesReporter, RemainingTime, Reporter, TerminalReporter, format_seconds


@pytest.fixture(scope="module")
def validator() -> Any:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((resources.files("mimseg") / "schemas" / "events.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def send_one_of_each(reporter: Reporter) -> None:
    reporter.start("segment", model="hippocampus-mr", device="cpu", inputs=["Größe/ü.nii.gz"])
    reporter.progress("segment", 0, 4)
    reporter.progress("segment", np.int64(4), 4)
    reporter.metric("dice", np.float32(0.5), step=3, label="anterior")
    reporter.metric("hd95_mm", math.inf)
    reporter.model("my.training/best-model", 40, None)
    reporter.warning("non-finite", "3 voxels were not finite.")
    reporter.info("free text")
    reporter.result(outputs=[Path("a") / "b.nii.gz"], volumes={"anterior": math.nan})
    reporter.error("bad-input", "It is wrong.", "Mend it.")
    reporter.error("bug", "It is wrong.")


def lines_of(reporter_calls: Any, **options: Any) -> tuple[list[dict[str, Any]], str]:
    stream, log = io.StringIO(), io.StringIO()
    reporter_calls(JsonLinesReporter(stream, log, **options))
    return [json.loads(line) for line in stream.getvalue().splitlines()], log.getvalue()


def test_every_event_fits_the_schema_and_free_text_goes_to_the_log(validator: Any):
    events, log = lines_of(send_one_of_each)
    kinds = [event["event"] for event in events]
    assert kinds == ["start", *["progress"] * 2, *["metric"] * 2, "model", "warning", "result", *["error"] * 2]
    for event in events:
        validator.validate(event)
    assert log == "free text\n"


def test_lines_are_ascii_and_numbers_that_are_not_finite_become_null():
    stream = io.StringIO()
    send_one_of_each(JsonLinesReporter(stream, io.StringIO()))
    assert stream.getvalue().isascii()
    assert "NaN" not in stream.getvalue()
    assert "Infinity" not in stream.getvalue()
    assert json.loads(stream.getvalue().splitlines()[0])["inputs"] == ["Größe/ü.nii.gz"]


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"event": "unknown"},
        {"event": "start"},
        {"event": "start", "command": "train"},
        {"event": "progress", "phase": "x", "done": 1, "total": 2},
        {"event": "progress", "phase": "x", "done": -1, "total": 2, "eta_s": None},
        {"event": "progress", "phase": "x", "done": 1, "total": 2, "eta_s": None, "more": 1},
        {"event": "metric", "name": "dice", "value": "0.5"},
        {"event": "model", "path": "x", "step": 1.5, "validation_dice": 0.5},
        {"event": "warning", "code": "Not Kebab", "message": "x"},
        {"event": "error", "code": "bad-input", "message": "x"},
        {"event": "error", "code": "bad-input", "message": "", "hint": ""},
    ],
)
def test_the_schema_refuses_what_is_no_event(validator: Any, event: dict[str, Any]):
    assert not validator.is_valid(event)


def test_progress_is_thinned_out_but_the_last_step_is_always_sent():
    def many_steps(reporter: Reporter) -> None:
        for done in range(101):
            reporter.progress("train", done, 100)

    events, _ = lines_of(many_steps, interval=60.0)
    assert [event["done"] for event in events] == [0, 100]


def test_phases_that_take_turns_are_thinned_out_and_timed_by_themselves(monkeypatch: pytest.MonkeyPatch):
    now = iter(float(number) for number in range(1000))
    monkeypatch.setattr("mimseg.events.time.monotonic", lambda: next(now))

    def two_folds(reporter: Reporter) -> None:
        for step in range(20):
            reporter.progress("train", step % 10, 10)
            reporter.progress("all", step, 20)

    events, _ = lines_of(two_folds, interval=9.0)
    whole = [event for event in events if event["phase"] == "all"]
    assert len(whole) < 12
    assert whole[-1]["eta_s"] == pytest.approx(4 * (20 - whole[-1]["done"]), rel=0.1)
    second = [event for event in events if event["phase"] == "train"][-1]
    assert second["eta_s"] == pytest.approx(4 * (10 - second["done"]), rel=0.15)


def test_remaining_time_comes_from_the_speed_so_far(monkeypatch: pytest.MonkeyPatch):
    clock = iter([10.0, 12.0, 14.0, 15.0])
    monkeypatch.setattr("mimseg.events.time.monotonic", lambda: next(clock))
    remaining = RemainingTime()
    assert remaining.estimate("a", 0, 10) is None
    assert remaining.estimate("a", 2, 10) == pytest.approx(8.0)
    assert remaining.estimate("a", 8, 10) == pytest.approx(1.0)
    assert remaining.estimate("b", 1, 10) is None


def test_plain_text_without_a_terminal_has_no_bar_and_names_the_remedy():
    stream = io.StringIO()
    send_one_of_each(TerminalReporter(stream))
    text = stream.getvalue()
    assert "\r" not in text
    assert "Warning: 3 voxels were not finite." in text
    assert "Error: It is wrong.\n  What to do: Mend it." in text


def test_quiet_reporter_says_warnings_and_errors_only():
    stream = io.StringIO()
    send_one_of_each(QuietReporter(stream))
    assert stream.getvalue().splitlines() == [
        "Warning: 3 voxels were not finite.",
        "Error: It is wrong.",
        "  What to do: Mend it.",
        "Error: It is wrong.",
    ]


def test_seconds_are_told_as_people_do():
    assert [format_seconds(value) for value in (0.4, 59.6, 75.2, 3725)] == [
        "0 s",
        "1 min 0 s",
        "1 min 15 s",
        "1 h 2 min",
    ]


BAR = """
import time
from mimseg.events import TerminalReporter
reporter = TerminalReporter()
reporter.start("segment", model="m")
for done in range(6):
    reporter.progress("segment", done, 5)
    if done == 3:
        reporter.warning("x", "Look here.")
    time.sleep(0.12)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are POSIX")
def test_a_real_terminal_shows_a_bar_with_remaining_time_that_gives_way_to_messages():
    import pty

    leader, follower = pty.openpty()
    child = subprocess.Popen([sys.executable, "-c", BAR], stderr=follower, stdout=follower, stdin=follower)
    shown = read_terminal(leader, follower, child)
    assert child.wait(20) == 0
    assert "segment: [" in shown
    assert " left" in shown
    lines = render(shown)
    assert lines[0] == "mimseg segment (model: m)"
    assert "Warning: Look here." in lines
    assert lines[-1] == "segment: [########################] 100%"
    assert max(len(line) for line in lines) < 80


def read_terminal(leader: int, follower: int, child: subprocess.Popen) -> str:
    """Everything the child writes to the pseudo-terminal until it ends."""
    import os
    import select

    os.close(follower)
    parts = []
    while True:
        ready, _, _ = select.select([leader], [], [], 20)
        if not ready:
            child.kill()
            break
        try:
            part = os.read(leader, 4096)
        except OSError:  # Linux says EIO once the other side is closed.
            break
        if not part:
            break
        parts.append(part)
    os.close(leader)
    return b"".join(parts).decode()


def render(text: str) -> list[str]:
    """What stays on the screen: each carriage return overwrites the line from its beginning."""
    lines = []
    for line in text.replace("\r\n", "\n").split("\n"):
        screen = ""
        for piece in line.split("\r"):
            screen = piece + screen[len(piece) :]
        lines.append(screen.rstrip())
    return [line for line in lines if line]
