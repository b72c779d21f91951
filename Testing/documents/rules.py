"""How the documents' commands are run in tests: which are not, with the reason, and which are made shorter, and how.

Whatever no rule names is run exactly as it is written.
"""

from __future__ import annotations

import re

# Pattern of the command, reason.
NOT_RUN = (
    (r"^pip install (\./backend|\"\./backend\[train\]\")$", "run.py runs them: so the environment is made"),
    (r"\[dicom\]|(result|corrected)\.dcm", "needs highdicom: see test_dicom_seg.py and test_convert.py"),
    (r"^pip install torch --index-url", "run.py does so, from a local copy of PyTorch where there is one"),
    (r"^pip uninstall", "changes the environment"),
    (r"^python3 run\.py test$", "runs this"),
    (r"^python3 run\.py demo$", "run.py runs it by itself"),
    (r"^(torchrun|srun) ", "needs several processes"),
    (r"^(Slicer|ctest) ", "needs 3D Slicer"),
    (r"^\.venv/bin/", "needs the environment of `run.py test`"),
    (r"^mimseg models import (last\.ckpt|unetr\.pt)", "weights of others: see test_importers_command.py"),
    (r"^mimseg models export my-primus", "needs a pre-trained Primus: see test_exchange.py"),
    (r"--pretrain-on", "several trainings: see test_crossvalidate.py"),
    (r"^mimseg study labels", "as long as the study before it: see test_study_training.py"),
    (r"--init my-encoder", "needs the weights of the line before"),
)

# Pattern of the command, replacements in it, reason. All that fit are applied.
SHORTER = (
    (r"^mimseg (pretrain|finetune).*--minutes ", {r"--minutes \d+": "--steps 2"}, "minutes become two steps"),
    (r"^mimseg study.*--minutes ", {r"--minutes \d+": "--steps 5 --pretrain-steps 5"}, "one step for each validation"),
    (r"^mimseg study", {r"$": " --seeds 0 --validations 5 --labelled 2 --hidden-size 24 --mlp-size 24 --layers 3"
                        " --heads 2 --feature-size 4 --window 24,24,24"}, "one seed, a tiny network"),
    (r"^mimseg study convergence", {r"$": " --methods simclr,mae"}, "two methods"),
    (r"^mimseg finetune", {r"$": " --validations 1 --no-measure --batch 2"}, "scored once, nothing probed"),
    (r"^mimseg (pretrain|finetune)", {r"$": " --precision 32-true"}, "no precision is chosen by its speed"),
    (r"--folds ", {r"$": " --plan-only"}, "planned only: see test_crossvalidate.py"),
    (r"^mimseg (pretrain|finetune .*--init none)", {r"$": " --window 32,32,32"}, "a small window"),
    (r"^mimseg (pretrain|finetune (?!.*dynunet).*--init none)",
     {r"$": " --hidden-size 24 --mlp-size 24 --layers 3 --heads 2 --feature-size 4"}, "a tiny network"),
)  # fmt: skip

# What needs the training runtime, and what needs the result of that in the same document.
TRAINS = re.compile(r"^mimseg (pretrain|finetune|study|models export .* --format monai)\b")


def reason_not_to_run(text: str) -> str:
    """Why a command is not run; empty if it is."""
    return next((reason for pattern, reason in NOT_RUN if re.search(pattern, text)), "")


def shortened(text: str) -> str:
    """The command as it is run."""
    for pattern, replacements, _ in SHORTER:
        if re.search(pattern, text):
            for found, put in replacements.items():
                text = re.sub(found, put, text, count=0 if found != "$" else 1)
    return text
