"""Joins runs that were made apart: cells that share target, texts and settings in one result."""
