"""Images drawn from label maps while training (Billot et al., SynthSeg, Medical Image Analysis 2023).

Others use `label_source` (what crops are drawn from), `draw` (one crop) and `draw_volume` (a whole one, for
validation). The generative model in short: each class of the label map gets a random grey value, everything after that
is what makes scans differ: texture, bias field, resolution and slice thickness, noise, gamma, what is cut away.
"""
