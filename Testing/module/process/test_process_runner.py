"""ProcessRunner with real child processes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from logic_tools import ROOT, is_alive, wait, wait_until

pytest.importorskip("qt", reason="needs 3D Slicer or the harness")

from MIMSegmentLib.Process.Backend import Backend
from MIMSegmentLib.Process.ProcessRunner import ProcessRunner, descendants
from MIMSegmentLib.Signal import Signal

PYTHON = Backend().python()
posix = pytest.mark.skipif(os.name == "nt", reason="looks at processes as Linux and macOS show them")


class Child:
    """A ProcessRunner and what it told."""

    def __init__(self):
        self.runner = ProcessRunner()
        self.lines, self.log, self.codes, self.reasons = [], [], [], []
        self.runner.line.connect(self.lines.append)
        self.runner.log.connect(self.log.append)
        self.runner.finished.connect(self.codes.append)
        self.runner.failedToStart.connect(self.reasons.append)

    def start(self, code, *arguments, folder="", **variables):
        environment = {**os.environ, "PYTHONUTF8": "1", **variables}
        self.runner.start(PYTHON, ["-c", code, *arguments], environment, folder)

    def wait(self, timeout=30):
        assert wait_until(lambda: self.codes or self.reasons, timeout), (self.lines, self.log)
        assert not self.runner.running


@pytest.fixture
def child(slicer):
    child = Child()
    yield child
    child.runner.kill()
    wait_until(lambda: not child.runner.running, 5)


def test_lines_log_and_exit_code_arrive(child):
    child.start("import sys; print('one'); print('two'); print('fault', file=sys.stderr); sys.exit(3)")
    child.wait()
    assert child.lines == ["one", "two"]
    assert child.log == ["fault"]
    assert child.codes == [3]


def test_a_character_and_a_line_that_come_in_pieces_are_put_together(child):
    child.start(
        "import sys, time\n"
        "for piece in (b'Gr\\xc3', b'\\xb6\\xc3\\x9fe \\xe4', b'\\xbd\\x93\\r', b'\\nlast'):\n"
        "    sys.stdout.buffer.write(piece); sys.stdout.flush(); time.sleep(0.1)"
    )
    child.wait()
    assert child.lines == ["Größe 体", "last"]


def test_bytes_that_are_no_text_do_no_harm(child):
    child.start("import sys; sys.stdout.buffer.write(b'\\xff\\xfe\\x00\\nfine\\n')")
    child.wait()
    assert child.lines[-1] == "fine"
    assert child.codes == [0]


def test_much_output_arrives_whole(child):
    child.start("for n in range(20000): print(n, 'x' * 50)")
    child.wait()
    assert len(child.lines) == 20000
    assert child.lines[-1].startswith("19999 ")


def test_a_program_that_does_not_exist_is_told_once(child):
    child.runner.start("/no/such/program", [], dict(os.environ))
    child.wait()
    assert len(child.reasons) == 1
    assert child.reasons[0]
    wait(0.2)
    assert not child.codes


def test_arguments_environment_and_folder_arrive_unchanged(child, tmp_path):
    folder = tmp_path / "Größe 体 x"
    folder.mkdir()
    child.start(
        "import os, sys; print(sys.argv[1]); print(os.environ['MY_VALUE']); print(os.getcwd())",
        'with "quotes" and ä',
        folder=str(folder),
        MY_VALUE="a b=c;ü",
    )
    child.wait()
    assert child.lines == ['with "quotes" and ä', "a b=c;ü", str(folder.resolve())]


def test_only_the_given_environment_arrives(child, monkeypatch):
    monkeypatch.setenv("SHOULD_NOT_ARRIVE", "1")
    environment = {name: value for name, value in os.environ.items() if name != "SHOULD_NOT_ARRIVE"}
    child.runner.start(PYTHON, ["-c", "import os; print('SHOULD_NOT_ARRIVE' in os.environ)"], environment)
    child.wait()
    assert child.lines == ["False"]


def test_one_runner_runs_one_program_after_the_other(child):
    child.start("print('first')")
    with pytest.raises(RuntimeError):
        child.start("print('too early')")
    child.wait()
    child.codes.clear()
    child.start("print('second')")
    child.wait()
    assert child.lines == ["first", "second"]


def test_a_program_may_be_started_when_another_has_finished(child):
    child.runner.finished.connect(lambda code: child.start("print('next')") if len(child.codes) == 1 else None)
    child.start("print('first')")
    assert wait_until(lambda: len(child.codes) == 2, 30)
    assert child.lines == ["first", "next"]


def test_stop_closes_standard_input_and_the_program_ends_itself(child):
    child.start("import sys; print('ready', flush=True); sys.stdin.read(); print('bye'); sys.exit(130)")
    assert wait_until(lambda: child.lines == ["ready"], 30)
    began = time.monotonic()
    child.runner.stop()
    child.runner.stop()
    child.wait()
    assert time.monotonic() - began < 3
    assert child.lines == ["ready", "bye"]
    assert child.codes == [130]


@posix
def test_a_program_that_does_not_stop_is_killed_with_its_children(child):
    child.runner.killAfterMilliseconds = 300
    child.start(
        "import subprocess, sys, time\n"
        "nap = 'import time; time.sleep(60)'\n"
        "below = 'import subprocess, sys; subprocess.Popen([sys.executable, \"-c\", sys.argv[1]]).wait()'\n"
        "print(subprocess.Popen([sys.executable, '-c', below, nap]).pid, flush=True)\n"
        "time.sleep(60)"
    )
    assert wait_until(lambda: child.lines, 30)
    process = child.runner.processId
    assert wait_until(lambda: len(descendants(process)) == 2, 30)
    tree = [process, *descendants(process)]
    assert int(child.lines[0]) in tree
    child.runner.stop()
    child.wait()
    assert child.codes == [-1]
    assert wait_until(lambda: not any(is_alive(number) for number in tree), 5)


@posix
def test_a_program_that_something_else_kills_has_no_exit_code(child):
    child.start("import time; print('ready', flush=True); time.sleep(60)")
    assert wait_until(lambda: child.lines, 30)
    os.kill(child.runner.processId, signal.SIGKILL)
    child.wait()
    assert child.codes == [-1]


def test_the_end_is_told_once_even_if_it_is_waited_for(child):
    child.start("import sys; print('ready', flush=True); sys.stdin.read(); print('bye')")
    assert wait_until(lambda: child.lines, 30)
    child.runner.stopAndWait()
    assert not child.runner.running
    wait(0.2)
    assert child.lines == ["ready", "bye"]
    assert len(child.codes) == 1


def test_waiting_for_a_program_that_does_not_stop_kills_it(child):
    child.start("import time; print('ready', flush=True); time.sleep(60)")
    assert wait_until(lambda: child.lines, 30)
    process = child.runner.processId
    began = time.monotonic()
    child.runner.stopAndWait(300)
    assert time.monotonic() - began < 5
    assert child.codes == [-1]
    assert not is_alive(process)


def test_a_function_that_fails_stops_neither_the_program_nor_the_others(child):
    child.runner.line = Signal("line")
    child.runner.line.connect(lambda line: 1 / 0)
    child.runner.line.connect(child.lines.append)
    child.start("print('one')")
    child.wait()
    assert child.lines == ["one"]


# A process that does what Slicer does: it runs ProcessRunner, until it is killed.
SLICER = """
import os, sys
sys.path[:0] = {paths!r}
import {starter}
from MIMSegmentLib.Process.Backend import Backend
from MIMSegmentLib.Process.ProcessRunner import ProcessRunner
import slicer
runner = ProcessRunner()
runner.line.connect(lambda line: print(line, flush=True))
runner.log.connect(lambda line: print(line, flush=True))
program, arguments, environment = Backend().command(sys.argv[1:])
runner.start(program, arguments, environment)
while True:
    slicer.app.processEvents()
    if runner.processId:
        print("CHILD", runner.processId, flush=True)
        break
