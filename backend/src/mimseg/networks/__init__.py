"""UNETR, its ViT encoder, and the masked auto-encoder around that encoder. `settings` needs no torch."""
