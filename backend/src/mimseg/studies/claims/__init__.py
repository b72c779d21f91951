"""The claims, one module each: `QUESTION`, `variants(design)` for the rows, `comparisons_of(plan)` for what is tested,
`conclude(results)` for the answer.

A new study is one module here and one line in `CLAIMS`.
"""

from __future__ import annotations

import importlib
from types import ModuleType

CLAIMS = {
    "convergence": "mimseg.studies.claims.convergence",
    "masking": "mimseg.studies.claims.masking",
    "decoder": "mimseg.studies.claims.decoder",
    "resolution": "mimseg.studies.claims.resolution",
    "labels": "mimseg.studies.claims.labels",
}


def load_claim(name: str) -> ModuleType:
    """The module of a claim."""
    return importlib.import_module(CLAIMS[name])
