"""What the training loop is made of: batches, losses, gradients, budgets, checkpoints, teams."""
