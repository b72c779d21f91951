from slicer.i18n import tr as _

from MIMSegmentLib.Signal import Signal


class Setup:
    """Makes sure that the packages for a run are there: asks once, installs without blocking, then goes on.

    Signals: changed(str message, str hint), an installation failed, or (both empty) started;
    installed(str purpose).
    """

    def __init__(self, installer, desktop, catalog):
        self.changed = Signal("changed")
        self.installed = Signal("installed")
        self._installer = installer
        self._desktop = desktop
        self._catalog = catalog
        self._next = None
        self._purpose = ""
        installer.finished.connect(self._onInstalled)
        installer.failed.connect(self._onFailed)
        catalog.examined.connect(self._onExamined)

    @property
    def running(self):
        """True while packages are being installed."""
        return bool(self._installer.running)

    def can(self, purpose):
        """False if it is known that packages for "segment" or "train" are missing."""
        examination = self._catalog.examination
        return examination is None or bool(examination["can"][purpose])

    def ensure(self, purpose, action):
        """Run `action` now, or after what it needs was installed."""
        if self.can(purpose):
            action()
            return
        if not self.running and self._desktop.confirm(self.question(purpose)):
            self.install(purpose, action)

    def install(self, purpose, action=None):
        """Install the packages for "segment", "dicom" or "train", then run `action`."""
        if self.running:
            return
        self._next, self._purpose = action, purpose
        if purpose == "segment":
            self._installer.installForSegmenting()
        elif purpose == "dicom":
            self._installer.installForDicom()
        else:
            self._installer.installForTraining()
        if self.running:
            self.changed.emit("", "")

    @staticmethod
    def question(purpose):
        """What is going to be installed, and why."""
        if purpose == "segment":
            what = _("Segmenting needs OpenVINO, about 60 MB, once.")
        else:
            what = _("Training needs PyTorch (through the PyTorch extension) and MONAI, once; they are large.")
        return what + " " + _("Nothing of Slicer's own is replaced. Install it now?")

    def _onInstalled(self, purpose):
        self.installed.emit(purpose)
        # What can be done now is asked for before anything goes on.
        self._catalog.examine()

    def _onExamined(self):
        action, self._next = self._next, None
        if action is not None and not self.running and self.can(self._purpose):
            action()

    def _onFailed(self, message, hint):
        self._next = None
        self.changed.emit(message, hint)
