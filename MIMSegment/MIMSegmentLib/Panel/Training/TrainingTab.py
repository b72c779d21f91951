from MIMSegmentLib.Panel.RunTab import RunTab
from MIMSegmentLib.Scene.Curves import Curves


class TrainingTab(RunTab):
    """A tab that trains: what `RunTab` does, and the curves of its trainings.

    :param command: of its trainings, "finetune" or "pretrain".
    :param title: of the curves.
    """

    def __init__(self, ui, logic, desktop, catalog, setup, status, command, title):
        super().__init__(ui, logic, desktop, catalog, setup, status)
        self.command = command
        self.curves = Curves(logic.scene.scene, title)
        # Name of the training that is started next, and whether it is resumed.
        self._training = ("", False)

    @property
    def running(self):
        return self.logic.training.command == self.command

    def beginCurves(self):
        """The training that was announced begins."""
        self.curves.begin(*self._training)
        self._training = ("", False)
        self.desktop.showChart(self.curves.chart)

    def onShowCurves(self):
        if self.curves.chart is not None and not self.desktop.hideChart():
            self.desktop.showChart(self.curves.chart)

    def sceneClosed(self):
        """The curves are gone with the scene, unless the training goes on."""
        if self.running:
            self.curves.drawAgain()
        else:
            self.curves.forget()
        self.update()
