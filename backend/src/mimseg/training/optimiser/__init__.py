"""Steps of the weights: `muon`, `schedule` (learning rates), `averaging` (moving average of the weights)."""
