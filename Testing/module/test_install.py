"""Installing packages: the doctor and pip are stand-ins, but real child processes; nothing is downloaded."""

import json
import os
import time
from pathlib import Path

import pytest
from logic_tools import FOLDER, is_alive, read_json, scripted_backend, wait, wait_until

pytest.importorskip("slicer.i18n", reason="needs 3D Slicer or the harness")

from MIMSegmentLib.Install import Install

# The doctor tells what the file says; pip makes it so.
DOCTOR = """
state = json.load(open(os.path.join(os.path.dirname(__file__), "state.json"), encoding="utf-8"))
tell("start", command="doctor")
time.sleep(state.get("seconds", 0))
if state.get("fails"):
    tell("error", code="x", message="The doctor is ill.", hint="Wait.")
    sys.exit(2)
tell("result", packages=state["packages"], advice=[])
"""
PIP = """
import json, os, sys, time
path = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "mimseg", "state.json")
state = json.load(open(path, encoding="utf-8"))
arguments = sys.argv[1:]
constraints = open(arguments[arguments.index("-c") + 1], encoding="utf-8").read().split()
state.setdefault("calls", []).append({"arguments": arguments, "constraints": constraints, "pid": os.getpid()})
json.dump(state, open(path, "w", encoding="utf-8"))
print("Collecting", arguments[-1], flush=True)
time.sleep(state.get("pip_seconds", 0))
if state.get("pip_fails"):
    print("ERROR: no network", file=sys.stderr)
    sys.exit(1)
for package in state["packages"]:
    if any(argument.startswith(package["name"] + ">=") for argument in arguments) and not state.get("pip_useless"):
        package.update(state="works", version=package["minimum"])
json.dump(state, open(path, "w", encoding="utf-8"))
"""


def package(name, state="works", version="9.9", purpose="segment", minimum="1.0"):
    version = "" if state == "missing" else version
    return {"name": name, "purpose": purpose, "minimum": minimum, "version": version, "state": state, "fault": ""}


class Computer:
    """A computer on which packages are installed, and what the Install told."""

    def __init__(self, folder, packages):
        self.backend = scripted_backend(folder, DOCTOR)
        self.path = Path(folder) / "Resources" / "backend" / "mimseg" / "state.json"
        pip = Path(folder) / "Resources" / "backend" / "pip"
        pip.mkdir()
        (pip / "__init__.py").write_text("")
        (pip / "__main__.py").write_text(PIP)
        self.set(packages=packages)
        self.pytorch = PyTorch(self)
        self.events = []
        self.install = Install(self.backend, packaging=lambda: None, pytorch=lambda: self.pytorch)
        self.listen(self.install)

    def listen(self, install):
        for name in ("message", "finished", "failed"):
            getattr(install, name).connect(lambda *values, name=name: self.events.append((name, *values)))

    def set(self, **values):
        state = read_json(self.path) if self.path.exists() else {}
        self.path.write_text(json.dumps({**state, **values}), encoding="utf-8")

    @property
    def calls(self):
        return read_json(self.path).get("calls", [])

    def wait(self):
        assert wait_until(lambda: [event for event in self.events if event[0] != "message"], 60), self.events
        (end,) = [event for event in self.events if event[0] != "message"]
        assert not self.install.running
        return end


class PyTorch:
    """Stands for PyTorchUtilsLogic."""

    def __init__(self, computer):
        self.computer = computer
        self.calls = []
        self.constraints = []
        self.answer = object()

    def uninstallTorch(self, askConfirmation=False, forceComputationBackend=None):
        self.calls.append("uninstall")

    def installTorch(
        self,
        askConfirmation=False,
        forceComputationBackend=None,
        torchVersionRequirement=None,
        torchvisionVersionRequirement=None,
    ):
        self.calls.append(torchVersionRequirement)
        self.constraints = Path(os.environ["PIP_CONSTRAINT"]).read_text(encoding="utf-8").split()
        if isinstance(self.answer, Exception):
            raise self.answer
        packages = read_json(self.computer.path)["packages"]
        for entry in packages:
            if entry["name"] == "torch" and self.answer is not None:
                entry.update(state="works", version="2.13.0+cpu")
        self.computer.set(packages=packages)
        return self.answer


