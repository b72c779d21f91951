import json
import os

import qt

from MIMSegmentLib.Signal import Signal


class StructuresSection:
    """Which structures of the chosen model are kept; what is left out is remembered for each model.

    Signals: changed(), another one is kept or left out.
    """

    def __init__(self, ui):
        self.changed = Signal("changed")
        self._list = ui.structuresList
        self._parameters = None
        self._model = ""
        # Names of structures by name of the model.
        self._leftOut = {}
        self._filling = False
        self._list.connect("itemChanged(QListWidgetItem*)", self.onChecked)

    def setParameters(self, parameters):
        """Follow these parameters (None: none) from now on."""
        self._parameters = parameters
        if parameters is not None:
            unfinished = {name: names for name, names in self._leftOut.items() if os.path.isabs(name)}
            self._leftOut = unfinished | _read(parameters.leftOutStructures)

    def expect(self, model):
        """Another model is chosen: until its structures are known, those of the one before do not count."""
        if model != self._model:
            self.show(model, ())

    def show(self, model, names):
        """List the structures of a model."""
        self._model = model
        leftOut = self._leftOut.get(model, ())
        self._filling = True
        self._list.clear()
        for name in names:
            item = qt.QListWidgetItem(name)
            item.setFlags(qt.Qt.ItemIsUserCheckable | qt.Qt.ItemIsEnabled)
            item.setCheckState(qt.Qt.Unchecked if name in leftOut else qt.Qt.Checked)
            self._list.addItem(item)
        self._filling = False

    @property
    def known(self):
        """False while it is not known which structures the model has."""
        return self._list.count > 0

    def kept(self):
        """Names of the structures that are checked."""
        return self._names(qt.Qt.Checked)

    def leftOut(self):
        """Names of the structures that are not checked."""
        return self._names(qt.Qt.Unchecked)

    def onChecked(self, item):
        if self._filling or self._parameters is None:
            return
        self._leftOut[self._model] = self.leftOut()
        # Paths of this computer, of unfinished models, do not belong into a scene that may be passed on.
        kept = {model: names for model, names in self._leftOut.items() if names and not os.path.isabs(model)}
        self._parameters.leftOutStructures = json.dumps(kept) if kept else ""
        self.changed.emit()

    def sceneClosed(self):
        """What was left out of a closed scene is not left out of the next one."""
        self._leftOut = {}

    def _names(self, state):
        items = [self._list.item(row) for row in range(self._list.count)]
        return [item.text() for item in items if item.checkState() == state]


def _read(text):
    """Names of structures by name of the model, as they are kept with the scene."""
    try:
        return {str(model): list(names) for model, names in json.loads(text or "{}").items()}
    except (ValueError, AttributeError, TypeError):
        return {}
