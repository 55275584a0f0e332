"""Answers to scores: task grades, the judge, the sandbox for model-written code."""
