import json
import os
import shutil

from MIMSegmentLib.Process import Command


class CheckRuns:
    """Looks for what is wrong with the training cases, see `Logic.checkCases`.

    :param slot: a `RunSlot`.
    :param folder: for the report, which shows images of patients; each check replaces it.
    """

    def __init__(self, slot, folder):
        self._slot = slot
        self._folder = folder

    def start(self, cases, initial=""):
        """Check `Cases`, also whether they suit what training is to start from."""
        run = self._slot.begin("check")
        shutil.rmtree(self._folder, ignore_errors=True)
        try:
            problems = cases.problems()
            if any(problem["severity"] == "error" for problem in problems):
                # The backend would only say the first of them.
                self._slot.finishAtOnce({"command": "check", "problems": problems, "report": ""})
                return
            caseFile, labels = cases.writeTrainingList(run.folder)
            os.makedirs(self._folder, exist_ok=True)
            report = os.path.join(self._folder, "check.html")
            arguments = Command.checkArguments(caseFile, labels, report=report, **_expectation(initial))
        except Exception as fault:
            self._slot.refuse(fault)
            return

        def makeResult(answer):
            found = [dict(problem) for problem in answer.get("problems") or ()]
            written = str(answer.get("report") or "")
            return {"command": "check", "problems": [*problems, *found], "report": written}

        self._slot.startForResult(arguments, makeResult)


def _expectation(initial):
    """What the cases have to suit: a model by its name, or the modality of a pre-training."""
    if not initial or initial == "none":
        return {}
    try:
        with open(os.path.join(initial, "pretraining.json"), encoding="utf-8") as stream:
            modality = json.load(stream).get("modality")
    except (OSError, ValueError, AttributeError):
        return {"model": initial} if not os.path.isfile(os.path.join(initial, "pretraining.json")) else {}
    return {"modality": modality} if modality in ("CT", "MR") else {}
