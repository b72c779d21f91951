"""Channels: a case that has fewer or more than others, contrasts in another order than a model expects."""

from __future__ import annotations

from collections.abc import Mapping

from mimseg.checks.cases.loaded_case import LoadedCase
from mimseg.checks.context import Context
from mimseg.checks.finding import Finding

_CONTRASTS = {"t1", "t1w", "t1c", "t1ce", "t1gd", "t2", "t2w", "flair", "pd", "adc", "dwi", "swi"}


def measure(case: LoadedCase) -> int:
    """How many channels a case has."""
    return len(case.volume.array)


def find(measured: Mapping[str, int], context: Context) -> list[Finding]:
    """See the module."""
    if not measured:
        return []
    counts, expected = list(measured.values()), context.expected
    usual = max(set(counts), key=counts.count)
    wanted = len(expected.channels) or len(context.channels) or usual
    who = expected.source if expected.channels else "the data set's description" if context.channels else "most cases"
    findings = []
    for name, count in measured.items():
        if count != wanted:
            text = f"Has {count} image{'s' if count > 1 else ''} (channels) where {who} has {wanted}."
            remedy = "Give every case the same channels in the same order, or leave this one out."
            evidence = {"channels": count, "wanted": wanted}
            findings.append(Finding(name, "error", "channel-count", text, remedy, evidence))
    for have, want in zip(context.channels, expected.channels, strict=False):
        if have.lower() != want.lower() and {have.lower(), want.lower()} <= _CONTRASTS:
            text = f"The data set calls a channel {have}, {expected.source} expects {want}."
            remedy = "Order the channels as the model does, or start from a model of the same contrast."
            findings.append(Finding("", "warning", "other-contrast", text, remedy, {"have": have, "expected": want}))
    return findings
