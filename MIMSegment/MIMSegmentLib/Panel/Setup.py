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
        # What is to follow the installation, and whether that has ended well.
        self._next = None
        self._ready = False
        self._purpose = ""
        installer.finished.connect(self._onInstalled)
        installer.failed.connect(self._onFailed)
        catalog.examined.connect(self._onExamined)
        catalog.failed.connect(self._onUnknown)

    @property
    def running(self):
        """True while packages are being installed."""
        return bool(self._installer.running)

    @property
    def purpose(self):
        """What packages are being, or were last, installed for: "segment", "dicom" or "train"."""
        return self._purpose

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
        self._next, self._ready, self._purpose = action, False, purpose
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
            what += " " + _("Slicer stands still for some minutes while PyTorch is installed.")
        return what + " " + _("Nothing of Slicer's own is replaced. Install it now?")

    def _onInstalled(self, purpose):
        self._ready = True
        self.installed.emit(purpose)
        # What can be done now is asked for before anything goes on.
        self._catalog.examine()

    def _onExamined(self):
        # The user may have the computer examined while packages are still being installed.
        if self.running or not self._ready:
            return
        action = self._forget()
        if action is not None and self.can(self._purpose):
            action()

    def _onUnknown(self, message, hint):
        # Whether it can run is not known, and a later look at the computer must not start it unasked.
        if self._ready:
            self._forget()

    def _onFailed(self, message, hint):
        self._forget()
        self.changed.emit(message, hint)

    def _forget(self):
        """What was to follow; it no longer is to."""
        action, self._next, self._ready = self._next, None, False
        return action
