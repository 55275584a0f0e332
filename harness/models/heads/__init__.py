"""Heads on the target's states: their weights, how they read texts, and the layouts of files."""
