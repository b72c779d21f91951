"""`mimseg measure`: which overlap of windows and which spacing a model needs.

For others: `run.measure_inference`, `run.measure_model`, `run.MeasureSettings`.
"""