SLICER = [package("numpy", version="2.4.6"), package("SimpleITK", version="2.5.5")]


def training(state="missing", torch="missing"):
    return [
        *SLICER,
        package("openvino", version="2026.4.1"),
        package("torch", torch, purpose="train", version="2.9.0" if torch != "broken" else "", minimum="2.8"),
        package("monai", state, purpose="train", minimum="1.5.1"),
        package("lightning-fabric", state, purpose="train"),
    ]


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


@pytest.mark.parametrize("state", ["broken", "too old"])
def test_a_torch_that_is_of_no_use_is_removed_first(make_computer, state):
    computer = make_computer(training(torch=state))
    computer.install.installForTraining()
    assert computer.wait() == ("finished", "train")
    assert computer.pytorch.calls == ["uninstall", ">=2.8"]


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


# -- slicer.packaging (3D Slicer 5.12 and newer)


class Packaging:
    """Stands for slicer.packaging."""

    def __init__(self, computer):
        self.computer = computer
        self.calls = []
        self.code = 0

    def pip_install(
        self,
        requirements,
        constraints=None,
        no_deps_requirements=None,
        skip_packages=None,
        blocking=True,
        show_progress=True,
        requester=None,
        parent=None,
        logCallback=None,
        completedCallback=None,
    ):
        import qt

        assert not blocking
        lines = Path(constraints).read_text(encoding="utf-8").split()
        self.calls.append((requirements, lines, requester))
        if isinstance(self.code, Exception):
            raise self.code
        packages = read_json(self.computer.path)["packages"]
        for entry in packages:
            if self.code == 0:
                entry.update(state="works")
        self.computer.set(packages=packages)
        logCallback("Collecting")
        qt.QTimer.singleShot(10, lambda: completedCallback(self.code))


def test_slicers_own_installer_is_used_where_there_is_one(make_computer):
    computer = make_computer([*SLICER, package("openvino", "missing")])
    packaging = Packaging(computer)
    computer.install = Install(computer.backend, packaging=lambda: packaging)
    computer.listen(computer.install)
    computer.install.installForSegmenting()
    assert computer.wait() == ("finished", "segment")
    ((requirements, lines, requester),) = packaging.calls
    assert requirements[-1] == "openvino>=1.0"
    assert "--no-deps" in requirements
    assert "numpy==2.4.6" in lines
    assert requester == "MIMSegment"
    assert ("message", "Collecting") in computer.events
    assert computer.calls == []


@pytest.mark.parametrize("code", [1, RuntimeError("another installation is in progress")])
def test_a_failure_of_slicers_own_installer_is_told(make_computer, code):
    computer = make_computer([*SLICER, package("openvino", "missing")])
    packaging = Packaging(computer)
    packaging.code = code
    computer.install = Install(computer.backend, packaging=lambda: packaging)
    computer.listen(computer.install)
    computer.install.installForSegmenting()
    name, message, hint = computer.wait()
    assert name == "failed"
    assert message
    assert hint


def test_a_python_of_the_users_is_equipped_by_its_own_pip(make_computer):
    computer = make_computer([*SLICER, package("openvino", "missing")])
    packaging = Packaging(computer)
    computer.backend.interpreter = computer.backend.python()
    computer.backend._startupEnvironment = lambda: dict(os.environ)
    computer.install = Install(computer.backend, packaging=lambda: packaging)
    computer.listen(computer.install)
    computer.install.installForSegmenting()
    assert computer.wait() == ("finished", "segment")
    assert packaging.calls == []
    assert len(computer.calls) == 1
