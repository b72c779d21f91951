"""`mimseg finetune --folds`, and the plan shown before any fine-tuning.

For others: `run.crossvalidate`, `settings.CrossvalidationSettings`, `preview.preview_plan`.
"""
