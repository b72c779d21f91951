"""`mimseg models`: list, show, export, import and remove models.

For others: `collection` (our own bundles), `import_weights` (weights of other programs; needs torch).
"""