while True:
    slicer.app.processEvents()
"""


@posix
@pytest.mark.skipif("harness" not in sys.modules, reason="kills a process that stands for Slicer")
def test_the_backend_dies_when_slicer_is_killed(tmp_path, slicer):
    from logic_tools import smooth_values
    from tiny_model import write_tiny_bundle

    write_tiny_bundle(tmp_path / "tiny")
    volume = slicer.util.addVolumeFromArray(smooth_values((150, 150, 150)))
    assert slicer.util.saveNode(volume, str(tmp_path / "large.nrrd"))
    slicer.mrmlScene.RemoveNode(volume)
    script = tmp_path / "stand_in.py"
    starter = "harness; harness.install()"
    script.write_text(
        SLICER.format(paths=[str(ROOT / "Testing" / "module"), str(ROOT / "MIMSegment")], starter=starter),
        encoding="utf-8",
    )
    request = ["segment", str(tmp_path / "large.nrrd"), "--model", str(tmp_path / "tiny")]
    request += ["-o", str(tmp_path / "out.nrrd"), "--json-lines", "--stop-with-stdin", "--threads", "1"]
    parent = subprocess.Popen([sys.executable, script, *request], stdout=subprocess.PIPE, text=True, cwd=tmp_path)
    backend = 0
    try:
        for line in parent.stdout:
            if line.startswith("CHILD"):
                backend = int(line.split()[1])
            if '"phase": "segment"' in line:
                break
        assert backend
        assert is_alive(backend)
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()
    end = time.monotonic() + 5
    while is_alive(backend) and time.monotonic() < end:
        time.sleep(0.02)
    assert not is_alive(backend)
    assert not Path(tmp_path / "out.nrrd").exists()


def test_a_runner_that_is_done_is_released(slicer):
    import gc
    import weakref

    child = Child()
    child.start("print('one')")
    child.wait()
    reference = weakref.ref(child.runner)
    del child

    def gone():
        gc.collect()
        return reference() is None

    assert wait_until(gone, 10)
