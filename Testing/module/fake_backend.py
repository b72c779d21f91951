"""A stand-in for `mimseg`, run as a real child process: it answers at once, with what the real one would say.

Questions (doctor, models), check and rank are answered at once, segment and `check --names-only` by the real one. A
training writes what the real one leaves on the disk, then waits for a stop; in the mode RUN it ends by itself. What it
was asked for comes as the metric `arguments`.
"""

import json
from pathlib import Path

from logic_tools import ROOT, scripted_backend

DOCTOR = {
    "can": {"segment": ["openvino on cpu"], "train": ["cpu"]},
    "processor": {"name": "Example", "usable_cores": 2},
    "memory": {"total": 8 * 2**30, "free": 4 * 2**30},
    "graphics": [],
    "python": "3.12",
    "packages": [],
    "advice": [],
}
METHODS = [
    {"name": "mae", "title": "MAE", "summary": "x"},
    {"name": "simmim", "title": "SimMIM", "summary": "x"},
    {"name": "simclr", "title": "SimCLR", "summary": "x"},
    {"name": "tomorrow", "title": "Tomorrow's", "summary": "learn otherwise"},
]
PLAN = {
    "device": "cpu",
    "device_name": "Example",
    "precision": "32-true",
    "window": [48, 48, 48],
    "batch": 2,
    "seconds_per_step": 0.5,
    "steps": 720,
    "minutes_per_run": 6.0,
    "runs": 11,
    "pretrain_minutes": 0.0,
    "minutes": 66.0,
    "memory_bytes": 1_500_000_000,
    "memory_free_bytes": 4_000_000_000,
    "cases": 10,
    "validation_cases": 0,
    "reasons": ["Two crops to a step."],
}
SCORES = {
    "method": "3-fold cross-validation by subject",
    "summary": {
        "cases": 3,
        "mean_dice": 0.8,
        "median_dice": 0.85,
        "worst_dice": 0.61,
        "worst_case": 2,
        "interval_95": [0.7, 0.9],
        "per_label": {},
    },
    "validation": [],
    "verdict": "this start against from scratch: no difference shown.",
}
PROBLEM = {
    "case": "",
    "severity": "warning",
    "code": "odd-size",
    "message": "A label is odd.",
    "remedy": "Look at it.",
    "evidence": {"volume_ml": 1.25},
    "numbers": "volume ml: 1.25",
}
# 1 x 1 pixel.
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
REPORT = (
    "<h2>The whole data set</h2><div class='finding warning'><p><span class='tag'>warning</span> A label is odd.</p>"
    f"<figure><img alt='what' src='data:image/png;base64,{PNG}'></figure></div>"
)

