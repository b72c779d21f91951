import os
import re
from dataclasses import asdict

import qt
from slicer.i18n import tr as _

from MIMSegmentLib.Problem import Problem
from MIMSegmentLib.Process.Command import SegmentRequest
from MIMSegmentLib.Runs.Trainings import BEST_MODEL, TRAINING
from MIMSegmentLib.Scene.VolumeFacts import geometryOf

OUTPUT = "results"
ENDING = "_segmentation.seg.nrrd"


class SegmentRun:
    """Volumes of the scene on their way through `mimseg segment`, and their results on the way back.

    :param slot: a `RunSlot`.
    :param scene: a `Scene`.
    :param volumes: nodes, or tuples of nodes for a model of several channels.
    :param options: `SegmentOptions`.
    """

    def __init__(self, slot, scene, volumes, options):
        self._slot = slot
        self._scene = scene
        self._options = options
        self._cases = [_Case(tuple(entry) if isinstance(entry, (list, tuple)) else (entry,)) for entry in volumes]
        self._names = {}
        self._boxed = False
        self._origin = ""

    def start(self, roiNodes):
        """Segment, see `Logic.segment`."""
        self._boxed = bool(roiNodes)
        run = self._slot.begin("segment")
        try:
            if not self._options.model:
                raise Problem(_("No model is chosen."), _("Choose a model, or import one in the tab 'Models'."))
            request = self._prepare(run.folder, roiNodes)
        except Exception as fault:
            self._slot.refuse(fault)
            return
        self._slot.start(request.arguments(), lambda answer: self._onDone(run, answer), self._readable)

    def _prepare(self, folder, roiNodes):
        """Write the volumes to `folder`, which is the working directory of the backend.

        Paths are relative and ASCII, so that neither the length of a command line nor a user's name matters.

        :returns: a SegmentRequest.
        :raises Problem: if there is nothing to segment or a volume cannot be written.
        """
        volumes = [node for case in self._cases for node in case.volumes]
        if not volumes or any(node is None for node in volumes):
            raise Problem(_("No volume is chosen."), _("Choose a volume."))
        inputs = []
        for number, case in enumerate(self._cases, start=1):
            case.sequence = self._scene.sequenceOf(case.volumes[0]) if self._options.wholeSequence else None
            points = range(case.sequence[1].GetNumberOfDataNodes()) if case.sequence else (None,)
            for point in points:
                # Short for a time point: a command line of Windows ends at 32,767 characters, fMRI has many.
                stem = f"{number:03d}_{_plain(case.name)}" if point is None else f"{number:03d}_t{point:04d}"
                case.stems.append(stem)
                shown = case.name if point is None else f"{case.name} [{point + 1}]"
                for channel, node in enumerate(case.volumes):
                    file = f"{stem}.nrrd" if channel == 0 else f"{stem}_{channel:04d}.nrrd"
                    self._scene.exportVolume(self._timePoint(node, point), os.path.join(folder, file))
                    self._names[file] = shown
                    inputs.append(file)
                case.remember(self._timePoint(case.volumes[0], point))
        os.makedirs(os.path.join(folder, OUTPUT), exist_ok=True)
        # A name with a comma cannot be passed on; what is not wanted is then dropped at the import.
        passed = () if any("," in name for name in self._options.labels) else self._options.labels
        options = {**asdict(self._options), "labels": passed}
        return SegmentRequest(**options, inputs=tuple(inputs), output=OUTPUT, regions=self._regions(roiNodes))

    def _timePoint(self, volumeNode, point):
        if point is None:
            return volumeNode
        found = self._scene.sequenceOf(volumeNode)
        if found is None or point >= found[1].GetNumberOfDataNodes():
            raise Problem(
                _("The volume {name} has not as many time points as the others.").format(name=volumeNode.GetName()),
                _("Choose channels that belong to the same sequence."),
            )
        return found[1].GetNthDataNode(point)

    def _regions(self, roiNodes):
        if not roiNodes:
            return ()
        found = {self._scene.regionsForVolume(roiNodes, case.volumes[0]) for case in self._cases}
        if len(found) > 1:
            raise Problem(
                _("The volumes lie below different transforms, so one region does not fit all."),
                _("Segment them one after the other, or harden their transforms."),
            )
        return found.pop()

    def _readable(self, text):
        """A message of the backend with the names of the volumes instead of those of the temporary files."""
        for file, name in self._names.items():
            text = text.replace(file, name).replace(file[: -len(".nrrd")], name)
        return text

    def _onDone(self, run, answer):
        files = self._results(answer, run.folder)
        if not files or answer.stopped:
            return self._slot.outcomeOf(answer)
        self._origin = originOf(run.facts, self._options)
        result = self._importResults(files, shownName(self._options.model))
        facts = {name: run.facts.get(name) for name in ("device", "engine")}
        if answer.ok and not self._options.quick:
            _rememberSeconds(self._options.model, self._boxed, answer.result)
        seconds = answer.result.get("seconds") if answer.ok else None
        return lambda: self._slot.finished.emit({**result, **facts, "seconds": seconds})

    def _results(self, answer, folder):
        """Files by stem; with several volumes, some may have succeeded although the run as a whole failed."""
        if not answer.ok and answer.code != "cases-failed":
            return {}
        files = {}
        for case in self._cases:
            for stem in case.stems:
                path = os.path.join(folder, OUTPUT, stem + ENDING)
                if os.path.isfile(path):
                    files[stem] = path
        if answer.ok and not files:
            raise Problem(_("The computation wrote no result."), _("Try again; the log may say more."))
        return files

    def _importResults(self, files, modelName):
        """New nodes for the files; all or none.

        :raises Problem: if a file cannot be read or no volume is left in the scene.
        """
        created = []
        self._scene.saveStateForUndo()
        try:
            result = self._import(files, modelName, created)
        except BaseException:
            self._scene.remove(created)
            raise
        if not result["segmentations"] and any(case.moved() for case in self._cases):
            raise Problem(
                _("The volume was moved or cropped while it was segmented, so the result no longer lies on it."),
                _("Segment it again."),
            )
        if not result["segmentations"]:
            raise Problem(
                _("The volume was removed from the scene meanwhile, so the result has no place."),
                _("Load the volume again and segment it."),
            )
        return result

    def _import(self, files, modelName, created):
        result = {"command": "segment", "segmentations": [], "tables": [], "sequences": [], "failures": []}
        for case in self._cases:
            missing = [stem for stem in case.stems if stem not in files]
            if len(missing) == len(case.stems) or not self._scene.contains(case.volumes[0]):
                result["failures"].append(case.name)
                continue
            if case.moved():
                # What was found would lie beside it.
                result["failures"].append(case.name)
                continue
            if missing:
                result["failures"] += [self._readable(stem) for stem in missing]
            text = _("{volume} {model} (unsuited)") if self._options.doubts else _("{volume} {model}")
            name = text.format(volume=case.name, model=modelName)
            if case.sequence is None:
                node = self._importOne(files[case.stems[0]], case, name, created)
                table = self._scene.tables.add(node)
            else:
                node, table = self._importSequence(files, case, name, created, result)
            created.append(table)
            result["segmentations"].append(node)
            result["tables"].append(table)
        return result

    def _importOne(self, file, case, name, created):
        node = self._scene.importSegmentation(file, case.volumes[0], name, self._options.labels)
        node.SetDescription(self._origin)
        created.append(node)
        return node

    def _importSequence(self, files, case, name, created, result):
        """A sequence in the browser of the volume's; returns the node that shows it, and a table."""
        browser, source = case.sequence
        nodes = [self._importOne(files[stem], case, name, created) if stem in files else None for stem in case.stems]
        sequence = self._scene.addSequence(browser, source, nodes, name)
        created.append(sequence)
        self._scene.remove(nodes)
        shown = browser.GetProxyNode(sequence)
        if shown is not None:
            created.append(shown)
            self._scene.attach(shown, case.volumes[0])
            shown.SetDescription(self._origin)
        result["sequences"].append(sequence)
        return shown, self._scene.tables.add(sequence, name)


