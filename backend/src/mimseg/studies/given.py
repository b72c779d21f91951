"""Weights that somebody trained before a study, which it starts from as they are and continued on the pool."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

QUESTION = "Do given weights help, as they are or continued on one's own images?"


@dataclass(frozen=True)
class GivenWeights:
    """What a study keeps of given weights, without the path of their file.

    Attributes:
        sha256: Of their tensors: what starts from other weights is another run.
        words: What they are.
        whole: They have a decoder, too, which is taken over where they are used as they are.
        preprocessing: Of every run, as plain data without the spacing; None if the study would plan the same.
        known_cases: How many files they say that they learned from; None if they say nothing.
        licence: Of the weights, as far as they say.
        attribution: Whom they ask to name.
        citation: What they ask to cite.
    """

    sha256: str
    words: str
    whole: bool = False
    preprocessing: dict[str, Any] | None = None
    known_cases: int | None = None
    licence: str = ""
    attribution: str = ""
    citation: str = ""

    def sentences(self) -> list[str]:
        """For the report: what they are, what becomes of them, and whether they may know the validation cases."""
        terms = (f"licence: {self.licence or 'not stated'}", self.attribution, self.citation)
        said = "; ".join(term.rstrip(".") for term in terms if term)
        use = "taken over as they are, or continued: their encoder is pre-trained further on the images of the pool"
        if self.whole:
            use += ", without their decoder, which is taken over only where they are used as they are"
        seen = (
            "They do not say which scans they learned from; if validation cases were among them, their scores are too "
            "high."
            if self.known_cases is None
            else f"They name {self.known_cases} files that they learned from; no validation case is among these."
        )
        return [
            f"Given weights: {self.words}, SHA-256 {self.sha256[:16]} ({said}).",
            f"Given weights are {use}. Network, spacing, window and intensities are theirs in every row, unless the "
            "command says otherwise, so that rows differ in their start alone.",
            seen,
        ]
