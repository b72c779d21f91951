"""What a training step sees: `cache` (prepared cases), `draw` (batches of crops)."""
