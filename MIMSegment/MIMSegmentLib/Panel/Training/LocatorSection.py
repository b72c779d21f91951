import re

from slicer.i18n import tr as _

from MIMSegmentLib.Signal import Signal

SIDES = re.compile(r"(?<![a-z])(left|right)(?![a-z])[\s_-]*", re.IGNORECASE)


class LocatorSection:
    """By which structure of another model a new one finds its region in large scans.

    Signals: changed(), something else was chosen.
    """

    def __init__(self, ui, catalog):
        self.ui = ui
        self.catalog = catalog
        self.parameters = None
        self.changed = Signal("changed")
        self._filling = False
        ui.locatorModelSelector.connect("currentIndexChanged(int)", self.onModelChosen)
        ui.locatorStructureSelector.connect("currentIndexChanged(int)", self.onChosen)
        ui.trainedSideSelector.connect("currentIndexChanged(int)", self.onChosen)
        catalog.changed.connect(self.show)
        self.show()

    def setParameters(self, parameters):
        """Follow these parameters (None: none) from now on."""
        self.parameters = parameters
        if parameters is not None:
            self.show()

    def show(self):
        """Fill the lists; what was chosen stays chosen, if it is still there."""
        wanted = self.parameters or _Chosen(*self._current())
        self._filling = True
        models = [(_("Nothing: small scans, or boxes"), "")]
        models += [(model["title"], model["name"]) for model in self.catalog.usable if model.get("labels")]
        _fill(self.ui.locatorModelSelector, models, wanted.locatorModel)
        sides = [(_("either side"), ""), (_("the left side only"), "left"), (_("the right side only"), "right")]
        _fill(self.ui.trainedSideSelector, sides, wanted.trainedSide)
        self._showStructures(wanted.locatorStructure)
        self._filling = False

    def onModelChosen(self, _index):
        if not self._filling:
            self._filling = True
            self._showStructures("")
            self._filling = False
            self.onChosen()

    def onChosen(self, *_ignored):
        if self._filling:
            return
        if self.parameters is not None:
            parameters = self.parameters
            parameters.locatorModel, parameters.locatorStructure, parameters.trainedSide = self._current()
        self._enable()
        self.changed.emit()

    def chosen(self):
        """Fields of `FinetuneOptions`."""
        model, structure, side = self._current()
        if not model or not structure:
            return {"locator": "", "trainedSide": ""}
        return {"locator": f"{model}:{structure}", "trainedSide": "" if SIDES.search(structure) else side}

    def _current(self):
        lists = (self.ui.locatorModelSelector, self.ui.locatorStructureSelector, self.ui.trainedSideSelector)
        return tuple(selector.currentData or "" for selector in lists)

    def _showStructures(self, wanted):
        name = self.ui.locatorModelSelector.currentData
        labels = next((model["labels"] for model in self.catalog.usable if name and model["name"] == name), [])
        _fill(self.ui.locatorStructureSelector, structuresOf(labels), wanted)
        self._enable()

    def _enable(self):
        model, structure, _side = self._current()
        self.ui.locatorStructureSelector.enabled = bool(model)
        # Of a structure on one side there is nothing to mirror.
        self.ui.trainedSideSelector.enabled = bool(model and structure and not SIDES.search(structure))


class _Chosen:
    """What is chosen while there are no parameters."""

    def __init__(self, model, structure, side):
        self.locatorModel, self.locatorStructure, self.trainedSide = model, structure, side


def structuresOf(labels):
    """`[(text, what the backend calls it)]`: pairs of left and right first, then each structure by itself."""
    plain = {}
    for name in labels:
        found = SIDES.search(name)
        if found:
            plain.setdefault(SIDES.sub("", name).strip(" ()_-"), set()).add(found[1].lower())
    both = [name for name, sides in plain.items() if name and len(sides) == 2]
    return [(_("{name}, left and right").format(name=name), name) for name in both] + [(name, name) for name in labels]


def _fill(selector, entries, wanted):
    selector.clear()
    for text, value in entries:
        selector.addItem(text, value)
    selector.setCurrentIndex(max(0, selector.findData(wanted)) if entries else -1)
