import json
import os
import shutil
from dataclasses import dataclass

from slicer.i18n import tr as _

from MIMSegmentLib.Files import writeJson
from MIMSegmentLib.Problem import Problem
from MIMSegmentLib.Process import Command
from MIMSegmentLib.Process.Words import warningInPanelWords
from MIMSegmentLib.Scene.RankedScene import RankedScene

REPORT = "report"
CASES = "cases.json"


@dataclass(frozen=True)
class RankedCase:
    """A scan without labels, as `mimseg rank` judges it.

    :param name: of the scan.
    :param image: path of the scan.
    :param uncertainty: from 0, larger is less sure.
    :param proposed: True if it is one of those to label next.
    :param warnings: sentences, e.g. that the scan may not belong to the others.
    :param segmentation: path of what the model proposes (`.seg.nrrd`), or "".
    :param uncertaintyMap: path of a map on the scan's grid, or "".
    """

    name: str
    image: str
    uncertainty: float
    proposed: bool = False
    warnings: tuple = ()
    segmentation: str = ""
    uncertaintyMap: str = ""


class RankRuns:
    """Ranks scans without labels, see `Logic.rankCases`.

    :param slot: a `RunSlot`.
    :param scene: a `Scene`.
    :param folder: for the ranking with its maps; each ranking replaces it.
    """

    def __init__(self, slot, scene, folder):
        self._slot = slot
        self._scene = RankedScene(scene)
        self._folder = folder

    def start(self, folder, modelName, cases):
        """Rank the scans of a folder; `cases` are the `Cases` that are labeled already."""
        run = self._slot.begin("rank")
        try:
            if not folder or not os.path.exists(folder):
                raise Problem(
                    _("The folder {folder} does not exist.").format(folder=folder or "-"),
                    _("Choose a folder with scans that have no labels yet."),
                )
            if not modelName:
                raise Problem(_("No model is chosen."), _("Choose a model, or train one first."))
            shutil.rmtree(self._folder, ignore_errors=True)
            os.makedirs(self._folder, exist_ok=True)
            labeled = ""
            if any(entry.get("structures") for entry in cases.entries()):
                labeled, _labels = cases.writeTrainingList(run.folder)
            arguments = Command.rankArguments(folder, modelName, os.path.join(self._folder, REPORT), labeled)
        except Exception as fault:
            self._slot.refuse(fault)
            return

        def makeResult(answer):
            writeJson(os.path.join(self._folder, CASES), answer.get("cases") or [])
            return {"command": "rank", "cases": self.last(), "report": str(answer.get("report") or "")}

        self._slot.startForResult(arguments, makeResult)

    def last(self):
        """The last ranking, the scan to label first at its top; empty if there is none."""
        try:
            with open(os.path.join(self._folder, CASES), encoding="utf-8") as stream:
                return [_rankedCase(entry) for entry in json.load(stream)]
        except (OSError, ValueError, KeyError, TypeError, IndexError):
            return []

    def load(self, case):
        """See `RankedScene.load`."""
        return self._scene.load(case)


def _rankedCase(entry):
    return RankedCase(
        name=entry["case"],
        image=entry["images"][0],
        uncertainty=float(entry["uncertainty"]),
        proposed=bool(entry.get("proposed")),
        warnings=tuple(
            warningInPanelWords(str(warning.get("code")), str(warning["message"]))
            for warning in entry.get("warnings") or ()
        ),
        segmentation=entry.get("segmentation") or "",
        uncertaintyMap=entry.get("uncertainty_map") or "",
    )
