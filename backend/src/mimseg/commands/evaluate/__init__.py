"""`mimseg evaluate`: segmentations against references. For others: `run.evaluate`, `run.EvaluateSettings`."""
