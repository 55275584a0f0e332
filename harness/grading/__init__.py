"""Answers -> scores: graders, `evaluate` metrics, and a judge behind an endpoint."""