class _Case:
    def __init__(self, volumes):
        self.volumes = volumes
        self.name = volumes[0].GetName() if volumes and volumes[0] is not None else ""
        self.sequence = None
        self.stems = []
        # Of each time point: its node, and where its voxels lay when it was written to a file.
        self.geometries = []

    def remember(self, node):
        """Keep where the voxels of a volume lie now."""
        self.geometries.append((node, geometryOf(node)))

    def moved(self):
        """True if the voxels lie elsewhere by now, or are others."""
        return any(geometryOf(node) != geometry for node, geometry in self.geometries)


def _plain(name):
    return re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")[:40] or "volume"


def expectedSeconds(modelName, boxed):
    """How long the last volume took with this model on this computer, in boxes or whole, or None."""
    value = qt.QSettings().value(_settingsKey(modelName, boxed))
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def originOf(facts, options):
    """What made a result, to be kept with it.

    :param facts: what the backend said at its start.
    """
    text = _("Made by MIMSegment with the model {model}, version {version}.").format(
        model=facts.get("model") or shownName(options.model), version=facts.get("version") or "?"
    )
    if options.quick:
        text += " " + _("Quick mode.")
    if options.leftOut:
        text += " " + _("Left out: {names}.").format(names=", ".join(options.leftOut))
    return f"{text} {options.doubts}".strip()


def shownName(model):
    """How results of a model are called: its name, also where it is the best of an unfinished training so far."""
    folder, last = os.path.split(str(model))
    if last != BEST_MODEL:
        return last or str(model)
    return _("{name} (unfinished)").format(name=os.path.basename(folder).removesuffix(TRAINING))


def _rememberSeconds(modelName, boxed, result):
    outputs = result.get("outputs") or ()
    seconds = [entry.get("seconds") for entry in outputs if isinstance(entry.get("seconds"), (int, float))]
    if seconds:
        qt.QSettings().setValue(_settingsKey(modelName, boxed), float(seconds[-1]))


def _settingsKey(modelName, boxed):
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", shownName(modelName))
    return f"MIMSegment/seconds/{plain}" + ("/boxes" if boxed else "/whole")
