"""The training runtime: one loop for pre-training and fine-tuning, on CPU, CUDA, MPS, one process or many."""
