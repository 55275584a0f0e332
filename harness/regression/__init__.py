"""The gate: accepted numbers, the rule, more prompts while it is inconclusive, pytest's fixture."""
