"""Installing packages: the doctor and pip are stand-ins, but real child processes; nothing is downloaded."""

import os
import time

import pytest
from logic_tools import FOLDER, is_alive, scripted_backend, wait, wait_until

pytest.importorskip("slicer.i18n", reason="needs 3D Slicer or the harness")

from install_tools import DOCTOR, SLICER, Computer, package, training
from MIMSegmentLib.Process.Install import Install


@pytest.fixture
def make_computer(slicer, tmp_path):
    made = []

    def make(packages):
        made.append(Computer(tmp_path / FOLDER, packages))
        return made[-1]

    yield make
    for computer in made:
        computer.install.cancel()


def test_segmenting_installs_openvino_alone_and_pins_what_slicer_has(make_computer):
    computer = make_computer([*SLICER, package("openvino", "missing", minimum="2025.4")])
    computer.install.installForSegmenting()
    assert computer.install.running == "segment"
    assert computer.wait() == ("finished", "segment")
    (call,) = computer.calls
    assert call["arguments"][0] == "install"
    assert "--no-deps" in call["arguments"]
    assert call["arguments"][-1] == "openvino>=2025.4"
    assert not [argument for argument in call["arguments"] if argument.startswith(("torch", "numpy"))]
    assert {"numpy==2.4.6", "SimpleITK==2.5.5"} <= set(call["constraints"])
    assert not [line for line in call["constraints"] if line.startswith("openvino")]
    assert computer.pytorch.calls == []
    assert any(text.startswith("Collecting") for _name, text in computer.events[:-1])


def test_the_pins_cover_vtk_and_all_else_that_slicer_brings(slicer, tmp_path):
    versions = {"vtk": "9.6.2", "scipy": "1.17.1", "numpy": "0"}
    backend = scripted_backend(tmp_path, DOCTOR)
    install = Install(backend, installedVersion=versions.get)
    lines = install.constraints({"packages": SLICER})
    assert lines == ["numpy==2.4.6", "scipy==1.17.1", "SimpleITK==2.5.5", "vtk==9.6.2"]
    backend.interpreter = "/mine"
    assert install.constraints({"packages": SLICER}) == ["numpy==2.4.6", "SimpleITK==2.5.5"]


def test_dicom_segmentations_get_highdicom_with_what_it_needs_and_the_pins(make_computer):
    computer = make_computer(
        [*SLICER, package("openvino", "missing"), package("highdicom", "missing", purpose="dicom", minimum="0.26")]
    )
    computer.install.installForDicom()
    assert computer.wait() == ("finished", "dicom")
    (call,) = computer.calls
    assert call["arguments"][-1] == "highdicom>=0.26"
    assert "--no-deps" not in call["arguments"]
    assert "numpy==2.4.6" in call["constraints"]


def test_nothing_is_installed_where_nothing_is_missing(make_computer):
    computer = make_computer([*SLICER, package("openvino")])
    computer.install.installForSegmenting()
    assert computer.wait() == ("finished", "segment")
    assert computer.calls == []


def test_segmenting_does_not_ask_for_training_packages(make_computer):
    computer = make_computer(training())
    computer.install.installForSegmenting()
    assert computer.wait() == ("finished", "segment")
    assert computer.calls == []


def test_a_half_installed_package_is_recognised_and_replaced(make_computer):
    computer = make_computer([*SLICER, package("openvino", "broken", version="")])
    computer.install.installForSegmenting()
    assert computer.wait() == ("finished", "segment")
    (call,) = computer.calls
    assert "--force-reinstall" in call["arguments"]
    assert "--no-deps" in call["arguments"]


def test_an_old_package_is_upgraded(make_computer):
    computer = make_computer([*SLICER, package("openvino", "too old", version="2024.1", minimum="2025.4")])
    computer.install.installForSegmenting()
    assert computer.wait() == ("finished", "segment")
    assert "--upgrade" in computer.calls[0]["arguments"]


def test_training_gets_torch_from_the_extension_and_the_rest_from_pip(make_computer):
    computer = make_computer(training())
    computer.install.installForTraining()
    assert computer.install.running == "train"
    assert computer.wait() == ("finished", "train")
    assert computer.pytorch.calls == [">=2.8"]
    assert "numpy==2.4.6" in computer.pytorch.constraints
    assert not [line for line in computer.pytorch.constraints if line.startswith("torch")]
    assert "PIP_CONSTRAINT" not in os.environ
    (call,) = computer.calls
    names = [argument.split(">=")[0] for argument in call["arguments"] if ">=" in argument]
    assert {"monai", "lightning-fabric", "einops", "onnxscript"} <= set(names)
    assert "torch" not in names
    assert {"torch==2.13.0+cpu", "numpy==2.4.6", "SimpleITK==2.5.5"} <= set(call["constraints"])
    assert "--no-deps" not in call["arguments"]


def test_a_temporary_folder_with_a_space_is_one_file_for_pip(make_computer, tmp_path, monkeypatch):
    folder = tmp_path / "Jané Doe"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    computer = make_computer(training())
    computer.install.installForTraining()
    assert computer.wait() == ("finished", "train")
    assert "numpy==2.4.6" in computer.pytorch.constraints


