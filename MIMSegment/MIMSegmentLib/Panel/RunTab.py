from dataclasses import replace

from slicer.i18n import tr as _

from MIMSegmentLib.Panel import Texts


class RunTab:
    """A part of the panel that starts a run and shows what it does; the panel passes on what the logic tells of it.

    :param ui: the widgets of MIMSegment.ui.
    :param logic: a `Logic`.
    :param desktop: a `Desktop`.
    :param catalog: a `Catalog`.
    :param setup: a `Setup`.
    :param status: a `RunStatus`.
    """

    def __init__(self, ui, logic, desktop, catalog, setup, status):
        self.ui = ui
        self.logic = logic
        self.desktop = desktop
        self.catalog = catalog
        self.setup = setup
        self.status = status
        self.parameters = None

    @property
    def deviceChoice(self):
        """Which device the user chose on the Segment tab: "auto", "cpu" or "gpu"."""
        return self.parameters.device if self.parameters is not None else "auto"

    def whenInstalled(self, purpose, action, options):
        """Call `action` with the options as they are now, once the packages for "segment" or "train" are there.

        They may be installed while another module is shown, whose panel has no parameters of ours. What the device is
        called is known only afterwards; it is filled in here.
        """
        choice = self.deviceChoice

        def go():
            action(replace(options, device=Texts.deviceArgument(choice, self.catalog.examination)))

        self.setup.ensure(purpose, go)

    def onStarted(self, command):
        """A run of this part begins."""

    def onAnnounced(self, fields):
        """The backend said what it is going to use."""

    def onProgress(self, phase, done, total, etaSeconds):
        """`done` of `total` of a phase."""
        self.status.progress(phase, done, total, etaSeconds)

    def onMetric(self, name, value, fields):
        """Something was measured."""

    def onStopped(self, command):
        """The run was stopped by the user."""
        self.status.end(_("Canceled. Nothing was changed."))

    def showResult(self, result):
        """The run succeeded."""
        raise NotImplementedError

    def update(self, *_ignored):
        """Enable what can be done now."""
        raise NotImplementedError
