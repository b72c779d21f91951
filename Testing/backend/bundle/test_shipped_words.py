"""What shipped models and the README say of their training is what their records say."""

from __future__ import annotations

import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_the_abdomen_model_counts_the_scans_of_its_pretraining_as_its_record_does() -> None:
    model = json.loads((ROOT / "Resources/Models/abdomen-ct/segmentation.json").read_text(encoding="utf-8"))
    card = json.loads((ROOT / "Resources/Recipes/abdomen_ct_card.json").read_text(encoding="utf-8"))
    record = model["training"]
    while "method" not in record:
        record = record.get("training", record)["pretraining"]
    assert record["volumes"] == len(record["data_sha256"]) == 17
    assert model["description"] == card["description"]
    assert "17 of the same 18 scans" in card["description"]


def test_the_readme_says_what_was_measured_on_the_scans_that_score_the_abdomen_model() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (line,) = [line for line in text.splitlines() if line.startswith("| `abdomen-ct`")]
    assert "of version 0.3.0 on 6 scans that neither trained it nor chose its weights" in line
    assert "quick mode" in line
    assert "chose nothing" not in line
