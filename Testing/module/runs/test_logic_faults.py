"""What goes wrong in a run, and runs that are stopped: one sentence, one remedy, nothing left behind."""

import os
import signal
import time

import pytest
from logic_tools import add_volume, is_alive, nodes, scripted_backend, segment, smooth_values, wait, wait_until

pytest.importorskip("slicer.i18n", reason="needs 3D Slicer or the harness")
from MIMSegmentLib.Process.Backend import Backend

posix = pytest.mark.skipif(os.name == "nt", reason="kills processes as Linux and macOS do")


def test_a_model_that_is_missing_is_told_in_one_sentence_with_a_remedy(logic, scene):
    logic, record = logic
    volume = add_volume(scene)
    before = nodes(scene)
    segment(logic, volume, "gone")
    name, message, hint = record.wait()
    assert name == "failed"
    assert "gone" in message
    assert "tiny" in hint
    assert nodes(scene) == before


def test_a_damaged_model_is_told(logic, scene, folder):
    logic, record = logic
    path = folder / "models" / "tiny" / "models" / "model.onnx"
    path.write_bytes(path.read_bytes()[:-10])
    segment(logic, add_volume(scene), "tiny")
    name, message, hint = record.wait()
    assert name == "failed"
    assert "tiny" in message
    assert hint


@pytest.mark.parametrize("volumes", [None, [], [None]])
def test_no_volume_is_told_and_nothing_is_started(logic, volumes):
    logic, record = logic
    segment(logic, volumes, "tiny")
    assert record.wait()[0] == "failed"
    assert logic.processId == 0


def test_no_model_is_told(logic, scene):
    logic, record = logic
    segment(logic, add_volume(scene), "")
    assert record.wait()[0] == "failed"


def test_a_missing_backend_is_told(make_logic, scene, folder):
    logic, record = make_logic(Backend(str(folder)))
    segment(logic, add_volume(scene), "tiny")
    name, _message, hint = record.wait()
    assert name == "failed"
    assert hint


def test_a_python_that_cannot_be_started_is_told(make_logic, scene, folder):
    (folder / "python").write_text("this is no program")
    logic, record = make_logic(Backend(interpreter=str(folder / "python"), startupEnvironment=lambda: {}))
    segment(logic, add_volume(scene), "tiny")
    name, message, hint = record.wait()
    assert name == "failed"
    assert str(folder / "python") in message
    assert hint


def test_after_a_fault_in_the_preparation_another_run_can_be_started(logic, scene, monkeypatch, caplog):
    logic, record = logic
    with monkeypatch.context() as patch:
        patch.setattr(logic.scene, "exportVolume", lambda *_arguments: 1 / 0)
        segment(logic, add_volume(scene), "tiny")
        assert record.wait()[0] == "failed"
    assert [entry.levelname for entry in caplog.records] == ["ERROR"]
    caplog.clear()
    record.clear()
    segment(logic, add_volume(scene), "tiny")
    assert record.wait()[0] == "finished"


def test_a_fault_in_taking_over_the_result_ends_the_run(logic, scene, monkeypatch, caplog):
    logic, record = logic
    monkeypatch.setattr(logic.scene.tables, "add", lambda *_arguments: 1 / 0)
    volume = add_volume(scene)
    before = nodes(scene)
    segment(logic, volume, "tiny")
    assert record.wait()[0] == "failed"
    assert nodes(scene) == before
    caplog.clear()


def test_only_one_run_at_a_time(logic, scene):
    logic, record = logic
    volume = add_volume(scene)
    segment(logic, volume, "tiny")
    with pytest.raises(RuntimeError):
        segment(logic, volume, "tiny")
    assert record.wait()[0] == "finished"


