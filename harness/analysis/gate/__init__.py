"""The acceptance gate: accepted numbers, comparability, decision rule, power."""