def test_a_torch_that_is_broken_is_removed_first(make_computer):
    computer = make_computer(training(torch="broken"))
    computer.install.installForTraining()
    assert computer.wait() == ("finished", "train")
    assert computer.pytorch.calls == ["uninstall", ">=2.8"]
    assert computer.questions == []


def test_a_torch_that_works_but_is_too_old_is_upgraded_after_a_question_and_never_removed(make_computer):
    computer = make_computer(training(torch="too old"))
    computer.install.installForTraining()
    assert computer.wait() == ("finished", "train")
    assert computer.pytorch.calls == [">=2.8"]
    (question,) = computer.questions
    assert "2.9.0" in question
    assert "Other extensions" in question


def test_a_torch_that_is_too_old_stays_if_the_user_wants_it(make_computer):
    computer = make_computer(training(torch="too old"))
    computer.says = False
    computer.install.installForTraining()
    name, message, hint = computer.wait()
    assert (name, message) == ("failed", "PyTorch 2.9.0 was left as it is.")
    assert "Use another Python" in hint
    assert computer.pytorch.calls == computer.calls == []


@pytest.mark.parametrize("torch", ["missing", "broken", "too old"])
def test_in_a_slicer_for_intel_macs_nothing_is_touched_for_training(make_computer, monkeypatch, torch):
    monkeypatch.setattr("sysconfig.get_platform", lambda: "macosx-13.0-x86_64")
    computer = make_computer(training(torch=torch))
    computer.install.installForTraining()
    name, _message, hint = computer.wait()
    assert name == "failed"
    assert "Use another Python" in hint
    assert computer.pytorch.calls == computer.calls == computer.questions == []


def test_a_torch_that_works_is_left_alone(make_computer):
    computer = make_computer(training(torch="works"))
    computer.install.installForTraining()
    assert computer.wait() == ("finished", "train")
    assert computer.pytorch.calls == []


def test_without_the_pytorch_extension_the_remedy_names_it(make_computer):
    computer = make_computer(training())
    computer.pytorch = None
    computer.install.installForTraining()
    name, _message, hint = computer.wait()
    assert name == "failed"
    assert "Extensions Manager" in hint
    assert computer.calls == []


@pytest.mark.parametrize("answer", [None, RuntimeError("no space")])
def test_a_torch_that_was_not_installed_is_told(make_computer, answer):
    computer = make_computer(training())
    computer.pytorch.answer = answer
    computer.install.installForTraining()
    name, message, hint = computer.wait()
    assert name == "failed"
    assert "PyTorch" in message
    assert hint
    assert computer.calls == []
    assert "PIP_CONSTRAINT" not in os.environ


def test_torch_is_never_installed_into_a_python_of_the_users(make_computer):
    computer = make_computer(training())
    computer.backend.interpreter = computer.backend.python()
    computer.backend._startupEnvironment = lambda: dict(os.environ)
    computer.install.installForTraining()
    name, message, _hint = computer.wait()
    assert name == "failed"
    assert computer.backend.interpreter in message
    assert computer.pytorch.calls == []


def test_a_failed_installation_can_be_repeated(make_computer):
    computer = make_computer([*SLICER, package("openvino", "missing")])
    computer.set(pip_fails=True)
    computer.install.installForSegmenting()
    name, _message, hint = computer.wait()
    assert name == "failed"
    assert "network" in hint
    assert "permission" in hint
    assert "Use another Python" in hint
    assert ("message", "ERROR: no network") in computer.events
    computer.events.clear()
    computer.set(pip_fails=False)
    computer.install.installForSegmenting()
    assert computer.wait() == ("finished", "segment")


def test_what_is_still_not_usable_afterwards_is_told(make_computer):
    computer = make_computer([*SLICER, package("openvino", "missing")])
    computer.set(pip_useless=True)
    computer.install.installForSegmenting()
    name, message, hint = computer.wait()
    assert name == "failed"
    assert "openvino" in message
    assert "Restart" in hint


def test_a_doctor_that_fails_is_told(make_computer):
    computer = make_computer(SLICER)
    computer.set(fails=True)
    computer.install.installForSegmenting()
    assert computer.wait() == ("failed", "The doctor is ill.", "Wait.")


@pytest.mark.parametrize("step", ["doctor", "pip"])
def test_cancelling_ends_the_child_and_tells_once(make_computer, step):
    computer = make_computer([*SLICER, package("openvino", "missing")])
    computer.set(**({"seconds": 30} if step == "doctor" else {"pip_seconds": 30}))
    computer.install.installForSegmenting()
    if step == "pip":
        assert wait_until(lambda: any(event[1].startswith("Collecting") for event in computer.events), 30)
    began = time.monotonic()
    computer.install.cancel()
    assert computer.wait()[0] == "failed"
    assert time.monotonic() - began < 5
    if step == "pip":
        assert wait_until(lambda: not is_alive(computer.calls[0]["pid"]), 5)
    wait(0.3)
    assert len([event for event in computer.events if event[0] == "failed"]) == 1
    computer.set(seconds=0, pip_seconds=0)
    computer.events.clear()
    computer.install.installForSegmenting()
    assert computer.wait() == ("finished", "segment")


def test_only_one_installation_at_a_time(make_computer):
    computer = make_computer([*SLICER, package("openvino", "missing")])
    computer.install.installForSegmenting()
    with pytest.raises(RuntimeError):
        computer.install.installForTraining()
    assert computer.wait() == ("finished", "segment")
