"""Stopping a command: signals, closed standard input, a reader that goes away."""

from __future__ import annotations

import errno
import json
import signal
import subprocess
import sys
import time
from typing import Any

import pytest
from cli_tools import start

from mimseg import stopping
from mimseg.cli.output import Output

# A child that runs `mimseg doctor` with a body of the test's choice.
CHILD = """
import sys, time
from types import SimpleNamespace
from mimseg import stopping
from mimseg.cli import main as module
def run(arguments, reporter):
    reporter.start("doctor")
    {body}
module._load = lambda name: SimpleNamespace(HELP="", EPILOG="", add_arguments=lambda p: None, run=run)
sys.exit(module.main(["doctor", *sys.argv[1:]]))
"""
WORK_FOREVER = "while True: stopping.check(); time.sleep(0.01)"
IGNORE_STOP = "time.sleep(60)"


def child(body: str, *arguments: str, **options: Any) -> subprocess.Popen:
    return start("-c", CHILD.format(body=body), *arguments, **options)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_stops_the_run_cleanly_with_130(number: int):
    process = child(WORK_FOREVER, "--json-lines")
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["event"] == "start"
    process.send_signal(number)
    out, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert json.loads(out)["code"] == "stopped"
    assert errors == ""


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_second_ctrl_c_does_not_wait_for_the_next_check():
    process = child(IGNORE_STOP, "--json-lines")
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 130


def test_run_stops_when_the_parent_closes_standard_input():
    process = child(WORK_FOREVER, "--json-lines", "--stop-with-stdin", stdin=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(0.1)
    assert process.poll() is None
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 130
    assert json.loads(out)["code"] == "stopped"


def test_run_that_watches_standard_input_ends_normally_while_it_stays_open():
    process = child("pass", "--json-lines", "--stop-with-stdin", stdin=subprocess.PIPE)
    assert process.wait(20) == 0
    _, errors = process.communicate()
    assert errors == ""


@pytest.mark.skipif(sys.platform == "win32", reason="pipes differ")
@pytest.mark.parametrize("options", [["--json-lines"], []])
def test_reader_that_goes_away_ends_the_run_as_a_stop_without_noise(options: list[str]):
    body = "from mimseg.cli.output import print_out\n"
    body += "    while True: (reporter.metric('x', 1.0) if arguments.json_lines else print_out('y')); time.sleep(0.01)"
    process = child(body, *options)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    errors = process.stderr.read()
    process.stderr.close()
    assert process.wait(20) == 130
    assert "Traceback" not in errors
    assert "BrokenPipe" not in errors


def test_output_passes_faults_other_than_a_vanished_reader_on():
    class Full:
        def write(self, text: str) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        Output(Full()).write("x")  # type: ignore[arg-type]


class Pipe:
    """A pipe of Windows: what waits in it at each look, then it is broken."""

    def __init__(self, *waiting: int | None) -> None:
        self.waiting = list(waiting)
        self.reads: list[int] = []

    def look(self, _descriptor: int) -> int | None:
        return self.waiting.pop(0) if self.waiting else None

    def read(self, _descriptor: int, count: int) -> bytes:
        assert count != 4096 or not self.waiting, "a read that waits holds up every library that looks at the pipe"
        self.reads.append(count)
        return b"" if count == 4096 else b"x" * count


def test_on_windows_standard_input_is_read_only_when_something_waits_in_it(monkeypatch: pytest.MonkeyPatch):
    pipe = Pipe(0, 0, 3, 0, None)
    monkeypatch.setattr(stopping, "_bytes_waiting", pipe.look)
    monkeypatch.setattr(stopping, "_POLL_SECONDS", 0.0)
    monkeypatch.setattr(stopping.os, "read", pipe.read)
    monkeypatch.setattr(sys, "stdin", None)
    stopping.clear()
    stopping._wait_for_end_of_stdin()
    assert stopping.requested()
    assert pipe.reads == [3, 4096]
    stopping.clear()