SCRIPT = (
    f"""
import base64, glob, shutil
DOCTOR, PLAN, SCORES, PROBLEM, METHODS = {DOCTOR!r}, {PLAN!r}, {SCORES!r}, {PROBLEM!r}, {METHODS!r}
REPORT, PNG = {REPORT!r}, {PNG!r}
"""
    + """
HERE = os.path.dirname(__file__)
COMMAND = ARGUMENTS[0]

def option(name):
    for number, text in enumerate(ARGUMENTS):
        if text == name:
            return ARGUMENTS[number + 1]
        if text.startswith(name + "="):
            return text.partition("=")[2]

def waiting():
    return "RUN" not in open(os.path.join(HERE, "mode.txt")).read()

def wait_for_stop():
    sys.stdin.read()
    tell("error", code="stopped", message="Stopped.", hint="")
    sys.exit(130)

def write(path, content):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as stream:
        stream.write(content)

def best_model(work):
    tiny = os.path.join(os.environ["MIMSEG_MODELS"], "tiny")
    if os.path.isdir(tiny):
        shutil.copytree(tiny, os.path.join(work, "best-model"), dirs_exist_ok=True)
        tell("model", path=os.path.join(work, "best-model"), step=3, validation_dice=0.5)

def finish(output, **fields):
    shutil.rmtree(output + ".training/best-model", ignore_errors=True)
    write(os.path.join(output, "segmentation.json"), json.dumps({"scores": SCORES}))
    tell("result", model=output, validation_dice=0.75, steps=3, **fields)

def draw_images():
    if option("--drawn-images"):
        with open(option("--drawn-images"), "wb") as stream:
            stream.write(base64.b64decode(PNG))

def train_folds(output):
    work = output + ".folds"
    if "--resume" not in ARGUMENTS:
        write(work + "/folds.json", json.dumps({"plan": {"runs": 3}}))
    tell("start", command="finetune", device="cpu", plan={**PLAN, "runs": 3})
    for number in range(len(glob.glob(work + "/fold-*.json")), 2):
        tell("progress", phase="folds", done=number, total=3, eta_s=None)
        tell("progress", phase="train", done=30, total=60, eta_s=30)
        tell("progress", phase="all", done=30 + 60 * number, total=180, eta_s=150 - 60 * number)
        tell("metric", name="loss", value=0.5, step=1)
        if waiting():
            wait_for_stop()
        write(work + "/fold-%d-start.json" % (number + 1), "{}")
    tell("progress", phase="folds", done=2, total=3, eta_s=None)
    if "--finish" not in ARGUMENTS and "LAST" in open(os.path.join(HERE, "mode.txt")).read():
        write(output + ".training/checkpoint.pt", "")
        tell("metric", name="loss", value=0.4, step=2)
        wait_for_stop()
    write(work + "/report.html", "<p>Scores</p>")
    finish(output, report=work + "/report.html")

def train(output):
    work = output + ".training" if COMMAND == "finetune" else output
    os.makedirs(work, exist_ok=True)
    if "--resume" not in ARGUMENTS and os.listdir(work):
        tell("error", code="output-exists", message="Exists.", hint="Resume.")
        sys.exit(2)
    if COMMAND == "finetune" and "--resume" not in ARGUMENTS:
        draw_images()
        tell("progress", phase="train", done=0, total=3, eta_s=None)
    if "--finish" not in ARGUMENTS and waiting():
        for step in range(3):
            tell("metric", name="loss", value=1.0 / (step + 1), step=step)
        write(os.path.join(work, "checkpoint.pt"), "")
        if COMMAND == "finetune":
            best_model(work)
        tell("metric", name="validation_dice", value=0.5, step=3)
        wait_for_stop()
    if COMMAND == "finetune":
        finish(output)
    else:
        write(os.path.join(output, "pretraining.json"), json.dumps({"modality": "MR"}))
        write(os.path.join(output, "reconstruction.png"), "")
        tell("result", run=output, validation_loss=0.1, steps=3)

def describe(path):
    with open(os.path.join(path, "segmentation.json"), encoding="utf-8") as stream:
        return json.load(stream)

if COMMAND == "doctor":
    tell("result", **DOCTOR)
elif COMMAND == "models":
    folder = os.environ["MIMSEG_MODELS"]
    if ARGUMENTS[1] == "show":
        path = ARGUMENTS[2] if os.path.isabs(ARGUMENTS[2]) else os.path.join(folder, ARGUMENTS[2])
        tell("result", name=os.path.basename(path), version="1", path=path, size_bytes=1, description=describe(path))
    else:
        names = [name for name in sorted(os.listdir(folder)) if os.path.isdir(os.path.join(folder, name, "models"))]
        entry = {"shipped": False, "version": "1", "modality": "MR", "labels": ["Grey", "Bright"]}
        tell("result", models=[
            {**entry, "name": name, "path": os.path.join(folder, name), "title": name.capitalize()} for name in names
        ], methods=METHODS)
elif COMMAND == "segment" or "--names-only" in ARGUMENTS:
    # The real one.
    environment = {**os.environ, "PYTHONPATH": REAL}
    sys.exit(subprocess.call([sys.executable, "-m", "mimseg", *ARGUMENTS], env=environment))
else:
    tell("metric", name="arguments", value=0, arguments=ARGUMENTS)
    if COMMAND == "check":
        write(option("--output"), REPORT)
        tell("result", cases=3, problems=[PROBLEM], report=option("--output"))
    elif COMMAND == "rank":
        with open(os.path.join(HERE, "rank.json"), encoding="utf-8") as stream:
            tell("result", **json.load(stream))
    elif "--plan-only" in ARGUMENTS:
        draw_images()
        tell("result", plan=PLAN)
    elif option("--folds"):
        train_folds(option("--output"))
    else:
        train(option("--output"))
"""
)


def fake_backend(folder, rank=None):
    """`(backend, set mode)`: modes are WAIT, RUN (ends by itself) and RUN LAST (waits in the last training of folds).

    Args:
        folder: For its program.
        rank: Result of `mimseg rank`.
    """
    script = SCRIPT.replace("REAL}", f"{str(ROOT / 'backend' / 'src')!r}}}")
    backend = scripted_backend(folder, script)
    program = Path(folder) / "Resources" / "backend" / "mimseg"
    (program / "mode.txt").write_text("WAIT")
    (program / "rank.json").write_text(json.dumps(rank or {"cases": []}), encoding="utf-8")
    return backend, (program / "mode.txt").write_text


def arguments_of(record):
    """What the stand-in was asked for, one list for each process that did not only answer a question."""
    return [fields["arguments"] for name, _value, fields in record["metric"] if name == "arguments"]
