"""MIMSegment.json and the repository keep the rules that the Extensions Index checks."""

import json
import re
import struct
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
DESCRIPTION = ROOT / "MIMSegment.json"
LISTS = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
RAW = "https://raw.githubusercontent.com/MIMSegment/SlicerMIMSegment/main/"
# The rules of slicer-extension-catalog-entry-schema-v1.0.2.json, which knows no other keys.
SCHEMA = {
    "type": "object",
    "required": ["$schema", "category", "scm_url"],
    "additionalProperties": False,
    "properties": {
        "$schema": {"type": "string", "pattern": "slicer-extension-catalog-entry-schema-v1\\.0\\.2\\.json"},
        "category": {"type": "string"},
        "scm_url": {"type": "string"},
        "scm_revision": {"type": "string"},
        "scm_type": {"type": "string", "enum": ["git", "local"]},
        "build_dependencies": {"type": "array", "items": {"type": "string"}},
        "build_subdirectory": {"type": "string"},
        "enabled": {"type": "boolean"},
        "tier": {"type": "integer", "minimum": 1, "maximum": 5},
        "dicom_support_rule": {"type": "string"},
    },
}


def extension_variable(name):
    """Value of one `set(EXTENSION_... "...")`, found on one line as the index finds it."""
    found = re.findall(rf'^set\(EXTENSION_{name} "([^"\n]*)"\)', LISTS, flags=re.MULTILINE)
    assert len(found) == 1, f"EXTENSION_{name}"
    return found[0]


def png_size(path):
    """Width and height of a PNG file."""
    head = path.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n", path
    return struct.unpack(">II", head[16:24])


def image_files():
    """Files in the repository behind the addresses of the icon and the screenshots."""
    addresses = [extension_variable("ICONURL"), *extension_variable("SCREENSHOTURLS").split()]
    assert all(address.startswith(RAW) for address in addresses)
    return [ROOT / address[len(RAW) :] for address in addresses]


def test_the_entry_follows_the_schema_of_the_index():
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.validate(json.loads(DESCRIPTION.read_text(encoding="utf-8")), SCHEMA)


def test_the_entry_names_category_repository_and_dependency_as_the_index_wants_them():
    entry = json.loads(DESCRIPTION.read_text(encoding="utf-8"))
    assert entry["category"] == "Segmentation"
    assert entry["build_dependencies"] == ["PyTorch"] == extension_variable("DEPENDS").split()
    repository = entry["scm_url"].removesuffix(".git").rsplit("/", 1)[1]
    assert repository.startswith("Slicer")
    assert entry["scm_url"].removesuffix(".git") == extension_variable("HOMEPAGE")


def test_the_entry_has_unix_line_endings_only():
    assert b"\r" not in DESCRIPTION.read_bytes()


def test_project_and_entry_have_the_same_name_that_does_not_start_with_slicer():
    (project,) = re.findall(r"^project\((\w+)\)", LISTS, flags=re.MULTILINE)
    assert project == DESCRIPTION.stem
    assert not project.lower().startswith("slicer")


def test_a_license_lies_in_the_root():
    assert any((ROOT / name).is_file() for name in ("LICENSE", "LICENSE.txt"))


def test_the_description_is_one_or_two_sentences_and_says_research_use():
    text = extension_variable("DESCRIPTION")
    assert "Research use only" in text
    assert len(text) < 300


def test_icon_and_screenshots_are_png_files_in_the_repository():
    icon, *screenshots = image_files()
    assert png_size(icon) == (128, 128)
    assert screenshots
    for screenshot in screenshots:
        assert min(png_size(screenshot)) > 200
