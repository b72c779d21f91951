"""Runs the commands of the documents in an environment that holds an installed mimseg and what that declares.

    python Testing/documents/run_commands.py ENVIRONMENT [--train]

Without `--train`, only what segments is run; with it, what trains, and what uses its results. Each document has a
folder of its own with the files that its commands name (`playground.py`), so several are run at the same time; each
command is run once, as `rules.py` says. Nothing may open a socket or load OpenVINO's telemetry: a hook of Python's
writes down what does. Standard library only.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from commands import DOCUMENTS, ROOT, Command, commands
from rules import TRAINS, reason_not_to_run, shortened

MODEL = "hippocampus-mr"
DEMO = ROOT / "Resources" / "SampleData" / "MNI152_T1.nii.gz"
BOXES = ("--roi=-46,-10,-46,6,-33,5", "--roi=10,46,-46,6,-33,5")
# Documents that are run at the same time, each command on one core.
AT_ONCE = min(os.cpu_count() or 1, 4)
# Run by every Python that starts: sitecustomize.
WATCH = """
import os, sys
def watch(event, arguments):
    name = str(arguments[0]) if arguments else ""
    if event in ("socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.bind") or (
        event == "import" and name.startswith("openvino_telemetry")
    ):
        with open(os.environ["MIMSEG_WATCHED"], "a") as stream:
            stream.write(f"{event} {arguments}\\n")
sys.addaudithook(watch)
"""


class Failed(Exception):
    """A command did not do what its document says."""


class Playground:
    """A folder with the files that the documents name, and the environment in which commands run there."""

    def __init__(self, environment: Path, work: Path) -> None:
        self.programs = environment / ("Scripts" if os.name == "nt" else "bin")
        self.work = work
        self.watched = work / "watched.txt"
        hook = work / "hook"
        hook.mkdir()
        (hook / "sitecustomize.py").write_text(WATCH, encoding="utf-8")
        self.variables = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PIP_"))},
            "PATH": f"{self.programs}{os.pathsep}{os.environ.get('PATH', '')}",
            "PYTHONPATH": str(hook),
            "PYTHONNOUSERSITE": "1",
            "MIMSEG_WATCHED": str(self.watched),
            "MIMSEG_CACHE": "off",
            "MPLBACKEND": "Agg",
            "OMP_NUM_THREADS": "1",
        }

    def make_files(self) -> None:
        """Segment the demo volume, and cut all other files from both."""
        labels = self.work / "labels.nii.gz"
        self.run(["mimseg", "segment", str(DEMO), "--model", MODEL, *BOXES, "-o", str(labels)], self.work)
        files = self.work / "files"
        files.mkdir()
        script = Path(__file__).with_name("playground.py")
        self.run(["python", str(script), str(files), str(labels)], self.work)

    def folder_for(self, document: Path) -> Path:
        """A fresh copy of the files."""
        name = document.relative_to(ROOT).as_posix().replace("/", "-").removesuffix(".md")
        return Path(shutil.copytree(self.work / "files", self.work / name))

    def run(self, words: list[str], folder: Path) -> None:
        """Run one command.

        Raises:
            Failed: it is not there, or its exit code is not 0.
        """
        program = shutil.which(words[0], path=str(self.programs))
        if program is None:
            raise Failed(f"the environment has no program {words[0]}")
        variables = {**self.variables, "MIMSEG_MODELS": str(folder / "installed-models")}
        done = subprocess.run(
            [program, *words[1:]], cwd=folder, env=variables, stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
        if done.returncode:
            output = (done.stdout + done.stderr).decode("utf-8", "replace")
            raise Failed(f"exit code {done.returncode}\n{output[-3000:]}")


def commands_to_run(train: bool) -> dict[Path, list[Command]]:
    """For each document with something to run its commands in their order; one that several show is the first's."""
    found: dict[Path, list[Command]] = {}
    seen = set[str]()
    for document in DOCUMENTS:
        todo = [command for command in commands(document) if not reason_not_to_run(command.text)]
        if train and not any(TRAINS.search(command.text) for command in todo):
            continue
        for command in todo:
            text = shortened(command.text)
            if text not in seen and (train or not TRAINS.search(command.text)):
                seen.add(text)
                found.setdefault(document, []).append(command)
    return found


def run_document(playground: Playground, document: Path, todo: list[Command]) -> list[str]:
    """Run a document's commands in their order; return what failed."""
    failures = []
    folder = playground.folder_for(document)
    for command in todo:
        text = shortened(command.text)
        provide_models(command, folder)
        output = output_of(command)
        if output and command.words[1] in ("finetune", "pretrain", "rank", "check", "study"):
            clear(folder, output)
        began = time.monotonic()
        try:
            playground.run(shlex.split(text), folder)
            outcome = "ok"
        except Failed as fault:
            outcome = "FAILED"
            failures.append(f"{command.place}: {text}\n{fault}")
        print(f"  {time.monotonic() - began:5.1f} s  {outcome}  {command.place}  {text}", flush=True)
    return failures


def output_of(command: Command) -> str:
    """What follows `-o`; empty if there is none."""
    words = command.words
    return words[words.index("-o") + 1] if "-o" in words[:-1] else ""


def provide_models(command: Command, folder: Path) -> None:
    """Copy the shipped model to names of models that no earlier command of the document has made."""
    words = command.words
    named = [words[index + 1] for index, word in enumerate(words[:-1]) if word in ("--model", "--init")]
    named += words[2:3] if words[:2] == ["mimseg", "measure"] else []
    named += words[3:4] if words[:3] == ["mimseg", "models", "export"] else []
    for name in named:
        if name not in ("none", MODEL) and not (folder / name).exists():
            shutil.copytree(ROOT / "Resources" / "Models" / MODEL, folder / name)


def clear(folder: Path, output: str) -> None:
    """Remove what an earlier command of the document wrote under the same name: documents show alternatives."""
    for path in folder.glob(f"{output}*"):
        if path.name == output or path.name.startswith(f"{output}."):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def main() -> int:
    """Run all documents; return 1 if a command failed."""
    parser = argparse.ArgumentParser(description="Run the commands of the documents.")
    parser.add_argument("environment", type=Path)
    parser.add_argument("--train", action="store_true")
    arguments = parser.parse_args()
    failures = []
    with tempfile.TemporaryDirectory(prefix="mimseg-documents-", ignore_cleanup_errors=True) as work:
        playground = Playground(arguments.environment.resolve(), Path(work))
        playground.make_files()
        todo = commands_to_run(arguments.train)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for failed in pool.map(partial(run_document, playground), todo, todo.values()):
                failures += failed
        if playground.watched.exists():
            failures.append(f"sockets or telemetry:\n{playground.watched.read_text(encoding='utf-8')[:3000]}")
    print("\n\n".join(failures))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
