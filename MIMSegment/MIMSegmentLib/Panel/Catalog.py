from slicer.i18n import tr as _

from MIMSegmentLib.Signal import Signal


class Catalog:
    """What the backend knows of this computer, asked once and shared by the tabs: models and devices.

    Signals: changed(), the list of models is new; examined(), the computer was examined;
    failed(str message, str hint), a question could not be answered.
    """

    def __init__(self, logic):
        self.changed = Signal("changed")
        self.examined = Signal("examined")
        self.failed = Signal("failed")
        self.models = []
        self.bestModels = []
        # Of pre-training: list of {"name", "title", "summary"}, the default first.
        self.methods = []
        self.examination = None
        self._logic = logic
        self._facts = {}
        self._waiting = {}
        logic.modelsChanged.connect(self.refresh)

    @property
    def usable(self):
        """The models without a fault."""
        return [model for model in self.models if not model.get("fault")]

    @property
    def segmenters(self):
        """What can segment: the models, then the best ones so far of trainings that are not finished."""
        unfinished = _("{title} (training not finished)")
        return self.usable + [
            {"name": model["name"], "title": unfinished.format(title=model["title"])} for model in self.bestModels
        ]

    def lookForBestModels(self):
        """See whether an unfinished training has a model by now; cheap."""
        found = self._logic.bestModels()
        if found != self.bestModels:
            self.bestModels = found
            self.changed.emit()

    def refresh(self):
        """Ask for the list of models again."""
        self._facts = {}
        self.bestModels = self._logic.bestModels()
        self._logic.listModels(self._onModels)

    def examine(self, quick=True):
        """Ask what this computer can do."""
        python = self._logic.backend.interpreter
        self._logic.checkComputer(lambda answer: self._onExamined(python, answer), quick)

    def forgetExamination(self):
        """Another Python is used from now on: what the last one said does not hold."""
        self.examination = None

    def show(self, name, callback):
        """Call `callback(name, facts)` with what is known of a model, at once if it was asked before."""
        if name in self._facts:
            callback(name, self._facts[name])
            return
        self._waiting.setdefault(name, []).append(callback)
        if len(self._waiting[name]) == 1:
            self._logic.showModel(name, lambda answer: self._onFacts(name, answer))

    def facts(self, name):
        """What `mimseg models show` told of a model, None while it is not known."""
        return self._facts.get(name)

    def channels(self, name):
        """What each input of a model is, e.g. ["T1"]; empty while it is not known."""
        facts = self._facts.get(name)
        return facts["description"]["channels"] if facts else []

    def fieldOfView(self, name):
        """Usual size in mm of the scans that a model was made for, or None."""
        facts = self._facts.get(name)
        return facts["description"].get("field_of_view_mm") if facts else None

    def quickMode(self, name):
        """The coarser mode of a model with its measured loss, or None."""
        facts = self._facts.get(name)
        return facts["description"].get("quick") if facts else None

    def _onModels(self, answer):
        if not answer.ok:
            self.failed.emit(answer.message, answer.hint)
            return
        self.models = answer.result["models"]
        self.methods = answer.result.get("methods") or self.methods
        self.changed.emit()

    def _onFacts(self, name, answer):
        callbacks = self._waiting.pop(name, [])
        if not answer.ok:
            self.failed.emit(answer.message, answer.hint)
            return
        self._facts[name] = answer.result
        for callback in callbacks:
            callback(name, answer.result)

    def _onExamined(self, python, answer):
        if python != self._logic.backend.interpreter:
            # A late answer; the Python that took its place was asked, too.
            return
        if not answer.ok:
            self.failed.emit(answer.message, answer.hint)
            return
        self.examination = answer.result
        self.examined.emit()
