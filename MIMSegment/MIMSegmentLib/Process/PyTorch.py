import os
import pathlib
import sysconfig

from slicer.i18n import tr as _

from MIMSegmentLib.Problem import Problem

REQUIREMENT = ">=2.8"


class PyTorch:
    """Installs PyTorch into Slicer's Python, through Slicer's extension of that name; blocks meanwhile.

    :param backend: the `Backend` whose interpreter is to be equipped.
    :param logic: returns a PyTorchUtilsLogic or None; by default that of the PyTorch extension.
    :param confirm: asks the user a question, returns True for yes.
    """

    def __init__(self, backend, logic, confirm):
        self._backend = backend
        self._logic = logic or _pytorchUtilsLogic
        self._confirm = confirm

    def install(self, package, constraints):
        """Install or upgrade PyTorch.

        :param package: torch, as the doctor lists it: missing, too old or broken.
        :param constraints: path of a constraints file.
        :raises Problem: it is not installed; one that worked before still does.
        """
        logic = self._usableLogic(package)
        if package["state"] == "too old":
            self._askToReplace(package)
        kept = os.environ.get("PIP_CONSTRAINT")
        # As an address: pip takes what lies between two spaces of the variable for a file.
        os.environ["PIP_CONSTRAINT"] = pathlib.Path(constraints).as_uri()
        try:
            if package["state"] == "broken":
                # pip would take it for installed. An old one that works stays until pip has the newer one.
                logic.uninstallTorch()
            if logic.installTorch(askConfirmation=False, torchVersionRequirement=REQUIREMENT) is None:
                raise RuntimeError(_("the PyTorch extension gave up"))
        except Exception as fault:
            raise Problem(
                _("PyTorch could not be installed ({reason}).").format(reason=fault),
                _(
                    "Restart 3D Slicer and try again, or install it in the module 'PyTorch Utils', which says more."
                    " Without permission to write into Slicer's folder, choose a Python below 'Use another Python'"
                    " on the tab Computer."
                ),
            ) from fault
        finally:
            if kept is None:
                os.environ.pop("PIP_CONSTRAINT", None)
            else:
                os.environ["PIP_CONSTRAINT"] = kept

    def _usableLogic(self, package):
        if self._backend.usesOwnInterpreter:
            raise Problem(
                _("Your Python {python} has no usable PyTorch.").format(python=self._backend.python()),
                _("Install it there, as pytorch.org tells for your computer, then try again."),
            )
        if _isIntelMac():
            raise Problem(
                _("This 3D Slicer cannot train: for it, there is no PyTorch {minimum} or newer.").format(
                    minimum=package["minimum"]
                ),
                _(
                    "It is made for Macs with an Intel processor. On one with an Apple processor, install Python"
                    " and PyTorch for it, then choose that Python below 'Use another Python' on the tab Computer."
                ),
            )
        logic = self._logic()
        if logic is None:
            raise Problem(
                _("Training needs the extension PyTorch."),
                _("Install 'PyTorch' in the Extensions Manager, restart 3D Slicer, then try again."),
            )
        return logic

    def _askToReplace(self, package):
        question = _(
            "PyTorch {version} is installed in 3D Slicer, but training needs {minimum} or newer. Other extensions may"
            " use it, and may need that version. Replace it?"
        ).format(version=package["version"], minimum=package["minimum"])
        if not self._confirm(question):
            raise Problem(
                _("PyTorch {version} was left as it is.").format(version=package["version"]),
                _("To train without replacing it, choose a Python below 'Use another Python' on the tab Computer."),
            )


def _isIntelMac():
    """True in a Python for Intel Macs, as in a 3D Slicer for them that runs on another Mac."""
    system = sysconfig.get_platform()
    return system.startswith("macosx") and system.endswith("x86_64")


def _pytorchUtilsLogic():
    try:
        import PyTorchUtils
    except ImportError:
        return None
    return PyTorchUtils.PyTorchUtilsLogic()
