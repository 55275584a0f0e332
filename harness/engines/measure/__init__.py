"""Timing, lossless checks and served endpoints."""
