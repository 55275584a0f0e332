"""Measures a server that runs already: what an OpenAI-compatible endpoint gives, and how fast."""
