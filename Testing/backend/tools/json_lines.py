"""What mimseg prints with `--json-lines`, checked against its schema."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

SCHEMA = Path(__file__).resolve().parents[3] / "backend" / "src" / "mimseg" / "schemas" / "events.schema.json"


def events(output: str) -> list[dict]:
    """The JSON lines, each checked against the schema."""
    jsonschema = pytest.importorskip("jsonschema")
    found = [json.loads(line) for line in output.splitlines()]
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    for event in found:
        jsonschema.validate(event, schema)
    return found
