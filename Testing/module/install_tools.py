"""A computer on which packages are installed: doctor, pip and the PyTorch extension are stand-ins."""

import json
import os
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from logic_tools import read_json, scripted_backend, wait_until
from MIMSegmentLib.Process.Install import Install

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
        self.questions = []
        self.says = True
        self.install = Install(self.backend, packaging=lambda: None, pytorch=lambda: self.pytorch, confirm=self.confirm)
        self.listen(self.install)

    def confirm(self, question):
        self.questions.append(question)
        return self.says

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
        self.constraints = "\n".join(map(_constraintsOfPip, os.environ["PIP_CONSTRAINT"].split())).split()
        if isinstance(self.answer, Exception):
            raise self.answer
        packages = read_json(self.computer.path)["packages"]
        for entry in packages:
            if entry["name"] == "torch" and self.answer is not None:
                entry.update(state="works", version="2.13.0+cpu")
        self.computer.set(packages=packages)
        return self.answer


def _constraintsOfPip(file):
    """What pip reads of one entry of its list of files, which may be an address."""
    path = url2pathname(urlsplit(file).path) if file.startswith("file:") else file
    return Path(path).read_text(encoding="utf-8")


SLICER = [package("numpy", version="2.4.6"), package("SimpleITK", version="2.5.5")]


def training(state="missing", torch="missing"):
    return [
        *SLICER,
        package("openvino", version="2026.4.1"),
        package("torch", torch, purpose="train", version="2.9.0" if torch != "broken" else "", minimum="2.8"),
        package("monai", state, purpose="train", minimum="1.5.1"),
        package("lightning-fabric", state, purpose="train"),
        package("einops", state, purpose="train", minimum="0.8"),
        package("onnxscript", state, purpose="train", minimum="0.3"),
    ]
