"""`mimseg pretrain`: train an encoder on unlabelled volumes.

For others: `settings.PretrainSettings` (needs no torch), `run.pretrain`.
"""