@pytest.mark.parametrize("delay", [0.0, 0.15, 0.4, 0.8])
def test_cancel_within_a_second_leaves_no_process_no_node_and_no_file(logic, scene, folder, delay):
    logic, record = logic
    volume = add_volume(scene, values=smooth_values((120, 120, 120)))
    before = nodes(scene)
    segment(logic, volume, "tiny")
    assert wait_until(lambda: logic.processId, 5)
    process = logic.processId
    wait(delay)
    began = time.monotonic()
    logic.cancel()
    logic.cancel()
    assert record.wait() == ("stopped", "segment")
    assert time.monotonic() - began < 5
    assert not is_alive(process)
    assert nodes(scene) == before
    assert os.listdir(folder / "temporary") == []
    record.clear()
    wait(0.1)
    assert record.events == []


def test_after_a_cancel_the_next_run_works(logic, scene):
    logic, record = logic
    volume = add_volume(scene)
    segment(logic, volume, "tiny")
    logic.cancel()
    assert record.wait()[0] == "stopped"
    record.clear()
    segment(logic, volume, "tiny")
    assert record.wait()[0] == "finished"


def test_a_run_may_be_started_from_the_end_of_another(logic, scene):
    logic, record = logic
    volume = add_volume(scene)
    logic.work.finished.connect(lambda result: segment(logic, volume, "tiny") if len(record["finished"]) == 1 else None)
    segment(logic, volume, "tiny")
    assert wait_until(lambda: len(record["finished"]) == 2, 60)


def test_closing_the_scene_stops_the_run_and_nothing_reaches_the_new_scene(logic, scene, folder):
    logic, record = logic
    segment(logic, add_volume(scene, values=smooth_values((100, 100, 100))), "tiny")
    assert wait_until(lambda: logic.processId, 5)
    process = logic.processId
    scene.Clear(0)
    add_volume(scene, "New")
    after = nodes(scene)
    assert record.wait() == ("stopped", "segment")
    assert not is_alive(process)
    wait(0.2)
    assert nodes(scene) == after


def test_a_volume_that_is_removed_meanwhile_makes_no_node(logic, scene):
    logic, record = logic
    volume = add_volume(scene)
    segment(logic, volume, "tiny")
    scene.RemoveNode(volume)
    before = nodes(scene)
    name, message, _hint = record.wait()
    assert name == "failed"
    assert "removed" in message
    assert nodes(scene) == before


def test_a_volume_that_is_moved_meanwhile_gets_no_result_beside_it(logic, scene):
    logic, record = logic
    volume = add_volume(scene)
    segment(logic, volume, "tiny")
    volume.SetOrigin(500, 0, 0)
    before = nodes(scene)
    name, message, hint = record.wait()
    assert name == "failed"
    assert "moved" in message
    assert "again" in hint
    assert nodes(scene) == before


@posix
def test_a_backend_that_is_killed_is_told(logic, scene):
    logic, record = logic
    volume = add_volume(scene, values=smooth_values((100, 100, 100)))
    before = nodes(scene)
    segment(logic, volume, "tiny")
    assert wait_until(lambda: logic.processId, 5)
    os.kill(logic.processId, signal.SIGKILL)
    name, message, hint = record.wait()
    assert name == "failed"
    assert "ended from outside" in message
    assert "memory" in hint
    assert nodes(scene) == before


def test_shutdown_ends_the_backend_at_once(make_logic, scene, folder):
    logic, record = make_logic()
    segment(logic, add_volume(scene, values=smooth_values((100, 100, 100))), "tiny")
    answers = []
    logic.checkComputer(answers.append)
    assert wait_until(lambda: logic.processId, 5)
    process = logic.processId
    logic.shutdown()
    assert not is_alive(process)
    assert record.wait() == ("stopped", "segment")
    assert len(answers) == 1
    assert os.listdir(folder / "temporary") == []


