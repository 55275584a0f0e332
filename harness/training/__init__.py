"""The one training loop: batches, losses, budgets, checkpoints, processes, validation."""
