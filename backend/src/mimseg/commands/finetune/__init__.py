"""`mimseg finetune`: train a segmentation network on labelled cases.

For others: `settings.FinetuneSettings` (needs no torch), `run.finetune`, `data` (cases as tensors), `plan` and `probe`
(what a run will cost), `training_device`, and `record` (what a model says of its training).
"""