# -- a backend that misbehaves


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("sys.exit(1)", "exit code 1"),
        ("sys.exit(3)", "memory"),
        ("sys.exit(77)", "exit code 77"),
        ("tell('error', code='x', message='The disk is full.', hint='Empty it.'); sys.exit(2)", "The disk is full."),
        ("tell('result', outputs=[])", "no result"),
        ("pass", "without a result"),
        ("tell('result', outputs=[]); sys.exit(1)", "exit code 1"),
    ],
    ids=["bug", "memory", "unknown", "own words", "no file", "silence", "result but failure"],
)
def test_every_bad_end_of_the_backend_is_told(make_logic, scene, folder, script, words):
    logic, record = make_logic(scripted_backend(folder, script))
    volume = add_volume(scene)
    before = nodes(scene)
    segment(logic, volume, "tiny")
    name, message, hint = record.wait()
    assert name == "failed"
    assert words in message
    assert hint
    assert nodes(scene) == before


def test_lines_that_are_no_events_go_to_the_log(make_logic, scene, folder):
    script = (
        "print('Warning: some library talks'); print('{\"event\": '); print('{\"event\": \"party\"}'); print('[1]')\n"
        'print(\'{"event": "progress"}\'); print(\'{"event": "metric", "value": null}\')\n'
        'print(\'{"event": "metric", "name": "loss", "value": "high"}\')\n'
        "sys.stdout.flush(); sys.stdout.buffer.write(b'\\xff\\xfe\\n'); sys.stdout.flush()\n"
        "tell('metric', name='loss', value=0.5, step=3)\nprint('last words, no line end', end='')\n"
        "tell('error', code='x', message='End.', hint='Done.'); sys.exit(2)"
    )
    logic, record = make_logic(scripted_backend(folder, script))
    segment(logic, add_volume(scene), "tiny")
    assert record.wait()[0] == "failed"
    log = [text for (text,) in record["message"]]
    assert "Warning: some library talks" in log
    assert '{"event": "party"}' in log
    assert record["metric"] == [["loss", 0.5, {"step": 3}]]


@posix
def test_a_backend_that_ignores_the_stop_is_killed_with_its_children(make_logic, scene, folder, monkeypatch):
    monkeypatch.setattr("MIMSegmentLib.Process.ProcessRunner.ProcessRunner.killAfterMilliseconds", 300)
    script = (
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "tell('metric', name='child', value=child.pid)\ntime.sleep(60)"
    )
    logic, record = make_logic(scripted_backend(folder, script))
    segment(logic, add_volume(scene), "tiny")
    assert wait_until(lambda: record["metric"], 20)
    processes = [logic.processId, int(record["metric"][0][1])]
    logic.cancel()
    assert record.wait() == ("stopped", "segment")
    assert wait_until(lambda: not any(is_alive(process) for process in processes), 5)


def test_a_damaged_result_file_leaves_the_scene_alone(make_logic, scene, folder):
    script = (
        "stem = ARGUMENTS[1][:-5]\nfolder = ARGUMENTS[ARGUMENTS.index('--output') + 1]\n"
        "open(folder + '/' + stem + '_segmentation.seg.nrrd', 'w').write('NRRD0004')\ntell('result', outputs=[])"
    )
    logic, record = make_logic(scripted_backend(folder, script))
    volume = add_volume(scene)
    before = nodes(scene)
    segment(logic, volume, "tiny")
    name, message, _hint = record.wait()
    assert name == "failed"
    assert "cannot be read" in message
    assert nodes(scene) == before


def test_messages_name_the_volume_and_not_the_temporary_file(make_logic, scene, folder):
    script = (
        "tell('warning', code='w', message=f'{ARGUMENTS[1]} is odd.')\n"
        "tell('error', code='x', message=f'{ARGUMENTS[1]} is too small.', hint='Take another.'); sys.exit(2)"
    )
    logic, record = make_logic(scripted_backend(folder, script))
    segment(logic, add_volume(scene, "Kopf ä/1"), "tiny")
    assert record.wait()[1] == "Kopf ä/1 is too small."
    assert record["warning"] == [["w", "Kopf ä/1 is odd."]]
