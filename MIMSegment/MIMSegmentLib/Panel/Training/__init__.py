"""The tabs Fine-tune and Pre-train with their sections."""
