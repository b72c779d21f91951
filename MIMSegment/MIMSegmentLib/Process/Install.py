import importlib.metadata
import os
import shutil
import tempfile

from slicer.i18n import tr as _

from MIMSegmentLib.Problem import Problem
from MIMSegmentLib.Process import Command
from MIMSegmentLib.Process.BackendRun import BackendRun
from MIMSegmentLib.Process.Pip import Pip
from MIMSegmentLib.Process.ProcessRunner import ProcessRunner
from MIMSegmentLib.Process.PyTorch import PyTorch
from MIMSegmentLib.Signal import Signal

USABLE = ("works", "installed")
# What comes with 3D Slicer, or belongs to another extension, stays in exactly the version that is there.
PINNED = ("numpy", "scipy", "SimpleITK", "vtk", "pydicom", "requests", "torch", "torchvision", "torchaudio")


class Install:
    """Installs the Python packages that the backend lacks, without blocking and without touching what is there.

    May be repeated after a failure: each time it looks anew at what is missing, outdated or half-installed.

    Signals: message(str), for the log; finished(str purpose); failed(str message, str hint); exactly one of the last
    two follows each call of an install method.

    :param backend: the `Backend` whose interpreter is to be equipped.
    :param packaging: see `Pip`.
    :param pytorch: see `PyTorch`.
    :param installedVersion: version of a distribution in Slicer's Python, None if it is not there.
    :param confirm: see `PyTorch`; by default nobody is there to say yes.
    """

    def __init__(
        self,
        backend,
        makeRunner=ProcessRunner,
        packaging=None,
        pytorch=None,
        installedVersion=None,
        confirm=lambda question: False,
    ):
        self.message = Signal("message")
        self.finished = Signal("finished")
        self.failed = Signal("failed")
        self._backend = backend
        self._makeRunner = makeRunner
        self._pip = Pip(backend, makeRunner, packaging)
        self._pip.message.connect(self.message.emit)
        self._pytorch = PyTorch(backend, pytorch, confirm)
        self._installedVersion = installedVersion or _installedVersion
        self._purpose = ""
        self._child = None
        self._folder = None
        # What arrives from an installation that was given up must not count for the next one.
        self._attempt = 0

    @property
    def running(self):
        """ "segment", "dicom" or "train" while packages for it are being installed, else ""."""
        return self._purpose

    def installForSegmenting(self):
        """Install what `mimseg segment` needs: OpenVINO, tens of megabytes; no PyTorch."""
        self._begin("segment")

    def installForDicom(self):
        """Install what writing DICOM segmentations needs: highdicom."""
        self._begin("dicom")

    def installForTraining(self):
        """Install what training needs: PyTorch through the PyTorch extension, then the rest."""
        self._begin("train")

    def cancel(self):
        """Give up; the next attempt takes up what is missing then."""
        if not self._purpose:
            return
        self._attempt += 1
        child, self._child = self._child, None
        if child is not None:
            child()
        self._fail(_("The installation was cancelled."), _("Start it again whenever you like."))

    @staticmethod
    def missing(examination, purpose):
        """Packages (as the doctor lists them) that are missing, too old or broken.

        :param examination: result of `mimseg doctor --json-lines`.
        :param purpose: "segment", "dicom", or "train", which includes the first.
        """
        purposes = ("segment", "train") if purpose == "train" else (purpose,)
        packages = examination.get("packages") or ()
        return [p for p in packages if p.get("purpose") in purposes and p.get("state") not in USABLE]

    def constraints(self, examination):
        """Lines of a constraints file: everything that must stay as it is, in the version that is installed."""
        versions = {p["name"]: p["version"] for p in examination.get("packages") or () if p.get("state") in USABLE}
        lines = []
        for name in PINNED:
            version = versions.get(name)
            # Metadata of this process say nothing about another interpreter.
            if not version and not self._backend.usesOwnInterpreter:
                version = self._installedVersion(name)
            if version:
                lines.append(f"{name}=={version}")
        return lines

    # -- the steps

    def _begin(self, purpose):
        if self._purpose:
            raise RuntimeError("An installation is running already.")
        self._purpose = purpose
        self._attempt += 1
        self._folder = tempfile.mkdtemp(prefix="MIMSegment-install-")
        # In full only where half-installed training packages matter.
        self._examine(quick=purpose != "train", then=self._onExamined)

    def _examine(self, quick, then):
        attempt = self._attempt
        run = BackendRun(self._backend, Command.doctorArguments(quick), self._makeRunner)
        answers = []
        run.log.connect(self.message.emit)
        run.done.connect(answers.append)
        run.ended.connect(lambda: then(answers[0]) if attempt == self._attempt else None)
        self._child = run.kill
        run.start()

    def _onExamined(self, answer):
        if not answer.ok:
            self._fail(answer.message, answer.hint)
            return
        lacking = self.missing(answer.result, self._purpose)
        names = [package["name"] for package in lacking]
        if not names:
            self._succeed()
            return
        self.message.emit(_("Not usable yet: {names}").format(names=", ".join(names)))
        constraints = self._writeConstraints(answer.result)
        torch = next((package for package in lacking if package["name"] == "torch"), None)
        if torch is not None:
            if not self._installTorch(torch, constraints):
                return
            # PyTorch pins itself from now on.
            self._examine(quick=True, then=lambda again: self._onTorchInstalled(again, lacking))
            return
        self._installRest(lacking, constraints)

    def _onTorchInstalled(self, answer, lacking):
        if not answer.ok:
            self._fail(answer.message, answer.hint)
            return
        if any(package["name"] == "torch" for package in self.missing(answer.result, "train")):
            self._fail(
                _("PyTorch was not installed."),
                _("Install it in the module 'PyTorch Utils', whose log tells more, then try again here."),
            )
            return
        rest = [package for package in lacking if package["name"] != "torch"]
        self._installRest(rest, self._writeConstraints(answer.result))

    def _installRest(self, lacking, constraints):
        steps = []
        broken = [_requirement(package) for package in lacking if package["state"] == "broken"]
        if broken:
            steps.append(["--no-deps", "--force-reinstall", *broken])
        plain = [package for package in lacking if package["state"] != "broken"]
        runtime = [_requirement(package) for package in plain if package["purpose"] == "segment"]
        if runtime:
            # Their dependencies are what Slicer ships; OpenVINO's telemetry is not wanted.
            steps.append(["--no-deps", "--upgrade", *runtime])
        dicom = [_requirement(package) for package in plain if package["purpose"] == "dicom"]
        if dicom:
            steps.append(dicom)
        training = [_requirement(package) for package in plain if package["purpose"] == "train"]
        if training:
            steps.append(training)
        self._installSteps(steps, constraints)

    def _installSteps(self, steps, constraints):
        if not steps:
            self._examine(quick=True, then=self._onVerified)
            return
        arguments, *rest = steps
        self.message.emit("pip install " + " ".join(arguments))
        attempt = self._attempt

        def onDone(exitCode):
            if attempt != self._attempt:
                return
            if exitCode != 0:
                self._fail(
                    _("Installing packages failed (pip ended with code {code}).").format(code=exitCode),
                    _(
                        "The log says why: often the network, a proxy or a full disk; then try again. Without"
                        " permission to write into Slicer's folder, choose a Python below 'Use another Python'"
                        " on the tab Computer."
                    ),
                )
                return
            self._installSteps(rest, constraints)

        self._child = self._pip.kill
        try:
            self._pip.install(arguments, constraints, onDone)
        except Problem as problem:
            self._fail(problem.message, problem.hint)

    def _onVerified(self, answer):
        if not answer.ok:
            self._fail(answer.message, answer.hint)
            return
        lacking = self.missing(answer.result, self._purpose)
        if lacking:
            faults = "; ".join(f"{p['name']}: {p.get('fault') or p['state']}" for p in lacking)
            self._fail(
                _("Packages are still not usable: {faults}.").format(faults=faults),
                _("Restart 3D Slicer and try again: files that were in use can be replaced then."),
            )
            return
        self._succeed()

    def _installTorch(self, torch, constraints):
        """True once the PyTorch extension has done its work; else the failure was told."""
        try:
            self._pytorch.install(torch, constraints)
        except Problem as problem:
            self._fail(problem.message, problem.hint)
            return False
        return True

    def _writeConstraints(self, examination):
        # PyTorch's own version may change while it is being replaced.
        lacking = {package["name"] for package in self.missing(examination, "train")}
        lines = [line for line in self.constraints(examination) if line.split("==")[0] not in lacking]
        if "torch" in lacking:
            lines = [line for line in lines if not line.startswith(("torchvision", "torchaudio"))]
        path = os.path.join(self._folder, "constraints.txt")
        with open(path, "w", encoding="utf-8") as stream:
            stream.write("\n".join(lines) + "\n")
        return path

    def _succeed(self):
        purpose = self._end()
        self.finished.emit(purpose)

    def _fail(self, message, hint):
        self._end()
        self.failed.emit(message, hint)

    def _end(self):
        purpose, self._purpose = self._purpose, ""
        self._child = None
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
        return purpose


def _requirement(package):
    return f"{package['name']}>={package['minimum']}"


def _installedVersion(name):
    try:
        return importlib.metadata.version(name) or None
    except importlib.metadata.PackageNotFoundError:
        return None
