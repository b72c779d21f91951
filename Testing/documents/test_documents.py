"""The documents are true: their links lead somewhere, their commands exist, their Python runs, no rule is idle."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from mimseg.cli.main import build_parser

sys.path.insert(0, str(Path(__file__).parent))

from commands import DOCUMENTS, ROOT, blocks, commands
from rules import NOT_RUN, SHORTER, TRAINS, reason_not_to_run, shortened

ALL = [command for document in DOCUMENTS for command in commands(document)]
OURS = [command for command in ALL if "mimseg" in command.words]
LINK = re.compile(r"\]\(([^)\s]+)\)")


def name_of(document: Path) -> str:
    return document.relative_to(ROOT).as_posix()


def anchors(document: Path) -> set[str]:
    """Names of a document's headings as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.M | re.S)
    headings = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_links_lead_to_files_and_headings(document: Path):
    broken = []
    for link in LINK.findall(document.read_text(encoding="utf-8")):
        path, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", link):
            continue
        target = (document.parent / path).resolve() if path else document
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_every_page_is_reached_from_the_readme():
    linked = {
        (ROOT / link.partition("#")[0]).resolve() for link in LINK.findall((ROOT / "README.md").read_text("utf-8"))
    }
    assert {path for path in DOCUMENTS if path.name != "README.md"} <= linked


@pytest.mark.parametrize("command", OURS, ids=lambda command: f"{command.place} {command.text[:60]}")
def test_commands_are_understood_as_written_and_as_run(command):
    for words in (command.words, shortened(command.text).split()):
        arguments = words[words.index("mimseg") + 1 :]
        build_parser(arguments[0]).parse_args(arguments)


def test_contributing_names_lines_that_are_there():
    """Each place to change: a link to a file, and the beginning of a line of it."""
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    places = re.findall(r"\]\(([^)#]+)\), at `([^`]+)`", page)
    assert len(places) >= 6
    for path, beginning in places:
        lines = (ROOT / path).read_text(encoding="utf-8").splitlines()
        assert any(line.strip().startswith(beginning) for line in lines), f"{path} has no line {beginning!r}"


def test_commands_are_of_known_programs():
    known = {"mimseg", "pip", "python3", "torchrun", "srun", "Slicer", "ctest", ".venv/bin/python"}
    assert {command.words[0] for command in ALL} <= known
    for command in ALL:
        if command.words[0] != "mimseg":
            assert reason_not_to_run(command.text), f"{command.place}: say in rules.py why it is not run"


@pytest.mark.parametrize("pattern", [rule[0] for rule in (*NOT_RUN, *SHORTER)])
def test_every_rule_is_needed(pattern: str):
    assert any(re.search(pattern, command.text) for command in ALL)


def test_both_runtimes_have_something_to_run():
    run = [command for command in ALL if not reason_not_to_run(command.text)]
    assert sum(bool(TRAINS.search(command.text)) for command in run) >= 4
    assert sum(not TRAINS.search(command.text) for command in run) >= 6


def test_the_two_lines_that_install_are_documented():
    texts = {command.text for command in ALL}
    assert {"pip install ./backend", 'pip install "./backend[train]"'} <= texts
    assert not [text for text in texts if re.match(r"pip install .*\bmimseg\b", text)]


PYTHON = [block for document in DOCUMENTS for block in blocks(document) if block.language == "python"]


@pytest.mark.parametrize("block", PYTHON, ids=lambda block: f"{name_of(block.document)}:{block.line}")
def test_python_examples_run_without_pytorch(block, tmp_path: Path):
    pytest.importorskip("openvino")
    (tmp_path / "scan.nii.gz").write_bytes((ROOT / "Resources" / "SampleData" / "MNI152_T1.nii.gz").read_bytes())
    check = "\nimport sys\nassert not {'torch', 'monai'} & set(sys.modules)\n"
    done = subprocess.run(
        [sys.executable, "-c", block.text + check], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.iterdir())) > 1, "it writes what it found"


def test_a_python_example_has_five_lines():
    assert any(len([line for line in block.text.splitlines() if line.strip()]) == 5 for block in PYTHON)


def test_reading_blocks_and_continued_commands(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text(
        "text\n```sh\nmimseg a \\\n    --b  # why\n\n# only a comment\nmimseg c\n```\n```text\nmimseg d\n```\n"
    )
    assert [(each.line, each.text) for each in commands(page)] == [(3, "mimseg a --b"), (7, "mimseg c")]
    page.write_text("```sh\nmimseg a\n", encoding="utf-8")
    with pytest.raises(ValueError, match="no end"):
        list(blocks(page))
