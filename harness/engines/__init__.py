"""Engines: one file is one engine."""
